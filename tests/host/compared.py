"""Kernels of the host engine beside NumPy's in float64, as several tests compare them."""

import ml_dtypes
import numpy as np

from autograph.backends import NATIVE, NUMPY, using
from autograph.op import signature_of

# Settings of a convolution: every place once, and nothing around it.
EACH = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
TYPES = {"f32": (np.float32, 3e-6), "bf16": (ml_dtypes.bfloat16, 1e-2)}


def normal(rng, *shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


def close(found, right, tolerance):
    """Within a share of the largest value, NaN and infinity in the same places."""
    found, right = np.asarray(found, np.float64), np.asarray(right, np.float64)
    assert found.shape == right.shape
    assert np.array_equal(np.isnan(found), np.isnan(right))
    scale = np.max(np.abs(right), initial=1e-30, where=np.isfinite(right))
    np.testing.assert_allclose(found, right, rtol=tolerance, atol=tolerance * scale)


def wide(*arrays):
    return [each if each is None else each.astype(np.float64) for each in arrays]


def numpy(op, *arrays, **settings):
    """What NumPy's kernel of an op says, and what it saves."""
    with using(NUMPY):
        plan = op.plan([signature_of(each) for each in arrays], settings)
        return op.run(plan, arrays)[1]


def native(op, *arrays, **settings):
    """What the host engine's kernel of an op says, and what it saves."""
    with using(NATIVE):
        return op.run(op.plan([signature_of(each) for each in arrays], settings), arrays)[1]


def channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
