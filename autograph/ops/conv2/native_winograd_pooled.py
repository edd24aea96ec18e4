"""Convolution by filters of 3 x 3 + bias + relu + max pooling as one op, and its gradient, the way
of Winograd."""

import numpy as np

from ...backends import NATIVE
from ...backends.host import pool, tiles
from ...backends.host.buffers import empty
from ...backends.host.product import scalar_of
from ...backends.host.small_product import steps_of
from ..shape import copy
from . import winograd_pooled_loops as loops
from .native_geometry import SHARES, plain, strides_of
from .native_winograd import (
    STRIP,
    columns_of,
    conv2_dweight_winograd,
    conv2_dx_winograd,
    forms,
    geometry,
    takes_forward,
)  # fmt: skip
from .pooled import (
    apart,
    conv2_relu_max_pool2,
    conv2_relu_max_pool2_back,
    conv2_relu_max_pool2_dweight,
)


def takes(x, weight, bias, **settings):
    return takes_forward(x, weight, bias, **apart(settings)[0])


@conv2_relu_max_pool2.kernel(NATIVE, when=takes, strided=True, halves=True)
def conv2_relu_max_pool2_winograd(
    x, weight, bias, *, padding, filter, pool_stride, pool_padding, **settings
):
    """y (N, O, P', Q') and the place of each of them in its window, 255 where relu stopped it."""
    (n, c, h, w), o, scalar = x.shape, len(weight), scalar_of(x)
    found = geometry((c, h, w), o, padding)
    p, q = found.size
    pp, qq = pooled_size((p, q), filter, pool_stride, pool_padding)
    y, index = empty((n, pp, qq, o), x.dtype), empty((n, pp, qq, o), np.uint8)
    strides, last = strides_of(x)
    tasks, room = min(n, pool.get_num_threads()), found.room + p * q * o
    loops.convolve_pool.of(T=scalar, WR=filter[0], WS=filter[1])(
        tasks, tasks, n, x, strides[0], c, h, w, *strides[1:], *padding, found.height, found.width,
        int(not last), empty((tasks * room,), np.float32), room, found.plan, STRIP,
        forms(scalar.name), columns_of(weight), found.phase, weight, *steps_of(weight), o,
        None if bias is None else plain(bias), tiles.addresses(), p, q, *pool_stride,
        *pool_padding, pp, qq, y, index,
    )  # fmt: skip
    return y.transpose(0, 3, 1, 2), index.transpose(0, 3, 1, 2)


def pooled_size(size, filter, stride, padding):
    """(P', Q') of windows over (P, Q)."""
    return tuple(
        (n + 2 * a - f) // t + 1 for n, f, t, a in zip(size, filter, stride, padding, strict=True)
    )


def takes_back(dy, index, x, weight, *, filter, pool_stride, **settings):
    """Windows that overlap would add up."""
    apart = pool_stride[0] >= filter[0] and pool_stride[1] >= filter[1]
    return apart and takes(x, weight, None, filter=filter, pool_stride=pool_stride, **settings)


@conv2_relu_max_pool2_back.kernel(NATIVE, when=takes_back, strided=True, halves=True)
def conv2_relu_max_pool2_back_winograd(dy, index, x, weight, **settings):
    """The gradients of x, weight and bias."""
    conv = apart(settings)[0]
    deltas, dweight, dbias = _back(dy, index, x, weight, settings, conv)
    return conv2_dx_winograd(deltas, weight, size=x.shape[2:], **conv), dweight, dbias


@conv2_relu_max_pool2_dweight.kernel(NATIVE, when=takes_back, strided=True, halves=True)
def conv2_relu_max_pool2_dweight_winograd(dy, index, x, weight, **settings):
    """The gradients of weight and bias."""
    return _back(dy, index, x, weight, settings, apart(settings)[0])[1:]


def _back(dy, index, x, weight, settings, conv):
    """The gradient behind the convolution, of its weight, and of its bias."""
    (n, c, h, w), (_, o, pp, qq), scalar = x.shape, dy.shape, scalar_of(x)
    p, q = geometry((c, h, w), o, conv["padding"]).size
    dy, index = (
        each if strides_of(each)[1] else copy(each.transpose(0, 2, 3, 1)) for each in (dy, index)
    )
    deltas, dbias = empty((n, p, q, o), x.dtype), empty((o,), x.dtype)
    parts = max(1, min(n, SHARES))
    biases = empty((parts * o,), np.float32)
    loops.unpool.of(T=scalar, WR=settings["filter"][0], WS=settings["filter"][1])(
        parts, parts, n, dy, index, p, q, o, *settings["pool_stride"], *settings["pool_padding"],
        pp, qq, deltas, biases,
    )  # fmt: skip
    loops.sum_biases.of(T=scalar)(1, parts, o, biases, dbias)
    deltas = deltas.transpose(0, 3, 1, 2)
    return deltas, conv2_dweight_winograd(deltas, x, filter=(3, 3), **conv), dbias
