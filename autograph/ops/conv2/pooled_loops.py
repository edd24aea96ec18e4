"""The loops of convolution + bias + relu + max pooling as one, and of its gradient.

Forward, an image's convolution stays in scratch and only the largest of each window is written,
with its place in one byte. Backward, at most one position of each window has a gradient: those of
one channel become a list of (value, window of x), which sparse tiles add into the gradients of the
weight and of x, without a gradient of the convolution's output.
"""

from ...backends.host.jit import kernel
from ...backends.host.language import (
    address,
    array,
    as_pointer,
    bits,
    call,
    f32,
    from_bits,
    i32,
    i64,
    pointer,
    u8,
)
from ...backends.host.tiles import _VECTORS, LANES, PANEL, ROWS, multiply_rows
from .native_loops import COUNT, DEPTH, copy_image

LINE = 1024  # pooled pixels of one row, all outputs, that fit the stack
DEAD = 255  # the place in a window that nothing reaches: relu stopped it


@kernel
def convolve_pool(
    task, tasks: int, images: int, x: "T", x_n: int, c: int, h: int, w: int, x_c: int, x_h: int,
    x_w: int,
    top: int, left: int, height: int, width: int, copies: int, scratch: f32, room_size: int,
    phase: i64, columns: f32, o: int, pitch: int, bias: int, tile: i64,
    p: int, q: int, stride_r: int, stride_s: int, pad_r: int, pad_s: int, pp: int, qq: int, y: "T",
    index: u8,
):  # fmt: skip
    """y, index = relu and max_pool of the convolution; windows are WR x WS."""
    room = scratch + task * room_size
    # the bias as long as the rows of room, which then need no partial stores
    start = room + p * q * pitch
    image = start + (pitch + PANEL)
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
            tile,
            phase,
            a,
            address(columns),
            address(room),
            4,
            address(start),
            0,
            phase[COUNT],
            pitch,
            phase[DEPTH],
        )
        end = (n + 1) * pp * qq * o
        for i in range(pp):
            for j in range(qq):
                row, column = i * stride_r - pad_r, j * stride_s - pad_s
                there = ((n * pp + i) * qq + j) * o
                inside = (row >= 0) & (column >= 0) & (row + WR <= p) & (column + WS <= q)
                if inside:
                    here = room + (row * q + column) * pitch
                    k = 0
                    # lanes beyond o are written again by the next pixel
                    while (k < o) & (there + k + LANES <= end):
                        for lane in range(LANES):
                            largest(
                                here,
                                k + lane,
                                0,
                                WR,
                                0,
                                WS,
                                q * pitch,
                                pitch,
                                y,
                                index,
                                there + k + lane,
                            )
                        k += LANES
                    while k < o:
                        largest(here, k, 0, WR, 0, WS, q * pitch, pitch, y, index, there + k)
                        k += 1
                else:
                    first_r, last_r = max(0, -row), min(WR, p - row)
                    first_s, last_s = max(0, -column), min(WS, q - column)
                    here = room + (row * q + column) * pitch
                    for k in range(o):
                        largest(
                            here,
                            k,
                            first_r,
                            last_r,
                            first_s,
                            last_s,
                            q * pitch,
                            pitch,
                            y,
                            index,
                            there + k,
                        )


def largest(here, k, first_r, last_r, first_s, last_s, line, pitch, y, index, there):
    """relu of the largest of a window of channel k, and where it is: the first of equals, NaN
    before all."""
    best, place = here[first_r * line + first_s * pitch + k], i32(first_r * WS + first_s)
    for r in range(first_r, last_r):
        for s in range(first_s, last_s):
            value = here[r * line + s * pitch + k]
            better = (value > best) | ((value != value) & (best == best))
            best = value if better else best
            place = i32(r * WS + s) if better else place
    y[there] = 0.0 if best <= 0.0 else best
    index[there] = DEAD if best <= 0.0 else place


@kernel
def convolve_pool_planes(
    task, tasks: int, images: int, x: "T", x_n: int, c: int, h: int, w: int, x_c: int, x_h: int,
    x_w: int,
    top: int, left: int, height: int, width: int, scratch: f32, room_size: int,
    plan: i64, weight: f32, o: int, plane: int, bias: int, tile: i64,
    p: int, q: int, stride_r: int, pp: int, qq: int, y: "T", index: u8,
):  # fmt: skip
    """The same for few outputs and pooling without padding: vectors hold pixels, and rows are
    outputs."""
    room = scratch + task * room_size
    image = room + o * plane
    best, places, pitch = array(f32, LINE), array(u8, LINE), (qq + LANES - 1) // LANES * LANES
    for i in range(c * height * width, c * height * width + plane):
        image[i] = 0.0  # windows of pixels beyond the last end here
    for n in range(task * images // tasks, (task + 1) * images // tasks):
        for k in range(c):
            copy_image(
                x + (n * x_n + k * x_c), 1, h, w, 1, x_h, x_w, top, left, height, width,
                image + k * height * width
            )  # fmt: skip
        start, pixels = 0, (p - 1) * width + q
        while start < pixels:
            row = 0
            while row < o:
                rows = min(ROWS, o - row)
                added = bias + 4 * row if bias != 0 else 0
                call(
                    tile[_VECTORS * (ROWS + 1) - ROWS - 2 + rows],
                    plan,
                    weight,
                    image + start,
                    room + start,
                    added,
                    PANEL,
                    row,
                )
                row += rows
            start += PANEL
        for i in range(pp):
            there = (n * pp + i) * qq * o
            for k in range(o):
                here, j = room + (k * plane + i * stride_r * width), 0
                while j < qq:  # whole vectors: single lanes would branch on the unforeseeable
                    for lane in range(LANES):
                        largest(
                            here + (j + lane) * STRIDE,
                            0,
                            0,
                            WR,
                            0,
                            WS,
                            width,
                            1,
                            best,
                            places,
                            k * pitch + j + lane,
                        )
                    j += LANES
            for j in range(qq):
                for k in range(OUTPUTS):
                    y[there + j * OUTPUTS + k] = best[k * pitch + j]
                    index[there + j * OUTPUTS + k] = places[k * pitch + j]


@kernel
def scatter_pool(
    task, shares: int, images: int, x: "T", x_n: int, c: int, h: int, w: int, x_c: int, x_h: int,
    x_w: int,
    top: int, left: int, height: int, width: int, copies: int, scratch: f32, room_size: int,
    margin: int,
    dy: "T", index: u8, pixels: int, o: int, starts: i32, down: int, right: int, line: int,
    chunks: i64, chunk_count: int, block: int, sums: f32, biases: f32,
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
        if copies:
            copy_image(x + n * x_n, c, h, w, x_c, x_h, x_w, top, left, height, width, image)
            a = address(image)
        entry_values(entries, dy + n * entries, index + n * entries, values)
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


def entry_values(entries, dy, index, values):
    """dy where relu let something through, else 0."""
    for i in range(entries):
        values[i] = from_bits(i32(0) if index[i] == DEAD else bits(dy[i]))


def entry_places(entries, index, starts, down, right, offsets):
    """An offset for every entry: of its pixel's window, and of its place there."""
    rows, columns = i32(down), i32(right)
    for i in range(entries):
        place = i32(0) if index[i] == DEAD else index[i]
        offsets[i] = starts[i] + place // WS * rows + place % WS * columns


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
