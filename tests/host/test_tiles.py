"""Register tiles of every size against a plain product; also as wide as other processors have
them."""

import ctypes

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("llvmlite")

from autograph.backends.host import tiles
from autograph.backends.host.sparse_tiles import sparse_address

LANES, ROWS, VECTORS = tiles.shape()
TILE = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 7)
SPARSE = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 8)


def plan_for(a, b, rows, depth, columns, lanes, flags):
    """A plan over one loop of k for a (rows, depth) and b (depth, columns)."""
    tables = [np.arange(rows, dtype=np.int64) * step for step in (depth, 64)]
    words = np.zeros(tiles.PLAN, np.int64)
    words[[tiles.N0, tiles.N1, tiles.N2, tiles.A2, tiles.B2]] = 1, 1, depth, 1, columns
    words[[tiles.B_VECTOR, tiles.FLAGS]] = lanes, flags
    words[[tiles.A_TABLE, tiles.C_TABLE]] = tables[0].ctypes.data, tables[1].ctypes.data
    return words, tables


@pytest.mark.parametrize(
    ("output", "lanes"), [("f32", LANES), ("bf16", LANES), ("f32", 4), ("f32", 16)]
)
def test_tiles_of_every_height_and_width(output, lanes):
    rng = np.random.default_rng(0)
    table = tiles.addresses(output, lanes)
    dtype, tolerance = (np.float32, 1e-5) if output == "f32" else (ml_dtypes.bfloat16, 1e-2)
    for vectors in range(1, VECTORS + 1):
        for at, rows in enumerate(tiles.heights(ROWS, vectors, VECTORS)):
            for width in range((vectors - 1) * lanes + 1, vectors * lanes + 1):
                flags = int(rng.integers(8))
                a, b = (
                    rng.standard_normal(s).astype(np.float32)
                    for s in ((rows, 9), (9, VECTORS * lanes))
                )
                c = rng.standard_normal((rows, 64)).astype(dtype)
                bias = rng.standard_normal(64).astype(np.float32)
                right = c.astype(np.float64)
                part = a.astype(np.float64) @ b[:, :width]
                part += bias[:rows, None] if flags & tiles.ROW_BIAS else bias[:width]
                part += right[:, :width] if flags & tiles.ACCUMULATE else 0
                right[:, :width] = np.maximum(part, 0) if flags & tiles.RELU else part
                plan, _tables = plan_for(a, b, rows, 9, VECTORS * lanes, lanes, flags)
                words = [each.ctypes.data for each in (plan, a, b, c, bias)]
                TILE(int(table[vectors - 1, at]))(*words, width, 0)

                np.testing.assert_allclose(
                    c.astype(np.float64), right, rtol=tolerance, atol=tolerance
                )


@pytest.mark.parametrize(("rows", "vectors"), [(1, 1), (5, 1), (3, 4), (2, 5)])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_sparse_tiles_add_the_rows_that_offsets_name(rows, vectors, count):
    rng = np.random.default_rng(1)
    width = vectors * LANES
    x, y = (
        rng.standard_normal((40, 64)).astype(np.float32),
        rng.standard_normal((rows, 64)).astype(np.float32),
    )
    values, starts = (
        rng.standard_normal(2 * count + 1).astype(np.float32),
        rng.integers(0, 30, 2 * count + 1),
    )
    offsets = (starts * 64).astype(np.int32)
    right = y.astype(np.float64)
    for value, start in list(zip(values, starts, strict=True))[: 2 * count : 2]:
        right[:, :width] += value * x[start : start + rows, :width]
    words = [each.ctypes.data for each in (values, offsets)]
    SPARSE(sparse_address(rows, vectors))(count, *words, 2, x.ctypes.data, 64, y.ctypes.data, 64)

    np.testing.assert_allclose(y, right, rtol=1e-5, atol=1e-5)
