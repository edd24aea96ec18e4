"""Products of the host engine against NumPy's in float64, over many shapes and strides."""

from itertools import product as every

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("llvmlite")

from autograph.backends.host.product import product
from autograph.ops.linear.relu import linear_relu, linear_relu_back
from autograph.ops.matmul import matmul

from .compared import TYPES, close, native, normal, wide


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("shape", [
    (1, 1, 1), (7, 5, 3), (13, 84, 100), (6, 16, 17), (5, 3, 0), (150, 40, 900), (0, 4, 4),
    (101, 33, 500), (25, 300, 515), (330, 34, 300),
])  # fmt: skip
def test_products_of_any_strides(name, shape):
    dtype, tolerance = TYPES[name]
    rng = np.random.default_rng(0)
    m, n, k = shape
    a, b, bias = (normal(rng, *each, dtype=dtype) for each in ((m, k), (k, n), (n,)))
    right = np.matmul(*wide(a, b))
    for left_turned, right_turned, relu in every((False, True), repeat=3):
        x = np.ascontiguousarray(a.T).T if left_turned else a
        y = np.ascontiguousarray(b.T).T if right_turned else b
        expected = right + (bias.astype(np.float64) if relu else 0.0)

        close(
            product(x, y, bias.astype(np.float32) if relu else None, relu=relu),
            np.maximum(expected, 0) if relu else expected,
            tolerance,
        )


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize(("left", "right"), [
    ((3, 5, 7), (3, 7, 4)), ((2, 3, 40, 33), (3, 33, 17)), ((5, 1, 2, 3), (4, 3, 2)),
    ((4, 6, 20), (20, 9)), ((2, 300, 40), (2, 40, 290)), ((2, 3, 0), (2, 0, 4)),
])  # fmt: skip
def test_products_of_many_matrices(name, left, right):
    dtype, tolerance = TYPES[name]
    rng = np.random.default_rng(0)
    a, b = normal(rng, *left, dtype=dtype), normal(rng, *right, dtype=dtype)
    expected = np.matmul(*wide(a, b))
    for a_turned, b_turned in every((False, True), repeat=2):
        x = np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2) if a_turned else a
        y = np.ascontiguousarray(b.swapaxes(-1, -2)).swapaxes(-1, -2) if b_turned else b

        close(native(matmul, x, y), expected, tolerance)


@pytest.mark.parametrize("shape", [(1, 1, 1), (13, 84, 101), (40, 17, 900), (7, 70, 2)])
def test_products_of_pairs_of_bfloat16(shape, monkeypatch):
    """As processors with dot products of bfloat16 do them, with these made of two multiply-adds."""
    from autograph.backends.host import product as module

    monkeypatch.setattr(module, "DOT", "fma")
    rng, (m, n, k) = np.random.default_rng(0), shape
    a, b = (normal(rng, *each, dtype=ml_dtypes.bfloat16) for each in ((m, k), (k, n)))
    for left_turned, right_turned in every((False, True), repeat=2):
        x = np.ascontiguousarray(a.T).T if left_turned else a
        y = np.ascontiguousarray(b.T).T if right_turned else b

        close(product(x, y), np.matmul(*wide(a, b)), 1e-2)


def test_relu_of_a_product_keeps_nan():
    x = np.array([[np.nan, 1.0], [-1.0, 1.0]], np.float32)
    y = native(linear_relu, x, np.eye(2, 3, dtype=np.float32))

    np.testing.assert_array_equal(y, [[np.nan, np.nan, np.nan], [0, 1, 0]])


@pytest.mark.parametrize("name", TYPES)
def test_the_gradients_of_a_dense_layer(name):
    dtype, tolerance = TYPES[name]
    rng = np.random.default_rng(1)
    x, weight, bias = (normal(rng, *shape, dtype=dtype) for shape in ((33, 20), (20, 70), (70,)))
    y = native(linear_relu, x, weight, bias)
    dy = normal(rng, 33, 70, dtype=dtype)
    masked = np.where(y.astype(np.float32) > 0, dy, 0).astype(np.float64)
    dx, dweight, dbias = native(linear_relu_back, dy, y, x, weight)

    close(dx, masked @ weight.astype(np.float64).T, tolerance)
    close(dweight, x.astype(np.float64).T @ masked, tolerance)
    close(dbias, masked.sum(0), tolerance)
