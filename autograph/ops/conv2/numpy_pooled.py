"""Convolution + bias + relu + max pooling in NumPy's language, and the gradients.

Where windows of the pooling do not overlap, images are innermost in memory, (C, H, W, N): columns
of the product are copied in runs of images, one place of all windows after the other, so that the
largest of each window is that of a few contiguous arrays. Else the ops run one by one.
"""

from __future__ import annotations

import numpy as np

from ...backends import CUPY, NUMPY, namespace
from ...backends.host.buffers import empty
from ...outline import Outline
from ..elementwise import relu
from ..pool2 import max_pool2, max_pool2_dx
from ..reduce import sum
from . import conv2, conv2_dweight, conv2_dx, output_size
from .pooled import (
    STOPPED,
    apart,
    conv2_relu_max_pool2,
    conv2_relu_max_pool2_back,
    conv2_relu_max_pool2_dweight,
)

ROOM = 1 << 20  # elements of columns at a time


class Windows:
    """Where the windows of a convolution lie that belong to each place of the pooling's windows."""

    def __init__(self, x, weight, settings):
        self.filter, self.places = weight.shape[2:], settings["filter"]
        self.stride, self.dilation = settings["stride"], settings["dilation"]
        self.padding, self.step = settings["padding"], settings["pool_stride"]
        out = output_size(x.shape[2:], self.filter, self.stride, self.padding, self.dilation)
        self.size = tuple(
            (n - f) // t + 1 for n, f, t in zip(out, self.places, self.step, strict=True)
        )
        (self.images, self.channels, *self.image), self.outputs = x.shape, len(weight)
        self.depth = self.channels * self.filter[0] * self.filter[1]
        self.count = self.size[0] * self.size[1]  # of windows
        self.each = self.places[0] * self.places[1]

    def chunks(self):
        """Slices of the images."""
        step = max(1, ROOM // max(1, self.depth * self.each * self.count))
        return [slice(i, min(self.images, i + step)) for i in range(0, self.images, step)]

    def bordered(self, x):
        """(N, C, H, W) -> (C, H', W', N), runs of images side by side."""
        (ph, pw), (h, w) = self.padding, self.image
        x = x.transpose(1, 2, 3, 0)
        if ph or pw:
            wide = np.zeros((self.channels, h + 2 * ph, w + 2 * pw, x.shape[3]), x.dtype)
            wide[:, ph : ph + h, pw : pw + w] = x
            return wide
        return x if x.strides[3] == x.itemsize else np.ascontiguousarray(x)

    def columns(self, x):
        """x of some images -> (C * R * S, places * windows * images)."""
        x = self.bordered(x)
        c_step, row, column, _ = x.strides
        (sh, sw), (dh, dw), (th, tw) = self.stride, self.dilation, self.step
        shape = (self.channels, *self.filter, *self.places, *self.size, x.shape[3])
        strides = (
            c_step, dh * row, dw * column, sh * row, sw * column, sh * th * row, sw * tw * column,
            x.itemsize,
        )  # fmt: skip
        columns = empty(shape, x.dtype)
        columns[...] = np.lib.stride_tricks.as_strided(x, shape, strides)
        return columns.reshape(self.depth, -1)

    def scattered(self, columns, count):
        """The adjoint: what each element of x is given by the columns it was copied to."""
        (ph, pw), (h, w), (pp, qq) = self.padding, self.image, self.size
        (sh, sw), (dh, dw), (th, tw) = self.stride, self.dilation, self.step
        x = np.zeros((self.channels, h + 2 * ph, w + 2 * pw, count), columns.dtype)
        parts = columns.reshape(self.channels, *self.filter, *self.places, pp, qq, count)
        for r, s, i, j in np.ndindex(*self.filter, *self.places):
            top, left, down, right = sh * i + dh * r, sw * j + dw * s, sh * th, sw * tw
            here = x[:, top : top + down * pp : down, left : left + right * qq : right]
            here += parts[:, r, s, i, j]
        return x[:, ph : ph + h, pw : pw + w].transpose(3, 0, 1, 2)


def lie_apart(x, weight, *others, filter, pool_stride, pool_padding, groups, **settings):
    """Whether no two windows of the pooling meet."""
    return groups == 1 and pool_padding == (0, 0) and all(
        step >= size for step, size in zip(pool_stride, filter, strict=True)
    )


@conv2_relu_max_pool2.kernel(NUMPY, when=lie_apart)
def pooled_arrays(x, weight, bias, **settings):
    found = Windows(x, weight, settings)
    shape = (found.outputs, *found.size, found.images)
    y, index = empty(shape, x.dtype), empty(shape, np.uint8)
    flat = weight.reshape(found.outputs, found.depth)
    for chunk in found.chunks():
        columns = found.columns(x[chunk])
        sums = empty((found.outputs, columns.shape[1]), x.dtype)
        np.matmul(flat, columns, out=sums)
        parts = sums.reshape(found.outputs, found.each, -1).swapaxes(0, 1)
        best, better = parts[0], np.empty(parts[0].shape, bool)
        place, turn = np.zeros(best.shape, np.uint8), np.empty(best.shape, np.uint8)
        for k, part in enumerate(parts[1:], 1):  # later places win only if they are larger
            np.greater(part, best, out=better)
            np.multiply(better.view(np.uint8), np.uint8(k), out=turn)
            np.maximum(place, turn, out=place)
            np.maximum(best, part, out=best)
        if np.isnan(best).any():  # the first of them wins; the sums of place 0 are gone
            again = np.matmul(flat, columns).reshape(sums.shape[0], found.each, -1)
            for k in reversed(range(found.each)):
                np.copyto(place, np.uint8(k), where=np.isnan(again[:, k]))
        if bias is not None:
            best += bias[:, None]
        np.less_equal(best, 0, out=better)
        np.multiply(better.view(np.uint8), np.uint8(STOPPED), out=turn)
        np.bitwise_or(place, turn, out=place)
        np.maximum(best, 0, out=best)
        here = (*shape[:3], -1)
        y[..., chunk], index[..., chunk] = best.reshape(here), place.reshape(here)
    return y.transpose(3, 0, 1, 2), index.transpose(3, 0, 1, 2)


def _back(dy, index, x, weight, needs_dx, **settings):
    found = Windows(x, weight, settings)
    flat, inside = weight.reshape(found.outputs, found.depth), (found.channels, *found.image)
    dx = empty((*inside, found.images * needs_dx), x.dtype).transpose(3, 0, 1, 2)
    dweight = np.zeros((found.outputs, found.depth), x.dtype)
    dy, index = (np.ascontiguousarray(each.transpose(1, 2, 3, 0)) for each in (dy, index))
    for chunk in found.chunks():
        slope, place = dy[..., chunk], index[..., chunk]
        deltas = np.zeros((found.outputs, found.each, *slope.shape[1:]), x.dtype)
        for k in range(found.each):
            np.copyto(deltas[:, k], slope, where=place == k)
        deltas = deltas.reshape(found.outputs, -1)
        dweight += deltas @ found.columns(x[chunk]).T
        if needs_dx:
            dx[chunk] = found.scattered(flat.T @ deltas, slope.shape[3])
    dbias = np.where(index == STOPPED, dy.dtype.type(0), dy).sum(axis=(1, 2, 3))
    return dx, dweight.reshape(weight.shape), dbias


@conv2_relu_max_pool2_back.kernel(
    NUMPY, when=lambda dy, index, *inputs, **settings: lie_apart(*inputs, **settings)
)
def pooled_back_arrays(dy, index, x, weight, **settings):
    return _back(dy, index, x, weight, True, **settings)


@conv2_relu_max_pool2_dweight.kernel(
    NUMPY, when=lambda dy, index, *inputs, **settings: lie_apart(*inputs, **settings)
)
def pooled_dweight_arrays(dy, index, x, weight, **settings):
    return _back(dy, index, x, weight, False, **settings)[1:]


# -- by their parts, with the best kernel of each ----------------------------------------


@conv2_relu_max_pool2.kernel(NUMPY, CUPY, halves=True)
def pooled_composed(x, weight, bias, **settings):
    conv, pool = apart(settings)
    image = relu(conv2(x, weight, bias, **conv))
    y, index = max_pool2.run(max_pool2.plan([Outline.of(image)], pool), [image])[1]
    index = index.copy()
    namespace(index).copyto(index, np.uint8(STOPPED), where=~(y > 0) & (y == y))
    return y, index


def _unpooled(dy, index, x, weight, settings):
    conv, pool = apart(settings)
    size = output_size(
        x.shape[2:], weight.shape[2:], conv["stride"], conv["padding"], conv["dilation"]
    )
    return conv, max_pool2_dx(dy, index, size=size, **pool)


@conv2_relu_max_pool2_back.kernel(NUMPY, CUPY, halves=True)
def pooled_back_composed(dy, index, x, weight, **settings):
    conv, dy = _unpooled(dy, index, x, weight, settings)
    return (
        conv2_dx(dy, weight, size=x.shape[2:], **conv),
        conv2_dweight(dy, x, filter=weight.shape[2:], **conv),
        sum(dy, axis=(0, 2, 3)),
    )


@conv2_relu_max_pool2_dweight.kernel(NUMPY, CUPY, halves=True)
def pooled_dweight_composed(dy, index, x, weight, **settings):
    conv, dy = _unpooled(dy, index, x, weight, settings)
    return conv2_dweight(dy, x, filter=weight.shape[2:], **conv), sum(dy, axis=(0, 2, 3))
