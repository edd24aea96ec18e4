"""The loops of Winograd's way through convolutions of 3 x 3, some tiles of an image at a time.

A tile is a square of 2 x 2 outputs and the 4 x 4 pixels that they see. Tiles that reach over an
image's edge go through a copy with zeros around it. Where an output is not finite, the image is
convolved again as the sum that it is: infinities must come out where they belong, not as NaN.
"""

from ...backends.host.intrinsics import address, array, call
from ...backends.host.jit import kernel
from ...backends.host.packing import pack_panel
from ...backends.host.scalars import f32, i64
from ...backends.host.tiles import ACCUMULATE, FLAGS, LANES, N2, PANEL, PLAN, multiply_rows
from ...backends.host.winograd_tiles import DELTAS, INPUT, OUTPUT, PLANES, SIDE
from .native_loops import copy_image

WIDE = 3  # where the transforms of float32 begin, after those of the scalar type
ODD = 16  # numbers between planes, or the places of one cache set would hold all of them


@kernel
def transform_weight(
    task, tasks: int, o: int, c: int, w_o: int, w_c: int, w_r: int, w_s: int, weight: "T", out: f32
):  # fmt: skip
    """G w G' of a weight of any strides -> [plane, panel, C, PANEL]."""
    panels, g = (o + PANEL - 1) // PANEL, array(f32, PLANES)
    for unit in range(task * panels * c // tasks, (task + 1) * panels * c // tasks):
        panel, k = unit // c, unit % c
        for j in range(PANEL):
            inside = panel * PANEL + j < o
            here = weight + ((panel * PANEL + (j if inside else 0)) * w_o + k * w_c)
            for s in range(3):
                top, middle, bottom = here[s * w_s], here[w_r + s * w_s], here[2 * w_r + s * w_s]
                g[s] = top
                g[3 + s] = 0.5 * (top + middle + bottom)
                g[6 + s] = 0.5 * (top - middle + bottom)
                g[9 + s] = bottom
            for i in range(SIDE):
                left, middle, right = g[3 * i], g[3 * i + 1], g[3 * i + 2]
                there = ((SIDE * i * panels + panel) * c + k) * PANEL + j
                step, kept = panels * c * PANEL, 1.0 if inside else 0.0
                out[there] = kept * left
                out[there + step] = kept * 0.5 * (left + middle + right)
                out[there + 2 * step] = kept * 0.5 * (left - middle + right)
                out[there + 3 * step] = kept * right


@kernel
def convolve(
    task, tasks: int, images: int, x: "T", x_n: int, c: int, h: int, w: int, x_c: int, x_h: int,
    x_w: int, top: int, left: int, height: int, width: int, copies: int, scratch: f32,
    room_size: int, plan: i64, strip: int, forms: i64, columns: f32, phase: i64, weight: "T",
    w_o: int, w_c: int, w_r: int, w_s: int, o: int, bias: int, tile: i64, sum_tile: i64, p: int,
    q: int, y: "T",
):  # fmt: skip
    """y[n] = the convolution of x[n]; `phase` is the plan of the plain sum."""
    room = scratch + task * room_size
    for n in range(task * images // tasks, (task + 1) * images // tasks):
        one_image(
            x + n * x_n, c, h, w, x_c, x_h, x_w, top, left, height, width, copies, room, plan,
            strip, forms, OUTPUT, columns, phase, weight, w_o, w_c, w_r, w_s, o, bias, tile,
            sum_tile, SIZE, p, q, y + n * p * q * o,
        )  # fmt: skip


def one_image(
    x, c, h, w, x_c, x_h, x_w, top, left, height, width, copies, room, plan, strip, forms, end,
    columns, phase, weight, w_o, w_c, w_r, w_s, o, bias, tile, sum_tile, size, p, q, y,
):  # fmt: skip
    """The convolution of an image into y, whose numbers have `size` bytes and the transform
    `forms[end]`."""
    image = room + PLANES * (strip * (c + o) + 2 * ODD + c) + 4 * o + LANES
    if copies:
        copy_image(x, c, h, w, x_c, x_h, x_w, top, left, height, width, image)
        finite = by_tiles(
            image, WIDE + INPUT, forms, end, width * c, height, width, 0, 0, c, o, p, q, plan,
            strip, columns, bias, tile, y, room,
        )  # fmt: skip
    else:
        finite = by_tiles(
            x, INPUT, forms, end, x_h, h, w, top, left, c, o, p, q, plan, strip, columns, bias,
            tile, y, room,
        )  # fmt: skip
    if finite != finite:
        if copies == 0:
            copy_image(x, c, h, w, x_c, x_h, x_w, top, left, height, width, image)
        packed, depth = image + (height * width * c + PANEL), 9 * c
        for panel in range((o + PANEL - 1) // PANEL):
            pack_panel(
                weight + panel * PANEL * w_o, o - panel * PANEL, PANEL, 3, 3, c, w_r, w_s, w_c,
                w_o, packed + panel * depth * PANEL, turns=False,
            )  # fmt: skip
        multiply_rows(
            sum_tile, phase, address(image), address(packed), address(y), size, bias, 0, p * q, o,
            depth,
        )  # fmt: skip


def by_tiles(
    x, form, forms, end, line, h, w, top, left, c, o, p, q, plan, strip, columns, bias, tile, y,
    room,
):  # fmt: skip
    """The convolution of an image of (h, w, c), tile by tile; NaN unless all of it is finite."""
    across, tiles = (q + 1) // 2, (p + 1) // 2 * ((q + 1) // 2)
    plane, sum_plane = strip * c + ODD, strip * o + ODD
    sums = room + PLANES * plane
    patch = sums + PLANES * sum_plane
    corner = patch + PLANES * c
    finite = corner + 4 * o
    for j in range(LANES):
        finite[j] = 0.0
    first = 0
    while first < tiles:
        count = min(strip, tiles - first)
        for t in range(count):
            i, j = (first + t) // across * 2 - top, (first + t) % across * 2 - left
            transform(
                x, form, INPUT, SIDE, forms, i, j, line, h, w, c, patch, room + t * c, plane, 0
            )
        for k in range(PLANES):
            multiply_rows(
                tile, plan, address(room + k * plane),
                address(columns + k * ((o + PANEL - 1) // PANEL * c * PANEL)),
                address(sums + k * sum_plane), 4, 0, 0, count, o, c,
            )  # fmt: skip
        for t in range(count):
            i, j = (first + t) // across * 2, (first + t) % across * 2
            there = y + (i * q + j) * o
            if (i + 2 <= p) & (j + 2 <= q):
                call(forms[end], sums + t * o, sum_plane, there, q * o, o, bias, o // LANES, finite)
            else:  # over the edge
                call(
                    forms[WIDE + OUTPUT], sums + t * o, sum_plane, corner, 2 * o, o, bias,
                    o // LANES, finite,
                )  # fmt: skip
                for r in range(min(2, p - i)):
                    for k in range(min(2, q - j) * o):
                        there[r * q * o + k] = corner[2 * r * o + k]
        first += count
    total = f32(0.0)
    for j in range(LANES):
        total += finite[j]
    return total


def transform(x, form, kind, side, forms, i, j, line, h, w, c, patch, out, plane, panel):
    """The transform of the square at (i, j) of an image of (h, w, c), zero outside."""
    if (i >= 0) & (j >= 0) & (i + side <= h) & (j + side <= w):
        call(forms[form], x + (i * line + j * c), line, c, out, plane, c // LANES, panel, 0)
    else:
        for r in range(side):
            for s in range(side):
                here, there = x + ((i + r) * line + (j + s) * c), patch + (r * side + s) * c
                if (i + r >= 0) & (i + r < h) & (j + s >= 0) & (j + s < w):
                    for k in range(c):
                        there[k] = here[k]
                else:
                    for k in range(c):
                        there[k] = 0.0
        call(forms[WIDE + kind], patch, side * c, c, out, plane, c // LANES, panel, 0)


@kernel
def gather_weight(
    task, tasks: int, shares: int, images: int, x: "T", x_n: int, c: int, h: int, w: int, x_c: int,
    x_h: int, x_w: int, top: int, left: int, height: int, width: int, copies: int, dy: "T",
    dy_n: int, dy_c: int, dy_h: int, dy_w: int, dy_copies: int, p: int, q: int, o: int,
    scratch: f32, room_size: int, plan: i64, strip: int, forms: i64, tile: i64, sums: f32,
    infinite: i64,
):  # fmt: skip
    """sums[share, plane, C, O]: what the tiles of a share of the images add."""
    room, part = scratch + task * room_size, array(i64, PLAN)
    across, tiles = (q + 1) // 2, (p + 1) // 2 * ((q + 1) // 2)
    pitch, panels = c + ODD, (o + PANEL - 1) // PANEL
    plane, slope_plane = strip * pitch + ODD, strip * panels * PANEL + ODD
    slopes = room + PLANES * plane
    patch = slopes + PLANES * slope_plane
    image = patch + PLANES * max(c, o)
    deltas = image + height * width * c * copies
    for i in range(PLAN):
        part[i] = plan[i]
    if task == 0:
        infinite[0] = 0
    for share in range(task * shares // tasks, (task + 1) * shares // tasks):
        first, last = share * images // shares * tiles, (share + 1) * images // shares * tiles
        at, copied = first, 0 - 1
        while at < last:
            count = min(strip, last - at)
            for t in range(count):
                n, turn = (at + t) // tiles, (at + t) % tiles
                i, j = turn // across * 2, turn % across * 2
                here, there = x + n * x_n, dy + n * dy_n
                if copied != n:
                    copied = n
                    if copies:
                        copy_image(here, c, h, w, x_c, x_h, x_w, top, left, height, width, image)
                    if dy_copies:
                        copy_image(there, o, p, q, dy_c, dy_h, dy_w, 0, 0, p, q, deltas)
                to, slope = room + t * pitch, slopes + t * PANEL
                if copies:
                    transform(
                        image, WIDE + INPUT, INPUT, SIDE, forms, i, j, width * c, height, width, c,
                        patch, to, plane, 0,
                    )  # fmt: skip
                else:
                    transform(
                        here, INPUT, INPUT, SIDE, forms, i - top, j - left, x_h, h, w, c, patch, to,
                        plane, 0,
                    )  # fmt: skip
                if dy_copies:
                    transform(
                        deltas, WIDE + DELTAS, DELTAS, 2, forms, i, j, q * o, p, q, o, patch, slope,
                        slope_plane, strip * PANEL,
                    )  # fmt: skip
                else:
                    transform(
                        there, DELTAS, DELTAS, 2, forms, i, j, dy_h, p, q, o, patch, slope,
                        slope_plane, strip * PANEL,
                    )  # fmt: skip
            part[N2] = count
            part[FLAGS] = ACCUMULATE if at > first else 0
            for k in range(PLANES):
                multiply_rows(
                    tile, part, address(room + k * plane), address(slopes + k * slope_plane),
                    address(sums + (share * PLANES + k) * c * o), 4, 0, 0, c, o, strip,
                )  # fmt: skip
            at += count


@kernel
def sum_weight(
    task, tasks: int, shares: int, c: int, o: int, sums: f32, scratch: f32, out: "T", infinite: i64
):  # fmt: skip
    """G' [the sum over shares, in order] G -> (O, C, 3, 3)."""
    total, finite = scratch + task * (PLANES + 9) * o, f32(0.0)
    taps = total + PLANES * o
    for row in range(task * c // tasks, (task + 1) * c // tasks):
        for k in range(PLANES):
            here, there = sums + (k * c + row) * o, total + k * o
            for j in range(o):
                there[j] = here[j]
            for _share in range(1, shares):
                here += PLANES * c * o
                for j in range(o):
                    there[j] += here[j]
        for s in range(SIDE):  # down: planes 0, 4 and 8 take the three rows of the filter
            first, second, third = total + s * o, total + (SIDE + s) * o, total + (8 + s) * o
            last = total + (12 + s) * o
            for j in range(o):
                one, two = second[j], third[j]
                first[j] += 0.5 * (one + two)
                second[j] = 0.5 * (one - two)
                third[j] = 0.5 * (one + two) + last[j]
        for r in range(3):
            here, there = total + SIDE * r * o, taps + 3 * r * o
            for j in range(o):
                one, two = here[o + j], here[2 * o + j]
                there[j] = here[j] + 0.5 * (one + two)
                there[o + j] = 0.5 * (one - two)
                there[2 * o + j] = 0.5 * (one + two) + here[3 * o + j]
        for j in range(o):
            for tap in range(9):
                value = taps[tap * o + j]
                out[(j * c + row) * 9 + tap] = value
                finite += value * 0.0
    if finite != finite:
        infinite[0] = 1


@kernel
def weigh_again(
    task, tasks: int, infinite: i64, images: int, x: "T", x_n: int, c: int, h: int, w: int,
    x_c: int, x_h: int, x_w: int, top: int, left: int, dy: "T", dy_n: int, dy_c: int, dy_h: int,
    dy_w: int, p: int, q: int, o: int, scratch: f32, out: "T",
):  # fmt: skip
    """The gradient as the sum that it is, if any of it was not finite."""
    total = scratch + task * o
    if infinite[0] != 0:
        for row in range(task * c * 9 // tasks, (task + 1) * c * 9 // tasks):
            channel, r, s = row // 9, row % 9 // 3 - top, row % 3 - left
            for j in range(o):
                total[j] = 0.0
            for n in range(images):
                for pixel in range(p * q):  # zeros around x are multiplied as well
                    i, k = pixel // q + r, pixel % q + s
                    inside = (i >= 0) & (k >= 0) & (i < h) & (k < w)
                    place = i * x_h + k * x_w if inside else 0
                    value = x[n * x_n + channel * x_c + place] if inside else 0.0
                    there = dy + (n * dy_n + pixel // q * dy_h + pixel % q * dy_w)
                    for j in range(o):
                        total[j] += value * there[j * dy_c]
            for j in range(o):
                out[(j * c + channel) * 9 + row % 9] = total[j]
