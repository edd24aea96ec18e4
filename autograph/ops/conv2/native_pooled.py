"""Convolution + bias + relu + max pooling as one op of the host engine, and its gradient."""

from functools import cache

import numpy as np

from ...backends import NATIVE
from ...backends.host import pool, tiles, window_tiles
from ...backends.host.buffers import empty
from ...backends.host.product import scalar_of, shares
from ...backends.host.sparse_tiles import sparse_address
from ...backends.host.tiles import LANES, PANEL, ROWS
from ...backends.host.window_tiles import outputs_of
from ...scalar_type import BF16, F32
from . import pooled_loops as loops
from .native_kernels import SHARES, forward_geometry, image_strides, strides_of
from .pooled import (
    conv2_relu_max_pool2,
    conv2_relu_max_pool2_back,
    conv2_relu_max_pool2_dweight,
)


def takes(x, weight, *others, groups, **settings):
    """Whether the engine computes with this scalar type; groups go part by part."""
    return groups == 1 and x.scalar_type in (F32, BF16)


@conv2_relu_max_pool2.kernel(NATIVE, when=takes, strided=True, halves=True)
def conv2_relu_max_pool2_native(
    x, weight, bias, *, stride, padding, dilation, groups, filter, pool_stride, pool_padding
):
    """y (N, O, P', Q') and the place of each of them in its window, 255 where relu stopped it."""
    (n, c, h, w), o = x.shape, weight.shape[0]
    found = pooled_geometry(
        (c, h, w), weight.shape, stride, padding, dilation, filter, pool_stride, pool_padding
    )
    conv, (p, q), (pp, qq) = found.conv, found.conv.size, found.size
    y, index = empty((n, pp, qq, o), x.dtype), empty((n, pp, qq, o), np.uint8)
    if bias is not None:
        bias = np.ascontiguousarray(bias, np.float32)
    strides, copies = image_strides(x, conv)
    tasks = min(n, pool.get_num_threads())
    lanes = found.lanes(n, pool.get_num_threads())
    if lanes is not None:
        loops.convolve_pool_lanes.of(T=scalar_of(x), WIDE=x.itemsize != 4)(
            lanes.tasks, lanes.tasks, n * lanes.strips, lanes.strips, x, strides[0], c, h, w,
            *strides[1:], conv.top, conv.left, lanes.height, conv.width, lanes.down, copies,
            empty((lanes.tasks * lanes.room,), np.float32), lanes.room, found.window_plan,
            np.ascontiguousarray(weight, np.float32), weight[0].size,
            found.no_bias if bias is None else bias, o, *found.window_tiles, lanes.rows,
            found.row_step, qq, y, index,
        )  # fmt: skip
        return y.transpose(0, 3, 1, 2), index.transpose(0, 3, 1, 2)
    columns = -(-o // PANEL) * PANEL * weight[0].size
    room = (p * q + 1) * found.pitch + 2 * PANEL + columns + conv.height * conv.width * c * copies
    scalar = scalar_of(x)
    loops.convolve_pool.of(T=scalar, WR=filter[0], WS=filter[1])(
        tasks, tasks, n, x, strides[0], c, h, w, *strides[1:], conv.top, conv.left, conv.height,
        conv.width, copies,
        empty((tasks * room,), np.float32), room, found.phase, weight,
        *weight.shape[2:], *steps_of(weight), o, found.pitch, bias,
        tiles.addresses(), p, q, *pool_stride, *pool_padding, pp, qq, y, index,
    )  # fmt: skip
    return y.transpose(0, 3, 1, 2), index.transpose(0, 3, 1, 2)


def takes_back(dy, index, x, weight, *, groups, dilation, **settings):
    """Sparse tiles go along the rows of a filter, whose columns therefore lie side by side."""
    return groups == 1 and dilation[1] == 1 and x.scalar_type in (F32, BF16)


@conv2_relu_max_pool2_dweight.kernel(NATIVE, when=takes_back, strided=True, halves=True)
def conv2_relu_max_pool2_dweight_native(dy, index, x, weight, **settings):
    return conv2_relu_max_pool2_back_native(dy, index, x, weight, needs_dx=False, **settings)[1:]


@conv2_relu_max_pool2_back.kernel(NATIVE, when=takes_back, strided=True, halves=True)
def conv2_relu_max_pool2_back_native(
    dy,
    index,
    x,
    weight,
    *,
    stride,
    padding,
    dilation,
    groups,
    filter,
    pool_stride,
    pool_padding,
    needs_dx=True,
):
    """The gradients of x (None if not needed), weight and bias."""
    (n, c, h, w), o = x.shape, weight.shape[0]
    found = pooled_geometry(
        (c, h, w), weight.shape, stride, padding, dilation, filter, pool_stride, pool_padding
    )
    conv, (pp, qq), sparse = found.conv, found.size, found.sparse
    index = np.ascontiguousarray(index.transpose(0, 2, 3, 1))
    (_, dy_o, dy_row, dy_pixel), dy_last = strides_of(dy)
    if not (dy_last or dy.flags.c_contiguous):
        dy, dy_o, dy_pixel = np.ascontiguousarray(dy.transpose(0, 2, 3, 1)), 1, o
    strides, copies = image_strides(x, conv)
    scalar, length, block = scalar_of(x), weight[0].size, sparse.block
    parts = max(1, min(n, SHARES))
    sums, biases = empty((parts * o * block,), np.float32), empty((parts * o,), np.float32)
    back = found.back
    weights = dx = None
    if needs_dx:
        weights, dx = spread(weight, back), empty((n, h, w, c), x.dtype)
    room = 2 * (conv.height * conv.width * c + 2 * found.margin) + pp * qq * (3 * o + 2) + PANEL
    loops.scatter_pool.of(T=scalar, WS=filter[1])(
        parts, parts, n, x, strides[0], c, h, w, *strides[1:], conv.top, conv.left, conv.height,
        conv.width, copies,
        empty((parts * room,), np.float32), room, found.margin, dy, dy_o, dy_pixel, index, pp * qq,
        o, found.starts, found.down, found.right,
        sparse.line, sparse.chunks, len(sparse.chunks), block, sums, biases, int(needs_dx),
        back.bases, -back.down,
        -back.right, back.pitch, back.regions, len(back.regions), weights, dx,
    )  # fmt: skip
    dweight, dbias = empty(weight.shape, weight.dtype), empty((o,), weight.dtype)
    tasks = shares(o, parts * weight.size)
    loops.sum_shares.of(T=scalar)(
        tasks, tasks, parts, o, length, block, sparse.positions, sums, biases, dweight, dbias
    )
    return dx if dx is None else dx.transpose(0, 3, 1, 2), dweight, dbias


class Pooled:
    """What the fused op needs to know that depends on shapes alone."""

    def plan_windows(self, image, filter, stride, dilation, window, pool_stride, pool_padding):
        """Window tiles for few outputs: where in an image taps, places and next windows lie."""
        (c, _, _), (o, _, r, s), line = image, filter, self.conv.width * image[0]
        most = outputs_of(window)
        self.few = o < PANEL and most > 0 and pool_padding == (0, 0)
        if not self.few:
            return
        taps = (
            np.arange(c)[:, None, None]
            + dilation[0] * line * np.arange(r)[:, None]
            + dilation[1] * c * np.arange(s)
        )
        places = stride[0] * line * np.arange(window[0])[:, None] + stride[1] * c * np.arange(
            window[1]
        )
        self.taps = (taps.ravel() * LANES).astype(np.int64)
        step = pool_stride[1] * stride[1] * c * LANES
        self.window_plan = np.array(
            [c * r, self.taps.ctypes.data, step, taps.size, o * LANES, *places.ravel() * LANES],
            np.int64,
        )
        self.window_tiles = window_tiles.addresses(window, s), most
        self.no_bias = np.zeros(o, np.float32)
        self.rows_down = pool_stride[0] * stride[0]
        self.row_step = self.rows_down * line * LANES
        self.reach = (window[0] - 1) * stride[0] + dilation[0] * (r - 1) + 1
        self.few_outputs, self.line, self.work = o, line, taps.size * places.size * o
        self.lanes = cache(self.lanes)

    def lanes(self, n, threads):
        """How images are cut into strips, a lane each; None where vectors would stay empty."""
        (pp, qq), best = self.size, None
        for rows in range(1, pp + 1) if self.few and n * pp >= LANES else ():
            height = (rows - 1) * self.rows_down + self.reach
            size, count = height * self.line, rows * qq * self.few_outputs
            if pp % rows or size < LANES or count < 4 * LANES:
                continue
            groups = -(-n * (pp // rows) // LANES)
            cost = -(-groups // threads) * (rows * qq * self.work + 4 * size)
            if best is None or cost < best.cost:
                best = Pooled()
                best.cost, best.rows, best.strips, best.height = cost, rows, pp // rows, height
                best.down, best.tasks = rows * self.rows_down, min(groups, 4 * threads)
                best.room = (size + 2 * count + max(size, count)) * LANES
        return best


@cache
def pooled_geometry(image, filter, stride, padding, dilation, window, pool_stride, pool_padding):
    """Where windows of the pooling lie in the convolution, and those of the convolution in x."""
    found = Pooled()
    (c, _, _), (o, _, _, _) = image, filter
    conv = found.conv = forward_geometry(image, filter, stride, padding, dilation, 1)
    p, q = conv.size
    found.size = tuple(
        (n + 2 * a - f) // t + 1
        for n, f, t, a in zip((p, q), window, pool_stride, pool_padding, strict=True)
    )
    found.pitch = -(-o // LANES) * LANES
    found.phase = conv.phases[0].copy()
    found.outputs = np.arange(p * q, dtype=np.int64) * found.pitch
    found.phase[tiles.C_TABLE] = found.outputs.ctypes.data
    line = conv.width * c
    rows = (np.arange(found.size[0]) * pool_stride[0] - pool_padding[0]) * stride[0] * line
    columns = (np.arange(found.size[1]) * pool_stride[1] - pool_padding[1]) * stride[1] * c
    found.starts = np.repeat((rows[:, None] + columns).astype(np.int32).ravel(), o)
    found.down, found.right = stride[0] * line, stride[1] * c
    found.back = back_geometry(
        filter, stride, dilation, window, line, found.size[0] * found.size[1]
    )
    found.margin = (
        pool_padding[0] * found.down
        + pool_padding[1] * found.right
        + (found.back.high + 1) * line
        + PANEL
    )
    found.sparse = sparse_geometry(filter, dilation, line)
    found.plan_windows(image, filter, stride, dilation, window, pool_stride, pool_padding)
    return found


@cache
def sparse_geometry(filter, dilation, line):
    """How sparse tiles cover the rows of a filter, S * C values each: chunks of rows x vectors."""
    found = Pooled()
    _, c, r, s = filter
    total = -(-s * c // LANES)
    wide = min(total, 4)
    high = min(r, max(1, 2 * ROWS // wide))
    found.line, found.block, chunks = dilation[0] * line, 0, []
    positions = np.zeros((r, total * LANES), np.int32)
    for row in range(0, r, high):
        for vector in range(0, total, wide):
            rows, vectors = min(high, r - row), min(wide, total - vector)
            tile = sparse_address(rows, vectors)
            chunks.append((tile, row * found.line + vector * LANES, found.block, vectors * LANES))
            inside = np.arange(rows * vectors * LANES).reshape(rows, vectors * LANES)
            positions[row : row + rows, vector * LANES : (vector + vectors) * LANES] = (
                found.block + inside
            )
            found.block += rows * vectors * LANES
    found.chunks = np.array(chunks, np.int64)
    by_tap = positions[:, : s * c].reshape(r, s, c)
    found.positions = np.ascontiguousarray(by_tap.transpose(2, 0, 1)).ravel()
    return found


@cache
def back_geometry(filter, stride, dilation, window, line, pixels):
    """The region of x that the window of one pooled pixel reaches, and the filter spread so that
    it fits every place.

    The spread filter has zeros around it: read from the place (0, 0) of the window on, or from any
    other, it covers the whole region.
    """
    found = Pooled()
    o, c, r, s = filter
    above, before = (window[0] - 1) * stride[0], (window[1] - 1) * stride[1]
    found.high = dilation[0] * (r - 1) + 1 + above
    run = (dilation[1] * (s - 1) + 1 + before) * c
    vectors = -(-run // LANES)
    found.pitch = before * c + vectors * LANES
    found.shape = (o, found.high + above, found.pitch)
    found.inside = (
        above * found.pitch + before * c, dilation[0] * found.pitch, dilation[1] * c
    )  # fmt: skip
    found.down, found.right = stride[0] * found.pitch, stride[1] * c
    bases = np.arange(o) * found.shape[1] * found.pitch + above * found.pitch + before * c
    found.bases = np.tile(bases.astype(np.int32), pixels)
    wide = min(vectors, 6)
    high = max(1, 2 * ROWS // wide)
    regions = []
    for row in range(0, found.high, high):
        for vector in range(0, vectors, wide):
            tile = sparse_address(min(high, found.high - row), min(wide, vectors - vector))
            regions.append((tile, row * found.pitch + vector * LANES, row * line + vector * LANES))
    found.regions = np.array(regions, np.int64)
    return found


def spread(weight, back):
    """The weight (O, C, R, S) -> (O, rows, S * C) with zeros around and between."""
    o, rows, pitch = back.shape
    out = empty((o * rows * pitch,), np.float32)
    tasks = shares(o, 4 * out.size)
    loops.spread_weight.of(T=scalar_of(weight))(
        tasks, tasks, *weight.shape, *steps_of(weight), weight, rows * pitch, *back.inside, out
    )
    return out


def steps_of(array):
    """Strides in elements."""
    size = array.itemsize
    return [step // size for step in array.strides]
