"""Convolution + bias + relu + max pooling as one op of the host engine, and its gradient."""

from functools import cache
from math import prod

import numpy as np

from ...backends import NATIVE
from ...backends.host import pool, tiles, window_tiles
from ...backends.host.buffers import allocator
from ...backends.host.product import shares
from ...backends.host.scalars import KINDS, bf16
from ...backends.host.small_product import steps_of
from ...backends.host.sparse_tiles import sparse_address
from ...backends.host.tiles import LANES, PANEL, ROWS
from ...backends.host.window_tiles import outputs_of
from ...scalar_type import BF16, F32
from ..shape import copy
from . import native_winograd_pooled  # noqa: F401 - its kernels are asked first
from . import pooled_loops as loops
from .native_geometry import SHARES, forward_geometry, image_strides_of, known_steps, plain
from .pooled import (
    conv2_relu_max_pool2,
    conv2_relu_max_pool2_back,
    conv2_relu_max_pool2_dweight,
)


def takes(x, weight, *others, groups, **settings):
    """Whether the engine computes with this scalar type; groups go part by part."""
    return groups == 1 and x.scalar_type in (F32, BF16)


@conv2_relu_max_pool2.kernel(NATIVE, when=takes, strided=True, halves=True, made=True)
def conv2_relu_max_pool2_native(inputs, outputs, **settings):
    """y (N, O, P', Q') and the place of each of them in its window, 255 where relu stopped it."""
    (n, c, h, w), (o, _, r, s) = inputs[0].shape, inputs[1].shape
    found = geometry_of(inputs[0], inputs[1], settings)
    conv, (pp, qq), length = found.conv, found.size, inputs[1].size // o
    scalar, dtype = KINDS[inputs[0].scalar_type], inputs[0].scalar_type.dtype
    window, few = settings["filter"], loops.convolve_pool_lanes.of(T=scalar, WIDE=scalar is bf16)
    many = loops.convolve_pool.of(T=scalar, WR=window[0], WS=window[1])
    pooling = *conv.size, *settings["pool_stride"], *settings["pool_padding"], pp, qq
    top, left, height, width = conv.top, conv.left, conv.height, conv.width
    new_y, new_index = allocator((n, pp, qq, o), dtype), allocator((n, pp, qq, o), np.uint8)
    strides_of_x, weight_steps = image_strides_of(inputs[0], conv), known_steps(inputs[1])

    @cache
    def cut(threads, copies):
        """The launch for so many threads, its tasks, the room of one, and scratch for all."""
        lanes = found.lanes(n, threads)
        tasks = min(n, threads) if lanes is None else lanes.tasks
        room = found.room + height * width * c * copies if lanes is None else lanes.room
        launch = (many if lanes is None else few).launch(tasks, tasks)
        return launch, lanes, room, allocator((tasks * room,))

    def run(x, weight, bias):
        y, index = new_y(), new_index()
        if bias is not None:
            bias = plain(bias)
        (step_n, *steps), copies = strides_of_x(x)
        launch, lanes, room, scratch = cut(pool.get_num_threads(), copies)
        if lanes is not None:
            launch(
                n * lanes.strips, lanes.strips, x, step_n, c, h, w, *steps, top, left,
                lanes.height, width, lanes.down, copies, scratch(), room, found.window_plan,
                plain(weight), length, found.no_bias if bias is None else bias, o,
                *found.window_tiles, lanes.rows, found.row_step, qq, y, index,
            )  # fmt: skip
        else:
            launch(
                n, x, step_n, c, h, w, *steps, top, left, height, width, copies, scratch(), room,
                found.phase, weight, r, s, *(weight_steps or steps_of(weight)), o, found.pitch,
                bias, tiles.addresses(), *pooling, y, index,
            )  # fmt: skip
        return y.transpose(0, 3, 1, 2), index.transpose(0, 3, 1, 2)

    return run


def takes_back(dy, index, x, weight, *, groups, dilation, **settings):
    """Sparse tiles go along the rows of a filter, whose columns therefore lie side by side."""
    return groups == 1 and dilation[1] == 1 and x.scalar_type in (F32, BF16)


@conv2_relu_max_pool2_dweight.kernel(NATIVE, when=takes_back, strided=True, halves=True, made=True)
def conv2_relu_max_pool2_dweight_native(inputs, outputs, **settings):
    """The gradients of weight and bias."""
    run = _back(inputs, settings, False)
    return lambda *operands: run(*operands)[1:]


@conv2_relu_max_pool2_back.kernel(NATIVE, when=takes_back, strided=True, halves=True, made=True)
def conv2_relu_max_pool2_back_native(inputs, outputs, **settings):
    """The gradients of x, weight and bias."""
    return _back(inputs, settings, True)


def _back(inputs, settings, needs_dx):
    """The kernel of both for these outlines; dx is None if it is not needed."""
    dy, index, x, weight = inputs
    (n, c, h, w), shape, o = x.shape, weight.shape, weight.shape[0]
    found = geometry_of(x, weight, settings)
    conv, sparse, back, pixels = found.conv, found.sparse, found.back, prod(found.size)
    scalar, dtype, length = KINDS[x.scalar_type], x.scalar_type.dtype, weight.size // o
    block, parts = sparse.block, max(1, min(n, SHARES))
    room = 2 * (conv.height * conv.width * c + 2 * found.margin) + pixels * (3 * o + 2) + PANEL
    spread_tasks, tasks = shares(o, 4 * prod(back.shape)), shares(o, parts * weight.size)
    high, wide = settings["filter"]
    scatter = loops.scatter_pool.of(T=scalar, WS=wide, LAST=high * wide - 1)
    scatter = scatter.launch(parts, parts, n)
    add_up = loops.sum_shares.of(T=scalar).launch(tasks, tasks, parts, o, length, block)
    spread = loops.spread_weight.of(T=scalar).launch(spread_tasks, spread_tasks, *shape)
    before = conv.top, conv.left, conv.height, conv.width
    reached = pixels, o, found.starts, found.down, found.right, sparse.line, sparse.chunks
    regions = back.bases, -back.down, -back.right, back.pitch, back.regions, len(back.regions)
    spreading = back.shape[1] * back.pitch, *back.inside
    new_sums, new_biases = allocator((parts * o * block,)), allocator((parts * o,))
    new_dweight, new_dbias = allocator(shape, dtype), allocator((o,), dtype)
    new_weights, new_dx = allocator(back.shape), allocator((n, h, w, c), dtype)
    new_scratch, count = allocator((parts * room,)), len(sparse.chunks)
    strides_of_x, weight_steps = image_strides_of(x, conv), known_steps(weight)
    slope, mark = known_steps(dy), known_steps(index)
    last = mark is not None and mark[1] == 1
    _, dy_o, _, dy_pixel = slope or (0, 1, 0, o)

    def run(dy, index, x, weight):
        if not last:
            index = copy(index.transpose(0, 2, 3, 1))
        if slope is None:
            dy = copy(dy.transpose(0, 2, 3, 1))
        (step_n, *steps), copies = strides_of_x(x)
        sums, biases, weights, dx = new_sums(), new_biases(), None, None
        if needs_dx:
            weights, dx = new_weights(), new_dx()
            spread(*(weight_steps or steps_of(weight)), weight, *spreading, weights)
        scatter(
            x, step_n, c, h, w, *steps, *before, copies, new_scratch(), room, found.margin, dy,
            dy_o, dy_pixel, index, *reached, count, block, sums, biases, int(needs_dx), *regions,
            weights, dx,
        )  # fmt: skip
        dweight, dbias = new_dweight(), new_dbias()
        add_up(sparse.positions, sums, biases, dweight, dbias)
        return dx if dx is None else dx.transpose(0, 3, 1, 2), dweight, dbias

    return run


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


def geometry_of(x, weight, settings):
    """The geometry for these outlines."""
    names = "stride", "padding", "dilation", "filter", "pool_stride", "pool_padding"
    return pooled_geometry(x.shape[1:], weight.shape, *[settings[name] for name in names])


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
    columns = -(-o // PANEL) * PANEL * c * filter[2] * filter[3]
    found.room = (p * q + 1) * found.pitch + 2 * PANEL + columns
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
