"""Pooling, loss and updates of the host engine against NumPy's in float64; no kernel depends on
the number of threads."""

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("llvmlite")

from autograph.backends import NATIVE, using
from autograph.backends.host import pool
from autograph.backends.host.product import product
from autograph.ops.conv2.native_kernels import conv2_dweight_native, conv2_dx_native, conv2_native
from autograph.ops.conv2.pooled import (
    conv2_relu_max_pool2,
    conv2_relu_max_pool2_back,
)
from autograph.ops.linear.relu import linear_relu_back
from autograph.ops.loss import cross_entropy_loss, cross_entropy_loss_dx
from autograph.ops.pool2 import max_pool2, max_pool2_dx, mean_pool2, mean_pool2_dx
from autograph.ops.pool2.native_kernels import max_pool2_dx_native, max_pool2_native
from autograph.ops.update import adam_update, sgd_update
from autograph.ops.update.numpy_kernels import adam_update_arrays, sgd_update_arrays
from autograph.outline import Outline

from .compared import EACH, TYPES, channels_last, close, native, normal, numpy, wide


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("case", [
    ((2, 2), (2, 2), (0, 0)), ((3, 2), (2, 1), (1, 0)), ((3, 3), (2, 2), (1, 1)),
    ((17, 17), (1, 1), (8, 8)),
])  # fmt: skip
def test_max_pooling(last, case):
    rng = np.random.default_rng(5)
    settings = dict(zip(("filter", "stride", "padding"), case, strict=True))
    x = rng.integers(0, 4, (3, 5, 17, 19)).astype(np.float32)  # full of equals
    x[0, 0, 3, 3], x[1, 2, 5, 5], x[1, 2, 5, 6] = np.nan, -np.inf, np.inf
    right, where = numpy(max_pool2, x, **settings)
    x = channels_last(x) if last else x
    y, index = max_pool2_native(x, **settings)

    np.testing.assert_array_equal(y, right)
    np.testing.assert_array_equal(index, where)
    assert index.dtype == where.dtype
    dy = normal(rng, *y.shape)
    dx = numpy(max_pool2_dx, dy.astype(np.float64), where, size=(17, 19), **settings)
    close(max_pool2_dx_native(dy, index, size=(17, 19), **settings), dx, 1e-6)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    "case", [((2, 2), (2, 2), (0, 0)), ((3, 2), (2, 1), (1, 0)), ((17, 19), (17, 19), (0, 0))]
)
def test_mean_pooling(name, last, case):
    dtype, tolerance = TYPES[name]
    rng = np.random.default_rng(5)
    settings = dict(zip(("filter", "stride", "padding"), case, strict=True))
    x = normal(rng, 3, 5, 17, 19, dtype=dtype)
    right = numpy(mean_pool2, *wide(x), **settings)
    dy = normal(rng, *right.shape, dtype=dtype)
    dx = numpy(mean_pool2_dx, *wide(dy), size=(17, 19), **settings)
    x, dy = (channels_last(each) if last else each for each in (x, dy))

    close(native(mean_pool2, x, **settings), right, tolerance)
    close(native(mean_pool2_dx, dy, size=(17, 19), **settings), dx, tolerance)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 10), (200, 7), (65, 1000)])
def test_cross_entropy_and_its_gradient(name, shape):
    dtype, tolerance = TYPES[name]
    rng = np.random.default_rng(6)
    x, target = normal(rng, *shape, dtype=dtype) * dtype(4), rng.integers(0, shape[1], shape[0])
    narrow = target.astype(np.uint16)  # which the kernel has cast
    with using(NATIVE):
        plan = cross_entropy_loss.plan([Outline.of(x), Outline.of(narrow)], {})
    loss, rows = plan.kernel(x, narrow)
    right, wide_rows = numpy(cross_entropy_loss, *wide(x), target)

    close(loss, right, tolerance)
    close(rows, wide_rows, 1e-5)
    close(
        native(cross_entropy_loss_dx, np.ones((), x.dtype), x, target, rows),
        numpy(cross_entropy_loss_dx, np.ones(()), *wide(x), target, wide_rows), tolerance,
    )  # fmt: skip


def test_cross_entropy_is_stable_and_refuses_what_is_no_class():
    x = np.array([[1e4, -1e4, 0.0], [3e38, 0.0, 0.0]], np.float32)
    target = np.array([0, 0])
    loss, rows = native(cross_entropy_loss, x, target)
    dx = native(cross_entropy_loss_dx, np.ones((), np.float32), x, target, rows)

    assert loss == 0
    np.testing.assert_array_equal(rows, [x.max(axis=1), [1, 1]])
    np.testing.assert_array_equal(dx, np.zeros((2, 3)))
    with pytest.raises(IndexError, match=r"target\[1\] = 3 is not a class"):
        native(cross_entropy_loss, x, np.array([0, 3]))


@pytest.mark.parametrize("settings", [
    dict(momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0, maximize=False),
    dict(momentum=0.9, dampening=0.1, nesterov=False, weight_decay=0.01, maximize=False),
    dict(momentum=0.9, dampening=0.0, nesterov=True, weight_decay=0.0, maximize=True),
])  # fmt: skip
@pytest.mark.parametrize("size", [10, 40_000])
def test_sgd_follows_numpys(settings, size):
    rng = np.random.default_rng(7)
    states = [
        np.random.default_rng(1).standard_normal(size).astype(t) for t in (np.float32, np.float64)
    ]
    velocities = [np.zeros_like(w) if settings["momentum"] else None for w in states]
    steps, rate = [np.zeros((), np.int64), np.zeros((), np.int64)], np.array(0.1)
    for _ in range(3):
        dw = rng.standard_normal(size)
        native(
            sgd_update, states[0], dw.astype(np.float32), steps[0], rate, velocities[0], None,
            **settings,
        )  # fmt: skip
        sgd_update_arrays(states[1], dw, steps[1], rate, velocities[1], None, **settings)

    close(states[0], states[1], 1e-6)
    assert steps[0] == steps[1] == 3


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("size", [10, 40_000])
def test_adam_follows_numpys(decoupled, size):
    rng = np.random.default_rng(8)
    first = rng.standard_normal(size)
    settings = dict(
        beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.1, decoupled=decoupled, maximize=False
    )
    found, right = (
        [first.astype(t), *(np.zeros(size, t) for _ in range(3))] for t in (np.float32, np.float64)
    )
    steps, rate = [np.zeros((), np.int64), np.zeros((), np.int64)], np.array(0.01)
    for _ in range(4):
        dw = rng.standard_normal(size)
        native(
            adam_update, found[0], dw.astype(np.float32), steps[0], rate, *found[1:], None,
            **settings,
        )  # fmt: skip
        adam_update_arrays(right[0], dw, steps[1], rate, *right[1:], None, **settings)

    close(found[0], right[0], 2e-6)
    assert steps[0] == 4


def test_bfloat16_parameters_are_rounded_from_their_float32_masters():
    rng = np.random.default_rng(9)
    master = normal(rng, 100)
    w = master.astype(ml_dtypes.bfloat16)
    dw = normal(rng, 100, dtype=ml_dtypes.bfloat16)
    settings = dict(momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0, maximize=False)
    right = master - np.float32(0.1) * dw.astype(np.float32)
    native(sgd_update, w, dw, np.zeros((), np.int64), np.array(0.1), None, master, **settings)

    close(master, right, 1e-6)
    np.testing.assert_array_equal(
        w.astype(np.float32), master.astype(ml_dtypes.bfloat16).astype(np.float32)
    )


# -- determinism ---------------------------------------------------------------------------


def test_results_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(10)
    x, weight, bias = normal(rng, 21, 6, 12, 12), normal(rng, 16, 6, 5, 5), normal(rng, 16)
    dy, a, b = normal(rng, 21, 16, 4, 4), normal(rng, 130, 600), normal(rng, 600, 100)
    pooling = EACH | {"filter": (2, 2), "pool_stride": (2, 2), "pool_padding": (0, 0)}

    def everything():
        y, index = native(conv2_relu_max_pool2, x, weight, bias, **pooling)
        plain = conv2_native(x, weight, bias, **EACH)
        scores, target = product(a, b), np.arange(130) % 100
        return [
            y, index, plain, scores,
            *native(conv2_relu_max_pool2_back, dy, index, x, weight, **pooling),
            conv2_dx_native(plain, weight, size=(12, 12), **EACH),
            conv2_dweight_native(plain, x, filter=(5, 5), **EACH),
            *native(linear_relu_back, scores, scores, a, b),
            *native(cross_entropy_loss, scores, target),
        ]  # fmt: skip

    before = pool.get_num_threads()
    results = []
    for threads in (1, 2, 5, 2):
        pool.set_num_threads(threads)
        results.append([each.tobytes() for each in everything()])
    pool.set_num_threads(before)

    assert results[0] == results[1] == results[2] == results[3]
