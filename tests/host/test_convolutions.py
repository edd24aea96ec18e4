"""Convolutions of the host engine, alone and with what follows them, against NumPy's in float64."""

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from autograph.ops.conv2 import conv2, conv2_dweight, conv2_dx
from autograph.ops.conv2.native_kernels import conv2_dweight_native, conv2_dx_native, conv2_native
from autograph.ops.conv2.pooled import (
    conv2_relu_max_pool2,
    conv2_relu_max_pool2_back,
    conv2_relu_max_pool2_dweight,
)
from autograph.ops.pool2 import max_pool2, max_pool2_dx

from .compared import EACH, TYPES, channels_last, close, native, normal, numpy, wide


def geometries(count):
    """Random shapes and settings of a convolution."""
    rng = np.random.default_rng(2)
    yield (2, 1, 28, 28), (6, 1, 5, 5), EACH
    yield (2, 8, 7, 9), (40, 8, 3, 3), EACH | {"padding": (1, 1)}
    yield (2, 2, 6, 6), (3, 2, 2, 2), EACH | {"stride": (3, 3), "padding": (2, 2)}
    for _ in range(count):
        groups = int(rng.integers(1, 4))
        r, s, *rest = (int(v) for v in rng.integers(1, 5, 2))
        stride, dilation, padding = (tuple(map(int, rng.integers(low, 4, 2))) for low in (1, 1, 0))
        h, w = (
            int(rng.integers(max(1, d * (f - 1) + 1 - 2 * p), d * (f - 1) + 12))
            for d, f, p in zip(dilation, (r, s), padding, strict=True)
        )
        n, c, o = (int(rng.integers(1, most)) for most in (12, 6, 20))
        settings = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
        yield (n, groups * c, h, w), (groups * o, c, r, s), settings


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
    settings = EACH | {"padding": (1, 1)}
    every_second = x[::-2, :, :, ::2], weight[::2, :, ::-1], bias[::2]
    right = numpy(conv2, *wide(*every_second), **settings)
    close(conv2_native(*every_second, **settings), right, 3e-6)

    pooling = dict(filter=(2, 2), pool_stride=(2, 2), pool_padding=(0, 0))
    y, _ = native(conv2_relu_max_pool2, *every_second, **settings, **pooling)
    pooled, _ = numpy(max_pool2, np.maximum(right, 0), filter=(2, 2), stride=(2, 2), padding=(0, 0))
    close(y, pooled, 3e-6)


def test_an_empty_batch_has_no_gradient():
    x, dy = np.ones((0, 2, 5, 5), np.float32), np.ones((0, 3, 3, 3), np.float32)
    dweight = conv2_dweight_native(dy, x, filter=(3, 3), **EACH)

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
    weight = np.ones((2, 1, 1, 1), np.float32)
    y, index = run(conv2_relu_max_pool2, x, weight, filter=(2, 2), **EACH)

    assert np.isnan(y[0, :, 1, 1]).all()
    assert np.isnan(y).sum() == 2
    assert (index[0, :, 1, 1] == 0).all()
    assert (index == 255).sum() == 16


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_stays_in_its_own_windows(wrong):
    """NumPy's kernel multiplies patches that several windows share."""
    settings = EACH | {"filter": (2, 2)}
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
    settings = EACH | {"padding": (1, 1), "filter": (2, 2)}

    def everything():
        y, index = numpy(conv2_relu_max_pool2, x, weight, bias, **settings)
        return y, index, *numpy(conv2_relu_max_pool2_back, y, index, x, weight, **settings)

    whole = everything()
    monkeypatch.setattr(numpy_pooled, "ROOM", 5000)
    for part, right in zip(everything(), whole, strict=True):
        close(part, right, 1e-6)
