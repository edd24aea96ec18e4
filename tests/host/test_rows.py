"""Reductions, softmax, normalisations and broadcast operands of the host engine against float64."""

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import autograph as ag
from autograph.backends import NATIVE, NUMPY, using
from autograph.backends.host import pool
from autograph.op import REGISTRY, signature_of

SHAPES = [(1, 1), (3, 7), (5, 64), (129, 200), (2, 100_003), (70_001, 3), (4, 3, 5, 6)]
ROWS = [
    ("sum", {"axis": -1}), ("sum", {"axis": 0}), ("sum", {}), ("mean", {"axis": -1}),
    ("mean", {"axis": 0, "keepdims": True}), ("max", {"axis": -1}), ("min", {}),
    ("softmax", {"axis": -1}), ("log_softmax", {"axis": -1}),
]  # fmt: skip


def run(backend, name, *arrays, **settings):
    """What the kernel of a backend says."""
    op = REGISTRY[name]
    with using(backend):
        plan = op.plan([signature_of(each) for each in arrays], settings)
        return op.run(plan, arrays)[1]


def close(found, right, tolerance=2e-6):
    scale = np.max(np.abs(right), initial=1e-30)
    np.testing.assert_allclose(found, right, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("name", "settings"), ROWS, ids=str)
def test_rows_and_columns(name, settings, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    right = run(NUMPY, name, x.astype(np.float64), **settings)

    close(run(NATIVE, name, x, **settings), right)


@pytest.mark.parametrize("name", ["softmax_dx", "log_softmax_dx"])
def test_gradients_of_softmax(name):
    rng = np.random.default_rng(0)
    dy, x = (rng.standard_normal((9, 33)).astype(np.float32) for _ in range(2))
    y = run(NUMPY, name[:-3], x, axis=-1)
    right = run(NUMPY, name, dy.astype(np.float64), y.astype(np.float64), axis=-1)

    close(run(NATIVE, name, dy, y, axis=-1), right)


@pytest.mark.parametrize("name", ["max", "softmax", "log_softmax", "sum"])
def test_nan_and_infinity_are_numpys(name):
    x = np.array([[1, np.nan, 3], [np.inf, 1, 2], [-np.inf] * 3, [-np.inf, 0, 1]], np.float32)
    axis = {"axis": -1}

    np.testing.assert_allclose(
        run(NATIVE, name, x, **axis), run(NUMPY, name, x.astype(np.float64), **axis), rtol=1e-6
    )


@pytest.mark.parametrize(("name", "shape", "features"), [
    ("layer_norm", (6, 40), 40),
    ("layer_norm", (3, 5, 2000), 2000),
    ("batch_norm", (4, 3, 5, 6), 3),
    ("batch_norm", (2, 7, 300), 7),
])  # fmt: skip
@pytest.mark.parametrize("affine", [True, False])
def test_normalisations_and_their_gradients(name, shape, features, affine):
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(shape) + 3]
    arrays += [rng.standard_normal(features) for _ in range(2 * affine)]
    dy = rng.standard_normal(shape)

    def results(dtype, *backends):
        with using(*backends):
            tensors = [ag.Tensor(each.astype(dtype), requires_grad=True) for each in arrays]
            y = REGISTRY[name](*tensors)
            y.backward(ag.Tensor(dy.astype(dtype)))
        return [each.numpy() for each in (y.detach(), *[each.grad for each in tensors])]

    for found, right in zip(results("f4", NATIVE, NUMPY), results("f8", NUMPY), strict=True):
        close(found, right, 2e-5)


@pytest.mark.parametrize("shapes", [((4, 5, 9), (9,)), ((4, 5, 9), (4, 1, 1)), ((7, 8), (1, 8))])
def test_operands_that_are_rows_or_columns(shapes):
    rng = np.random.default_rng(2)
    x, y = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)

    np.testing.assert_array_equal(run(NATIVE, "subtract", x, y), x - y)
    np.testing.assert_array_equal(run(NATIVE, "subtract", y, x), y - x)


def test_rows_do_not_depend_on_the_number_of_threads():
    x = np.random.default_rng(3).standard_normal((70, 4001)).astype(np.float32)
    before, results = pool.get_num_threads(), []
    for threads in (1, 2, 5):
        pool.set_num_threads(threads)
        results.append([run(NATIVE, name, x, **settings) for name, settings in ROWS])
    pool.set_num_threads(before)

    for other in results[1:]:
        for found, right in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(found, right)
