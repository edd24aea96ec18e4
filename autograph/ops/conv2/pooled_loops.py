"""The loops of convolution + bias + relu + max pooling as one, and of its gradient.

Forward, an image's convolution stays in scratch and only the largest of each window is written,
with its place in one byte. Backward, at most one position of each window has a gradient: those of
one channel become a list of (value, window of x), which sparse tiles add into the gradients of the
weight and of x, without a gradient of the convolution's output.
"""

from ...backends.host.intrinsics import (
    address,
    array,
    as_pointer,
    bits,
    call,
    from_bits,
    pointer,
)  # fmt: skip
from ...backends.host.jit import kernel
from ...backends.host.lanes import bytes_from_lanes, from_lanes, to_lanes
from ...backends.host.packing import pack_panel
from ...backends.host.scalars import f32, i32, i64, u8
from ...backends.host.tiles import LANES, PANEL, multiply_rows
from .native_loops import COUNT, DEPTH, copy_image
from .pooling_loops import pool_image


@kernel
def convolve_pool(
    task, tasks: int, images: int, x: "T", x_n: int, c: int, h: int, w: int, x_c: int, x_h: int,
    x_w: int,
    top: int, left: int, height: int, width: int, copies: int, scratch: f32, room_size: int,
    phase: i64, weight: "T", r: int, s: int, w_o: int, w_c: int, w_r: int, w_s: int, o: int,
    pitch: int, bias: int, tile: i64, p: int, q: int, stride_r: int, stride_s: int, pad_r: int,
    pad_s: int, pp: int, qq: int, y: "T", index: u8,
):  # fmt: skip
    """y, index = relu and max_pool of the convolution; windows are WR x WS."""
    room = scratch + task * room_size
    # the bias as long as the rows of room, which then need no partial stores
    start, depth = room + p * q * pitch, phase[DEPTH]
    columns = start + (pitch + PANEL)
    image = columns + (o + PANEL - 1) // PANEL * depth * PANEL
    panel = 0
    while panel * PANEL < o:
        pack_panel(
            weight + panel * PANEL * w_o, o - panel * PANEL, PANEL, r, s, c, w_r, w_s, w_c, w_o,
            columns + panel * depth * PANEL, turns=False,
        )  # fmt: skip
        panel += 1
    for k in range(pitch):
        start[k] = 0.0
    if bias != 0:
        for k in range(o):
            start[k] = pointer(f32, bias)[k]
    for n in range(task * images // tasks, (task + 1) * images // tasks):
        a = address(x + n * x_n)
        if copies:
            copy_image(x + n * x_n, c, h, w, x_c, x_h, x_w, top, left, height, width, image)
            a = address(image)
        multiply_rows(
            tile, phase, a, address(columns), address(room), 4, address(start), 0, phase[COUNT],
            pitch, depth,
        )  # fmt: skip
        pool_image(
            room, pitch, p, q, o, stride_r, stride_s, pad_r, pad_s, pp, qq, (n + 1) * pp * qq * o,
            n * pp * qq * o, y, index,
        )  # fmt: skip


@kernel
def convolve_pool_lanes(
    task, tasks: int, units: int, strips: int, x: "T", x_n: int, c: int, h: int, w: int, x_c: int,
    x_h: int, x_w: int, top: int, left: int, height: int, width: int, down: int, copies: int,
    scratch: f32, room_size: int, plan: i64, weight: f32, length: int, bias: f32, o: int,
    tile: i64, most: int, rows: int, row_step: int, qq: int, y: "T", index: u8,
):  # fmt: skip
    """The same for few outputs: a lane of vectors is a strip of an image, `rows` of y high."""
    size, count = height * width * c, rows * qq * o
    image = scratch + task * room_size
    values = image + size * LANES
    index_values = values + count * LANES
    copied = index_values + count * LANES
    places = as_pointer(i32, index_values)
    sources, targets = array(i64, LANES), array(i64, LANES)
    groups = (units + LANES - 1) // LANES
    for group in range(task * groups // tasks, (task + 1) * groups // tasks):
        for lane in range(LANES):
            unit = min(group * LANES + lane, units - 1)
            n, first = unit // strips, unit % strips * down
            sources[lane] = address(x + n * x_n + first * width * c)
            if copies:
                here = copied + lane * size
                copy_image(
                    x + n * x_n, c, h, w, x_c, x_h, x_w, top - first, left, height, width, here
                )
                sources[lane] = address(here)
            targets[lane] = address(index + unit * count)
        at = 0
        while at < size:
            start = min(at, size - LANES)
            to_lanes(sources, start, image + start * LANES)
            at += LANES
        for i in range(rows):
            k = 0
            while k < o:
                outputs, there = min(most, o - k), (i * qq * o + k) * LANES
                call(
                    tile[outputs - 1], plan, image + i * row_step, weight + k * length, bias + k,
                    values + there, index_values + there, qq,
                )  # fmt: skip
                k += outputs
        at = 0
        while at < count:
            start = min(at, count - 4 * LANES)
            bytes_from_lanes(places, targets, start)
            at += 4 * LANES
        for lane in range(LANES):
            unit = min(group * LANES + lane, units - 1)
            targets[lane] = address(copied + lane * count if WIDE else y + unit * count)
        at = 0
        while at < count:
            start = min(at, count - LANES)
            from_lanes(values, targets, start)
            at += LANES
        if WIDE:
            for lane in range(LANES):
                unit = min(group * LANES + lane, units - 1)
                for i in range(count):
                    y[unit * count + i] = copied[lane * count + i]


@kernel
def scatter_pool(
    task, shares: int, images: int, x: "T", x_n: int, c: int, h: int, w: int, x_c: int, x_h: int,
    x_w: int,
    top: int, left: int, height: int, width: int, copies: int, scratch: f32, room_size: int,
    margin: int,
    dy: "T", dy_o: int, dy_pixel: int, index: u8, pixels: int, o: int, starts: i32, down: int,
    right: int, line: int, chunks: i64, chunk_count: int, block: int, sums: f32, biases: f32,
    has_dx: int, bases: i32, back_down: int, back_right: int, pitch: int, regions: i64,
    region_count: int, weights: f32,
    dx: "T",
):  # fmt: skip
    """What a share of the images adds to the gradients of weight and bias, and the gradient of x.

    Entry (pixel, channel) has a value, the window of x that it came from, and where the filter
    lies in the region of x that all places of the pixel's window reach. For the weight, sparse
    tiles go through the entries of a channel; for x, through those of a pixel.
    """
    size, entries = height * width * c + 2 * margin, pixels * o
    image = scratch + task * room_size
    deltas, values = image + size + margin, image + 2 * size
    kept = values + entries
    offsets = as_pointer(i32, kept + pixels)
    kept_offsets, behind = offsets + entries, offsets + entries + pixels
    mine, bias = sums + task * o * block, biases + task * o
    for i in range(o * block):
        mine[i] = 0.0
    for k in range(o):
        bias[k] = 0.0
    for n in range(task * images // shares, (task + 1) * images // shares):
        a = address(x + n * x_n)
        if (copies != 0) | (n == images - 1):  # vectors read past the end of the last image
            copy_image(x + n * x_n, c, h, w, x_c, x_h, x_w, top, left, height, width, image)
            a = address(image)
        entry_values(pixels, o, dy + n * entries, dy_o, dy_pixel, index + n * entries, values)
        entry_places(entries, index + n * entries, starts, down, right, offsets)
        for k in range(o):
            # so little work for an entry that leaving out dead ones does not pay
            if block <= 8 * LANES:
                even, odd = f32(0.0), f32(0.0)
                for i in range(0, pixels - 1, 2):
                    even += values[i * o + k]
                    odd += values[(i + 1) * o + k]
                bias[k] += (
                    even + odd + (values[(pixels - 1) * o + k] if pixels % 2 == 1 else f32(0.0))
                )
                for chunk in range(chunk_count):
                    # the tile, where in x, where in a block, its row there
                    words = chunks + chunk * 4
                    call(
                        words[0], pixels, values + k, offsets + k, o, a + 4 * words[1], line,
                        mine + (k * block + words[2]), words[3],
                    )  # fmt: skip
            else:
                count, even, odd = i32(0), f32(0.0), f32(0.0)
                for i in range(pixels):
                    value = values[i * o + k]
                    kept[count] = value
                    kept_offsets[count] = offsets[i * o + k]
                    count += i32(value != 0.0)
                for i in range(0, count - 1, 2):
                    even += kept[i]
                    odd += kept[i + 1]
                bias[k] += even + odd
                if count % 2 == 1:
                    bias[k] += kept[count - 1]
                for chunk in range(chunk_count):
                    words = chunks + chunk * 4
                    call(
                        words[0], count, kept, kept_offsets, 1, a + 4 * words[1], line,
                        mine + (k * block + words[2]), words[3],
                    )  # fmt: skip
        if has_dx:
            for i in range(0 - margin, size - margin):
                deltas[i] = 0.0
            entry_places(entries, index + n * entries, bases, back_down, back_right, behind)
            for i in range(pixels):
                for region in range(region_count):
                    words = regions + region * 3  # the tile, where in the weights, where in x
                    call(
                        words[0], o, values + i * o, behind + i * o, 1, weights + words[1], pitch,
                        deltas + (starts[i * o] + words[2]), width * c,
                    )  # fmt: skip
            result = dx + n * h * w * c
            for i in range(h):
                for j in range(w * c):
                    result[i * w * c + j] = deltas[((i + top) * width + left) * c + j]


def entry_values(pixels, o, dy, dy_o, dy_pixel, index, values):
    """dy where relu let something through, else 0: (pixel, output). Dead is what lies beyond
    the LAST place of a window: where relu stopped it, or the index is wrong."""
    if dy_o == 1:
        for i in range(pixels * o):
            values[i] = from_bits(i32(0) if index[i] > LAST else bits(dy[i]))
    else:
        for i in range(pixels):
            for k in range(o):
                value = dy[i * dy_pixel + k * dy_o]
                values[i * o + k] = from_bits(i32(0) if index[i * o + k] > LAST else bits(value))


def entry_places(entries, index, starts, down, right, offsets):
    """An offset for every entry: of its pixel's window, and of its place there. A dead one, whose
    value is 0, reads the first place, where a window that begins in padding has no values."""
    rows, columns = i32(down), i32(right)
    for i in range(entries):
        place = i32(0) if index[i] > LAST else index[i]
        offset = starts[i] + place // WS * rows + place % WS * columns
        offsets[i] = i32(0) if index[i] > LAST else offset


@kernel
def spread_weight(
    task, tasks: int, o: int, c: int, r: int, s: int, w_o: int, w_c: int, w_r: int, w_s: int,
    weight: "T", size: int, first: int, down: int, right: int, out: f32,
):  # fmt: skip
    """The weight (O, C, R, S) -> (O, rows, S * C), with zeros around and between taps."""
    for k in range(task * o // tasks, (task + 1) * o // tasks):
        there = out + k * size
        for i in range(size):
            there[i] = 0.0
        for i in range(r):
            for j in range(s):
                for channel in range(c):
                    place = first + i * down + j * right + channel
                    there[place] = weight[k * w_o + channel * w_c + i * w_r + j * w_s]


@kernel
def sum_shares(
    task, tasks: int, shares: int, o: int, length: int, block: int, positions: i32, sums: f32,
    biases: f32,
    dweight: "T", dbias: "T",
):  # fmt: skip
    """The gradients of weight and bias from those of the shares, added in order."""
    for k in range(task * o // tasks, (task + 1) * o // tasks):
        for i in range(length):
            total = f32(0.0)
            for share in range(shares):
                total += sums[(share * o + k) * block + positions[i]]
            dweight[k * length + i] = total
        bias = f32(0.0)
        for share in range(shares):
            bias += biases[share * o + k]
        dbias[k] = bias
