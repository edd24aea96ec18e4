"""Rows of a data set by index, cast and scaled on the way: how a batch is made."""

import numpy as np

from ...backends import CUDA, CUPY, NUMPY
from ...op import Op
from ...scalar_type import ScalarType
from ..cast import scaled_cast_arrays
from ..index import check_range

gather_rows = Op("gather_rows", "x indices", promotes="")
gather_rows.kernels_from(CUDA, ".cuda_kernels")


@gather_rows.outlined_by
def gather_rows_outline(x, indices, *, scalar_type=None, scale=None):
    """x[indices] along the first axis; times `scale`, in another scalar type."""
    wanted = x.scalar_type if scalar_type is None else ScalarType(scalar_type)
    return x.like(shape=(*indices.shape, *x.shape[1:]), scalar_type=wanted)


@gather_rows.kernel(NUMPY, CUPY, halves=True)
def gather_rows_arrays(x, indices, *, scalar_type, scale):
    check_range("gather_rows", indices, len(x))
    rows = x[indices]
    if scale is not None:
        wanted = scalar_type if scalar_type is not None else ScalarType.of(x)
        return scaled_cast_arrays(rows, scalar_type=wanted, scale=scale)
    return rows if scalar_type is None else rows.astype(ScalarType(scalar_type).dtype)


@gather_rows.sampled_by
def gather_rows_samples(rng):
    x = rng.integers(0, 256, size=(5, 2, 3)).astype(np.uint8)
    yield (x, np.array([4, 0, 4])), {"scalar_type": "f64", "scale": 1 / 255}
    yield (x, np.array([1])), {}
