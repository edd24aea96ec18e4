"""Convolution + bias + relu + max pooling in NumPy's language, and the gradients.

Where windows of the pooling do not overlap, the patch of the image that a window comes from is a
column of one product, whose rows are the filters at each place of the window: neighbouring places
share most of their patch, so that little is copied. Images are innermost in memory, (C, H, W, N);
columns are copied in runs of them. Else the ops run one by one.
"""

from itertools import pairwise
from math import prod
from typing import Any

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
    """The patches of images that the windows of the pooling come from.

    One patch holds all `inner` places of a window where that costs at most twice the products;
    else each place has a patch of its own, the filter's, and `starts` says where it begins.
    """

    def __init__(self, x, weight, settings):
        self.filter, self.stride, self.dilation = (
            weight.shape[2:], settings["stride"], settings["dilation"]
        )  # fmt: skip
        places, self.padding = settings["filter"], settings["padding"]
        out = output_size(x.shape[2:], self.filter, self.stride, self.padding, self.dilation)
        moves = list(zip(places, self.stride, settings["pool_stride"], strict=True))
        self.size = tuple((n - p) // t + 1 for n, (p, _, t) in zip(out, moves, strict=True))
        self.step = tuple(s * t for _, s, t in moves)  # from window to window
        (self.images, self.channels, *self.image), self.outputs = x.shape, len(weight)
        self.inner, self.starts = places, [(0, 0)]
        self.patch = tuple(f + (p - 1) * s for f, (p, s, _) in zip(self.filter, moves, strict=True))
        if self.dilation != (1, 1) or prod(self.patch) > 2 * prod(self.filter):
            (sh, sw), self.inner, self.patch = self.stride, (1, 1), self.filter
            self.starts = [(sh * i, sw * j) for i, j in np.ndindex(*places)]
        self.depth = self.channels * prod(self.patch)
        self.rows = prod(self.inner) * self.outputs

    def chunks(self):
        """Slices of the images, of about one length."""
        fit = max(1, ROOM // max(1, self.depth * prod(self.size)))
        count = -(-self.images // fit)
        cuts = [self.images * i // max(1, count) for i in range(count + 1)]
        return [slice(*cut) for cut in pairwise(cuts)]

    def filters(self, spread):
        """Where in (places, O, C, patch) the filter of each place lies."""
        (sh, sw), (r, s) = self.stride, self.filter
        spread = spread.reshape(*self.inner, self.outputs, self.channels, *self.patch)
        for i, j in np.ndindex(*self.inner):
            yield spread[i, j, ..., sh * i : sh * i + r, sw * j : sw * j + s]

    def spread(self, weight):
        """weight -> (places * O, C * patch), zero where a place does not look."""
        spread = np.zeros((self.rows, self.depth), weight.dtype)
        for part in self.filters(spread):
            part[...] = weight
        return spread

    def bordered(self, x):
        """(N, C, H, W) -> (C, H', W', N), runs of images side by side."""
        (ph, pw), (h, w) = self.padding, self.image
        x = x.transpose(1, 2, 3, 0)
        if ph or pw:
            wide = np.zeros((self.channels, h + 2 * ph, w + 2 * pw, x.shape[3]), x.dtype)
            wide[:, ph : ph + h, pw : pw + w] = x
            return wide
        return x if x.strides[3] == x.itemsize else np.ascontiguousarray(x)

    def columns(self, x, start):
        """Bordered images -> (C * patch, windows * images)."""
        c_step, row, column, image = x.strides
        (dh, dw), (th, tw), (top, left) = self.dilation, self.step, start
        shape = (self.channels, *self.patch, *self.size, x.shape[3])
        strides = (c_step, dh * row, dw * column, th * row, tw * column, image)
        columns = empty(shape, x.dtype)
        columns[...] = np.lib.stride_tricks.as_strided(x[:, top:, left:], shape, strides)
        return columns.reshape(self.depth, -1)

    def scatter(self, columns, x, start):
        """The adjoint: add to each element of x what the columns that hold it are given."""
        (dh, dw), (th, tw), (p, q) = self.dilation, self.step, self.size
        parts = columns.reshape(self.channels, *self.patch, p, q, x.shape[3])
        for r, s in np.ndindex(*self.patch):
            top, left = start[0] + dh * r, start[1] + dw * s
            here = x[:, top : top + th * p : th, left : left + tw * q : tw]
            here += parts[:, r, s]


def lie_apart(x, weight, *others, filter, pool_stride, pool_padding, groups, **settings):
    """Whether no two windows of the pooling meet."""
    return (
        groups == 1
        and pool_padding == (0, 0)
        and all(step >= size for step, size in zip(pool_stride, filter, strict=True))
    )


@conv2_relu_max_pool2.kernel(NUMPY, when=lie_apart)
def pooled_arrays(x, weight, bias, **settings):
    found = Windows(x, weight, settings)
    shape = (found.outputs, *found.size, found.images)
    y, index, spread = empty(shape, x.dtype), empty(shape, np.uint8), found.spread(weight)
    for chunk in found.chunks():
        images = found.bordered(x[chunk])
        parts: list[Any] = []
        for start in found.starts:
            columns = found.columns(images, start)
            sums = empty((found.rows, columns.shape[1]), x.dtype)
            np.matmul(spread, columns, out=sums)
            parts.extend(sums.reshape(-1, found.outputs, sums.shape[1]))
        best, better = parts[0], np.empty(parts[0].shape, np.bool_)
        place, turn = np.zeros(best.shape, np.uint8), np.empty(best.shape, np.uint8)
        for k, part in enumerate(parts[1:], 1):  # later places win only if they are larger
            np.greater(part, best, out=better)
            np.multiply(better.view(np.uint8), np.uint8(k), out=turn)
            np.maximum(place, turn, out=place)
            np.maximum(best, part, out=best)
        if bias is not None:
            best += bias[:, None]
        np.less_equal(best, 0, out=better)
        np.multiply(better.view(np.uint8), np.uint8(STOPPED), out=turn)
        np.bitwise_or(place, turn, out=place)
        np.maximum(best, 0, out=best)
        here = (*shape[:3], -1)
        y[..., chunk], index[..., chunk] = best.reshape(here), place.reshape(here)
    if np.isnan(y).any():  # whose it is gets lost in a patch: 0 * inf
        return pooled_composed(x, weight, bias, **settings)
    return y.transpose(3, 0, 1, 2), index.transpose(3, 0, 1, 2)


def _back(dy, index, x, weight, needs_dx, **settings):
    found = Windows(x, weight, settings)
    (ph, pw), (h, w), spread = found.padding, found.image, found.spread(weight)
    dx = empty((found.channels, h, w, found.images * needs_dx), x.dtype).transpose(3, 0, 1, 2)
    dspread = np.zeros(spread.shape, x.dtype)
    dy, index = (np.ascontiguousarray(each.transpose(1, 2, 3, 0)) for each in (dy, index))
    for chunk in found.chunks():
        slope, place, images = dy[..., chunk], index[..., chunk], found.bordered(x[chunk])
        dimages = np.zeros(images.shape if needs_dx else 0, x.dtype)
        for at, start in enumerate(found.starts):
            deltas = np.zeros((prod(found.inner), *slope.shape), x.dtype)
            for k, delta in enumerate(deltas, at):
                np.copyto(delta, slope, where=place == k)
            deltas = deltas.reshape(found.rows, -1)
            dspread += deltas @ found.columns(images, start).T
            if needs_dx:
                found.scatter(spread.T @ deltas, dimages, start)
        if needs_dx:
            dx[chunk] = dimages[:, ph : ph + h, pw : pw + w].transpose(3, 0, 1, 2)
    dweight = np.add.reduce(list(found.filters(dspread)))
    dbias = np.where(index == STOPPED, dy.dtype.type(0), dy).sum(axis=(1, 2, 3))
    return dx, dweight, dbias


@conv2_relu_max_pool2_back.kernel(
    NUMPY, when=lambda dy, index, *inputs, **settings: lie_apart(*inputs, **settings)
)
def pooled_back_arrays(dy, index, x, weight, **settings):
    if not np.isfinite(dy).all():  # whose it is gets lost in a patch: 0 * inf
        return pooled_back_composed(dy, index, x, weight, **settings)
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
