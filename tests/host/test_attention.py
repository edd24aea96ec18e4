"""Attention and its gradients by the host engine against NumPy's in float64."""

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from autograph.backends.host import pool
from autograph.ops.attention import attention_back, scaled_dot_product_attention

from .compared import TYPES, close, native, numpy, wide

SHAPES = [
    ((2, 3), 7, 9, 4, 3),
    ((), 33, 40, 17, 5),
    ((2,), 130, 200, 16, 32),
    ((1,), 300, 300, 64, 64),
    ((4, 2), 96, 96, 33, 16),
]
PLAIN = {"scale": None, "key": None, "rate": 0.0}


def operands(batch, length, seen, e, d, dtype):
    """q, k, v and dy; with two axes of heads, q lies as a layer of several heads makes it."""
    rng = np.random.default_rng(0)
    shapes = (length, e), (seen, e), (seen, d), (length, d)
    q, k, v, dy = (rng.standard_normal((*batch, *shape)).astype(dtype) for shape in shapes)
    if len(batch) == 2:
        q = np.ascontiguousarray(q.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    return q, k, v, dy


def mask_of(kind, batch, length, seen):
    rng = np.random.default_rng(1)
    if kind == "seen":
        mask = rng.random((length, seen)) > 0.5
        mask[2] = False  # a row that sees nothing
        return mask
    if kind == "added":
        return rng.standard_normal((*batch[:-1], *((1,) if batch else ()), length, seen))
    return rng.random((seen,)) > 0.3 if kind == "columns" else None


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [None, "seen", "added", "columns"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_attention_and_its_gradients(name, causal, mask, shape):
    dtype, tolerance = TYPES[name]
    q, k, v, dy = operands(*shape, dtype)
    seen = mask_of(mask, *shape[:3])
    if seen is not None and seen.dtype != bool:
        seen = seen.astype(np.float32)
    reference = seen if seen is None or seen.dtype == bool else seen.astype(np.float64)
    settings = {**PLAIN, "causal": causal}
    y, normaliser = native(scaled_dot_product_attention, q, k, v, seen, **settings)
    right, kept = numpy(scaled_dot_product_attention, *wide(q, k, v), reference, **settings)

    close(y, right, 2 * tolerance)
    np.testing.assert_array_equal(np.isinf(normaliser), np.isinf(kept))
    some = np.isfinite(kept)
    close(normaliser[some], kept[some], 2e-6)
    found = native(attention_back, dy, y, q, k, v, normaliser, seen, **settings)
    expected = numpy(attention_back, *wide(dy, y, q, k, v, normaliser), reference, **settings)
    for one, other in zip(found, expected, strict=True):
        close(one, other, 2 * tolerance)


def test_attention_does_not_depend_on_the_number_of_threads():
    q, k, v, dy = operands((2,), 130, 90, 16, 16, np.float32)
    settings = {**PLAIN, "causal": True}
    before, results = pool.get_num_threads(), []
    for threads in (1, 2, 5):
        pool.set_num_threads(threads)
        y, normaliser = native(scaled_dot_product_attention, q, k, v, None, **settings)
        back = native(attention_back, dy, y, q, k, v, normaliser, None, **settings)
        results.append([each.tobytes() for each in (y, normaliser, *back)])
    pool.set_num_threads(before)

    assert results[0] == results[1] == results[2]


def test_not_a_number_stays_in_its_rows():
    q, k, v, _ = operands((), 6, 5, 4, 3, np.float32)
    q[2] = np.nan
    y, _ = native(scaled_dot_product_attention, q, k, v, None, causal=False, **PLAIN)

    assert np.isnan(y[2]).all()
    assert not np.isnan(np.delete(y, 2, axis=0)).any()
