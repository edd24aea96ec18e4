"""Convolution + bias + relu + max pooling as one op of the host engine, and its gradient."""

from functools import cache

import numpy as np

from ...backends import NATIVE
from ...backends.host import pool, tiles
from ...backends.host.buffers import empty
from ...backends.host.product import scalar_of, shares
from ...backends.host.tiles import LANES, PANEL, ROWS
from ...scalar_type import BF16, F32
from . import pooled_loops as loops
from .native_kernels import SHARES, forward_geometry, image_strides, pack_forward, phase_words
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
    if found.planes is not None:
        weight = np.ascontiguousarray(weight, np.float32)
        plane = found.plane
        room = o * plane + c * conv.height * conv.width + 2 * plane + PANEL
        constants = {"WR": filter[0], "WS": filter[1], "STRIDE": pool_stride[1], "OUTPUTS": o}
        loops.convolve_pool_planes.of(T=scalar_of(x), **constants)(
            tasks, tasks, n, x, strides[0], c, h, w, *strides[1:], conv.top, conv.left, conv.height,
            conv.width,
            empty((tasks * room,), np.float32), room, found.planes[0], weight, o, plane, bias,
            tiles.addresses(),
            p, q, pool_stride[0], pp, qq, y, index,
        )  # fmt: skip
        return y.transpose(0, 3, 1, 2), index.transpose(0, 3, 1, 2)
    room = (p * q + 1) * found.pitch + 2 * PANEL + conv.height * conv.width * c * copies
    scalar = scalar_of(x)
    loops.convolve_pool.of(T=scalar, WR=filter[0], WS=filter[1])(
        tasks, tasks, n, x, strides[0], c, h, w, *strides[1:], conv.top, conv.left, conv.height,
        conv.width, copies,
        empty((tasks * room,), np.float32), room, found.phase, pack_forward(weight, 1), o,
        found.pitch, bias,
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
    dy, index = (np.ascontiguousarray(each.transpose(0, 2, 3, 1)) for each in (dy, index))
    strides, copies = image_strides(x, conv)
    scalar, length, block = scalar_of(x), weight[0].size, sparse.block
    parts = max(1, min(n, SHARES))
    sums, biases = empty((parts * o * block,), np.float32), empty((parts * o,), np.float32)
    back = found.back
    weights = dx = None
    if needs_dx:
        weights, dx = spread_weight(weight, back), empty((n, h, w, c), x.dtype)
    room = 2 * (conv.height * conv.width * c + 2 * found.margin) + pp * qq * (3 * o + 2) + PANEL
    loops.scatter_pool.of(T=scalar, WS=filter[1])(
        parts, parts, n, x, strides[0], c, h, w, *strides[1:], conv.top, conv.left, conv.height,
        conv.width, copies,
        empty((parts * room,), np.float32), room, found.margin, dy, index, pp * qq, o, found.starts,
        found.down, found.right,
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
    found.plane = (
        (-(-((p - 1) * conv.width + q) // PANEL) + 1) * PANEL
        + (conv.height - p) * conv.width
        + conv.width
    )
    few = (
        o < LANES
        and stride == (1, 1)
        and pool_padding == (0, 0)
        and o * (found.size[1] + LANES) <= loops.LINE
    )
    found.planes = plane_plan(filter, dilation, conv, found.plane) if few else None
    return found


def plane_plan(filter, dilation, conv, plane):
    """The plan whose rows are outputs and whose vectors are pixels side by side."""
    o, c, r, s = filter
    rows, outputs = (np.arange(o, dtype=np.int64) * step for step in (c * r * s, plane))
    loop = [c, r * s, conv.height * conv.width, r, s, dilation[0] * conv.width, s, 1, dilation[1]]
    return phase_words([(loop, rows, outputs, 0, 0, 0, 0)], tiles.ROW_BIAS)[0], rows, outputs


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
            tile = tiles.sparse_address(rows, vectors)
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
    found.inside = (slice(above, found.high, dilation[0]), before * c, s, c, dilation[1])
    found.down, found.right = stride[0] * found.pitch, stride[1] * c
    bases = np.arange(o) * found.shape[1] * found.pitch + above * found.pitch + before * c
    found.bases = np.tile(bases.astype(np.int32), pixels)
    wide = min(vectors, 6)
    high = max(1, 2 * ROWS // wide)
    regions = []
    for row in range(0, found.high, high):
        for vector in range(0, vectors, wide):
            tile = tiles.sparse_address(min(high, found.high - row), min(wide, vectors - vector))
            regions.append((tile, row * found.pitch + vector * LANES, row * line + vector * LANES))
    found.regions = np.array(regions, np.int64)
    return found


def spread_weight(weight, back):
    """The weight (O, C, R, S) -> (O, rows, S * C) with zeros around and between."""
    rows, start, s, c, step = back.inside
    spread = np.zeros(back.shape, np.float32)
    taps = spread[:, rows, start : start + ((s - 1) * step + 1) * c]
    taps.reshape(*taps.shape[:2], -1, c)[:, :, ::step] = weight.transpose(0, 2, 3, 1)
    return spread
