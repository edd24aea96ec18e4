"""Kernels of the host engine against NumPy's in float64, over many shapes."""

from itertools import product as every

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("llvmlite")

from autograph.backends import NATIVE, NUMPY, using
from autograph.backends.host import pool
from autograph.backends.host.product import product
from autograph.ops.conv2 import conv2, conv2_dweight, conv2_dx
from autograph.ops.conv2.native_kernels import conv2_dweight_native, conv2_dx_native, conv2_native
from autograph.ops.conv2.pooled import (
    conv2_relu_max_pool2,
    conv2_relu_max_pool2_back,
    conv2_relu_max_pool2_dweight,
)
from autograph.ops.linear.relu import linear_relu, linear_relu_back
from autograph.ops.loss import cross_entropy_loss, cross_entropy_loss_dx
from autograph.ops.loss.native_kernels import (
    cross_entropy_loss_dx_native,
    cross_entropy_loss_native,
)
from autograph.ops.matmul import matmul
from autograph.ops.pool2 import max_pool2, max_pool2_dx, mean_pool2, mean_pool2_dx
from autograph.ops.pool2.native_kernels import max_pool2_dx_native, max_pool2_native
from autograph.ops.update import adam_update, sgd_update
from autograph.ops.update.numpy_kernels import adam_update_arrays, sgd_update_arrays

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
    from autograph.op import signature_of

    with using(NUMPY):
        plan = op.plan([signature_of(each) for each in arrays], settings)
        return op.run(plan, arrays)[1]


def native(op, *arrays, **settings):
    """What the host engine's kernel of an op says, and what it saves."""
    from autograph.op import signature_of

    with using(NATIVE):
        return op.run(op.plan([signature_of(each) for each in arrays], settings), arrays)[1]


def channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


# -- products ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1),
        (7, 5, 3),
        (13, 84, 100),
        (6, 16, 17),
        (5, 3, 0),
        (150, 40, 900),
        (0, 4, 4),
        (101, 33, 500),
        (25, 300, 515),  # few rows
        (330, 34, 300),
    ],
)
def test_products_of_any_strides(name, shape):
    dtype, tolerance = TYPES[name]
    rng = np.random.default_rng(0)
    m, n, k = shape
    a, b, bias = (
        normal(rng, m, k, dtype=dtype),
        normal(rng, k, n, dtype=dtype),
        normal(rng, n, dtype=dtype),
    )
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


# -- convolutions --------------------------------------------------------------------------


def geometries(count):
    """Random shapes and settings of a convolution."""
    rng = np.random.default_rng(2)
    yield (
        (2, 1, 28, 28),
        (6, 1, 5, 5),
        dict(stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1),
    )
    yield (
        (2, 8, 7, 9),
        (40, 8, 3, 3),
        dict(stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1),
    )
    yield (2, 2, 6, 6), (3, 2, 2, 2), dict(stride=(3, 3), padding=(2, 2), dilation=(1, 1), groups=1)
    for _ in range(count):
        groups = int(rng.integers(1, 4))
        r, s, *rest = (int(v) for v in rng.integers(1, 5, 2))
        stride, dilation, padding = (tuple(map(int, rng.integers(low, 4, 2))) for low in (1, 1, 0))
        h, w = (
            int(rng.integers(max(1, d * (f - 1) + 1 - 2 * p), d * (f - 1) + 12))
            for d, f, p in zip(dilation, (r, s), padding, strict=True)
        )
        n, c, o = (
            int(rng.integers(1, 12)),
            groups * int(rng.integers(1, 6)),
            groups * int(rng.integers(1, 20)),
        )
        settings = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
        yield (n, c, h, w), (o, c // groups, r, s), settings


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("last", [False, True])
def test_convolutions_of_any_geometry(name, last):
    dtype, tolerance = TYPES[name]
    rng = np.random.default_rng(3)
    for shape, filter, settings in geometries(40):
        x, weight, bias = (normal(rng, *s, dtype=dtype) for s in (shape, filter, filter[:1]))
        right = numpy(conv2, *wide(x, weight, bias), **settings)
        dy = normal(rng, *right.shape, dtype=dtype)
        if last:
            x, dy = channels_last(x), channels_last(dy)

        close(conv2_native(x, weight, bias, **settings), right, tolerance)
        dx = numpy(conv2_dx, *wide(dy, weight), size=shape[2:], **settings)
        close(conv2_dx_native(dy, weight, size=shape[2:], **settings), dx, tolerance)
        dweight = numpy(conv2_dweight, *wide(dy, x), filter=filter[2:], **settings)
        close(conv2_dweight_native(dy, x, filter=filter[2:], **settings), dweight, tolerance)


def test_operands_may_have_any_strides():
    rng = np.random.default_rng(11)
    x, weight, bias = normal(rng, 4, 3, 9, 16), normal(rng, 8, 3, 3, 3), normal(rng, 8)
    settings = dict(stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1)
    every_second = x[::-2, :, :, ::2], weight[::2, :, ::-1], bias[::2]
    right = numpy(conv2, *wide(*every_second), **settings)
    close(conv2_native(*every_second, **settings), right, 3e-6)

    pooling = dict(filter=(2, 2), pool_stride=(2, 2), pool_padding=(0, 0))
    y, _ = native(conv2_relu_max_pool2, *every_second, **settings, **pooling)
    pooled, _ = numpy(max_pool2, np.maximum(right, 0), filter=(2, 2), stride=(2, 2), padding=(0, 0))
    close(y, pooled, 3e-6)


def test_an_empty_batch_has_no_gradient():
    settings = dict(stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1)
    x, dy = np.ones((0, 2, 5, 5), np.float32), np.ones((0, 3, 3, 3), np.float32)
    dweight = conv2_dweight_native(dy, x, filter=(3, 3), **settings)

    np.testing.assert_array_equal(dweight, np.zeros((3, 2, 3, 3)))


POOLED = [
    ((3, 1, 28, 28), (6, 1, 5, 5), (1, 1), (0, 0), (1, 1), (2, 2), (2, 2), (0, 0)),
    ((3, 6, 12, 12), (16, 6, 5, 5), (1, 1), (0, 0), (1, 1), (2, 2), (2, 2), (0, 0)),
    ((9, 6, 12, 13), (19, 6, 3, 4), (2, 1), (1, 2), (2, 1), (3, 2), (2, 1), (1, 1)),
    ((2, 16, 9, 9), (32, 16, 3, 3), (1, 1), (1, 1), (1, 1), (2, 2), (2, 2), (0, 0)),
    ((2, 3, 11, 10), (5, 3, 3, 3), (1, 1), (1, 0), (2, 1), (3, 3), (2, 2), (0, 0)),
]


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("case", POOLED, ids=str)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("run", [native, numpy])
def test_a_convolution_with_bias_relu_and_pooling_is_its_parts(name, case, last, run):
    dtype, tolerance = TYPES[name]
    shape, filter, stride, padding, dilation, window, pool_stride, pool_padding = case
    rng = np.random.default_rng(4)
    x, weight, bias = (normal(rng, *s, dtype=dtype) for s in (shape, filter, filter[:1]))
    x = channels_last(x) if last else x
    conv = dict(stride=stride, padding=padding, dilation=dilation, groups=1)
    pooling = dict(filter=window, stride=pool_stride, padding=pool_padding)
    settings = dict(conv, filter=window, pool_stride=pool_stride, pool_padding=pool_padding)
    y, index = run(conv2_relu_max_pool2, x, weight, bias, **settings)

    before = numpy(conv2, *wide(x, weight, bias), **conv)
    right, where = numpy(max_pool2, np.maximum(before, 0), **pooling)
    close(y, right, tolerance)

    if name == "f32":
        assert ((index == where) | (right <= 0)).mean() > 0.999
        assert (index[right <= 0] == 255).all()
    dy = normal(rng, *right.shape, dtype=dtype)
    dx, dweight, dbias = run(conv2_relu_max_pool2_back, dy, index, x, weight, **settings)

    alive = np.where(index == 255, 0, dy.astype(np.float64))
    place = np.where(index == 255, 0, index).astype(np.uint8)
    dbefore = numpy(max_pool2_dx, alive, place, size=before.shape[2:], **pooling)
    close(dx, numpy(conv2_dx, dbefore, *wide(weight), size=shape[2:], **conv), tolerance)
    close(dweight, numpy(conv2_dweight, dbefore, *wide(x), filter=filter[2:], **conv), tolerance)
    close(dbias, dbefore.sum((0, 2, 3)), tolerance)

    same = run(conv2_relu_max_pool2_dweight, dy, index, x, weight, **settings)
    np.testing.assert_array_equal(same[0], dweight)


@pytest.mark.parametrize("padding", [(0, 0), (1, 1)])
def test_windows_that_relu_stopped_in_padding_read_nothing(padding):
    """Not from before the images, either."""
    rng, settings = np.random.default_rng(3), dict(
        stride=(2, 2), padding=padding, dilation=(1, 1), groups=1,
        filter=(3, 1), pool_stride=(2, 2), pool_padding=(1, 0),
    )  # fmt: skip
    around = np.full(3000, np.nan, np.float32)
    x = around[1000 : 1000 + 3 * 23 * 13].reshape(3, 1, 23, 13)
    x[...] = rng.normal(size=x.shape)
    weight = normal(rng, 4, 1, 1, 5)
    y, index = native(conv2_relu_max_pool2, x, weight, None, **settings)
    dy = normal(rng, *y.shape)

    for native_dx, numpy_dx in zip(
        native(conv2_relu_max_pool2_back, dy, index, x, weight, **settings),
        numpy(conv2_relu_max_pool2_back, dy, index, x, weight, **settings),
        strict=True,
    ):
        close(native_dx, numpy_dx, 3e-6)


@pytest.mark.parametrize("run", [native, numpy])
def test_nan_passes_through_the_fused_op(run):
    x = np.full((1, 1, 6, 6), -1.0, np.float32)
    x[0, 0, 2, 2] = np.nan
    settings = dict(stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1)
    weight = np.ones((2, 1, 1, 1), np.float32)
    y, index = run(conv2_relu_max_pool2, x, weight, filter=(2, 2), **settings)

    assert np.isnan(y[0, :, 1, 1]).all()
    assert np.isnan(y).sum() == 2
    assert (index[0, :, 1, 1] == 0).all()
    assert (index == 255).sum() == 16


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_stays_in_its_own_windows(wrong):
    """NumPy's kernel multiplies patches that several windows share."""
    settings = dict(stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, filter=(2, 2))
    rng = np.random.default_rng(3)
    x, weight, dy = normal(rng, 1, 1, 8, 8), normal(rng, 2, 1, 3, 3), normal(rng, 1, 2, 3, 3)
    index = np.zeros(dy.shape, np.uint8)  # every window let its first place through
    clean = numpy(conv2_relu_max_pool2, x, weight, None, **settings)[0]
    slopes = numpy(conv2_relu_max_pool2_back, dy, index, x, weight, **settings)[0]
    x[0, 0, 0, 0] = dy[0, 0, 0, 0] = wrong  # both of the first window alone
    y = numpy(conv2_relu_max_pool2, x, weight, None, **settings)[0]
    dx = numpy(conv2_relu_max_pool2_back, dy, index, x, weight, **settings)[0]

    close(y.reshape(2, 9)[:, 1:], clean.reshape(2, 9)[:, 1:], 1e-6)
    assert np.isfinite(dx[0, 0, 3:]).all()
    close(dx[0, 0, 3:], slopes[0, 0, 3:], 1e-6)


def test_images_that_do_not_fit_at_once_go_through_numpy_in_parts(monkeypatch):
    from autograph.ops.conv2 import numpy_pooled

    rng = np.random.default_rng(4)
    x, weight, bias = normal(rng, 7, 2, 9, 8), normal(rng, 5, 2, 3, 3), normal(rng, 5)
    settings = dict(stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1, filter=(2, 2))

    def everything():
        y, index = numpy(conv2_relu_max_pool2, x, weight, bias, **settings)
        return y, index, *numpy(conv2_relu_max_pool2_back, y, index, x, weight, **settings)

    whole = everything()
    monkeypatch.setattr(numpy_pooled, "ROOM", 5000)
    for part, right in zip(everything(), whole, strict=True):
        close(part, right, 1e-6)


# -- pooling, loss, updates ----------------------------------------------------------------


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
    loss, probability = cross_entropy_loss_native(x, target.astype(np.uint16))
    right, shares = numpy(cross_entropy_loss, *wide(x), target)

    close(loss, right, tolerance)
    close(probability, shares, 1e-5)
    dy = np.ones((), np.float32)
    close(
        cross_entropy_loss_dx_native(dy, probability, target),
        numpy(cross_entropy_loss_dx, np.ones(()), shares, target), 1e-5,
    )  # fmt: skip


def test_cross_entropy_is_stable_and_refuses_what_is_no_class():
    x = np.array([[1e4, -1e4, 0.0], [3e38, 0.0, 0.0]], np.float32)
    loss, probability = cross_entropy_loss_native(x, np.array([0, 0]))

    assert loss == 0
    np.testing.assert_array_equal(probability, [[1, 0, 0], [1, 0, 0]])
    with pytest.raises(IndexError, match=r"target\[1\] = 3 is not a class"):
        cross_entropy_loss_native(x, np.array([0, 3]))


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
    settings = dict(stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1)
    pooling = dict(filter=(2, 2), pool_stride=(2, 2), pool_padding=(0, 0))

    def everything():
        y, index = native(conv2_relu_max_pool2, x, weight, bias, **settings, **pooling)
        plain = conv2_native(x, weight, bias, **settings)
        scores, target = product(a, b), np.arange(130) % 100
        return [
            y, index, plain, scores,
            *native(conv2_relu_max_pool2_back, dy, index, x, weight, **settings, **pooling),
            conv2_dx_native(plain, weight, size=(12, 12), **settings),
            conv2_dweight_native(plain, x, filter=(5, 5), **settings),
            *native(linear_relu_back, scores, scores, a, b),
            *cross_entropy_loss_native(scores, target),
        ]  # fmt: skip

    before = pool.get_num_threads()
    results = []
    for threads in (1, 2, 5, 2):
        pool.set_num_threads(threads)
        results.append([each.tobytes() for each in everything()])
    pool.set_num_threads(before)

    assert results[0] == results[1] == results[2] == results[3]
