"""Where the windows of a convolution lie, and those of its gradients: what its kernels of the host
engine need to know that depends on shapes alone.

The gradient of x is a convolution as well: the rows of x that lie stride apart meet the same rows
of the filter, so each of the stride x stride phases is a convolution of dy with a part of the
filter, walked backwards.
"""

from functools import cache
from math import gcd

import numpy as np

from ...backends.host.tiles import ACCUMULATE, LANES, PANEL
from ...outline import CHANNELS_LAST, STRIDED
from ...scalar_type import BF16, F32
from ..cast import cast
from ..shape import copy
from .native_loops import PHASE

SHARES = 8  # partial sums of a weight's gradient; fixed, so that results do not depend on threads


def takes(*outlines, **settings):
    """Whether all inputs are of a scalar type that the engine computes with."""
    return all(each is None or each.scalar_type in (F32, BF16) for each in outlines)


def plain(x):
    """The array in f32 and C order, itself if it is so; by ops, which a recording has."""
    x = x if x.dtype == np.float32 else cast(x, scalar_type=F32)
    return x if x.flags.c_contiguous else copy(x)


def strides_of(x):
    """Strides in elements, and whether channels are last in memory."""
    size, (_, c, _, w) = x.itemsize, x.shape
    a, b, d, e = x.strides
    return (a // size, b // size, d // size, e // size), (
        b == size or c == 1
    ) and e == size * c and d == size * c * w


def image_strides(x, found):
    """Strides in elements, and 1 if images have to be copied before windows are read."""
    strides, last = strides_of(x)
    return strides, int(not (last and found.whole and x.itemsize == 4))


def known_steps(x):
    """The strides in elements of arrays (N, C, H, W) of this outline, as far as they count, with 1
    for channels where these are last in memory; None where arrays lie in any way."""
    _, c, h, w = x.shape
    if x.layout == STRIDED:
        return None
    if x.layout == CHANNELS_LAST or c == 1 or h * w == 1:
        return h * w * c, 1, w * c, c
    return c * h * w, h * w, w, 1


def image_strides_of(x, found):
    """The function that answers `image_strides` of arrays of this outline."""
    steps = known_steps(x)
    if steps is None:
        return lambda array: image_strides(array, found)
    known = steps, int(not (steps[1] == 1 and found.whole and x.scalar_type is F32))
    return lambda array: known


class Geometry:
    """What the kernels of a convolution ask."""

    def __init__(self, top, left, height, width, whole):
        self.top, self.left, self.height, self.width, self.whole = top, left, height, width, whole


@cache
def forward_geometry(image, filter, stride, padding, dilation, groups):
    """Windows of x (padded) for every pixel of y."""
    (c, h, w), (o, c_group, r, s) = image, filter
    p, q = (
        (n + 2 * a - d * (f - 1) - 1) // t + 1
        for n, f, t, a, d in zip((h, w), (r, s), stride, padding, dilation, strict=True)
    )
    found = Geometry(*padding, h + 2 * padding[0], w + 2 * padding[1], padding == (0, 0))
    found.key = image, filter, stride, padding, dilation, groups
    found.size, found.taps = (p, q), r * s
    pitch = found.width * c
    found.windows = (
        (stride[0] * pitch * np.arange(p)[:, None] + stride[1] * c * np.arange(q))
        .astype(np.int64)
        .ravel()
    )
    found.outputs = np.arange(p * q, dtype=np.int64) * o
    loop = [
        r, dilation[0] * pitch, s * c_group * PANEL,
        s, dilation[1] * c, c_group * PANEL,
        c_group, 1, PANEL,
    ]  # fmt: skip
    if dilation[1] == 1 and groups == 1:
        loop[3:] = [1, 0, 0, s * c, 1, PANEL]
    found.phases = phase_words([(loop, found.windows, found.outputs, 0, p * q, 0, c_group * r * s)])
    found.count = 1
    return found


@cache
def weight_plan(key, p, q, pitch):
    """The plan of a weight's gradient: rows (r, s, c), and the pixels of y as k."""
    found = forward_geometry(*key)
    (c, _, _), (_, c_group, r, s), stride, _, dilation, groups = key
    line = found.width * c
    rows = (
        dilation[0] * line * np.arange(r)[:, None, None]
        + dilation[1] * c * np.arange(s)[:, None]
        + np.arange(c_group)
    )
    o_room = -(-(key[1][0] // groups) // LANES) * LANES
    outputs = np.arange(r * s * c_group, dtype=np.int64) * o_room
    loop = [1, 0, 0, p, stride[0] * line, q * pitch, q, stride[1] * c, pitch]
    rows = rows.astype(np.int64).ravel()
    return phase_words([(loop, rows, outputs, 0, 0, 0, 0)], ACCUMULATE), rows, outputs


@cache
def backward_geometry(image, filter, size, stride, padding, dilation, groups):
    """Windows of dy (padded) for every pixel of x, phase by phase."""
    (o, p, q), (_, c_group, r, s) = image, filter
    axes = [
        axis_phases(*each)
        for each in zip(size, (p, q), (r, s), stride, padding, dilation, strict=True)
    ]
    (rows, top, bottom), (columns, left, right) = axes
    found = Geometry(
        top, left, p + top + bottom, q + left + right, not (top or left or bottom or right)
    )
    found.taps, pitch, o_group, channels = r * s, found.width * o, o // groups, c_group * groups
    panels = -(-c_group // PANEL)
    found.parts, phases, first, offset, tables = [], [], 0, 0, ([], [])
    for h0, count_h, taps_h, first_h, step_h, from_h, back_h in rows:
        for w0, count_w, taps_w, first_w, step_w, from_w, back_w in columns:
            depth, count = taps_h * taps_w * o_group, count_h * count_w
            down, right = np.arange(count_h)[:, None], np.arange(count_w)
            window = (down + from_h + top) * found.width + right + from_w + left
            pixel = (h0 + stride[0] * down) * size[1] + w0 + stride[1] * right
            tables[0].append(window * o)
            tables[1].append(pixel * channels)
            loop = [
                taps_h, -back_h * pitch, taps_w * o_group * PANEL,
                taps_w, -back_w * o, o_group * PANEL,
                o_group, 1, PANEL,
            ]  # fmt: skip
            phases.append((loop, first, count, offset, depth))
            found.parts.append((taps_h, taps_w, step_h, step_w, first_h, first_w, offset))
            first, offset = first + count, offset + groups * panels * depth * PANEL
    found.windows, found.outputs = (
        np.concatenate([t.ravel() for t in table]).astype(np.int64) for table in tables
    )
    found.phases = phase_words(
        [(loop, found.windows, found.outputs, *rest) for loop, *rest in phases]
    )
    found.count, found.columns = len(phases), max(offset, 1)
    return found


def axis_phases(size, outputs, filter, stride, padding, dilation):
    """Along one axis: (first pixel, pixels, taps, first tap, tap step, window of the first, steps
    back) of each phase,
    and how much dy has to be padded before and after (negative: nothing of it is used there)."""
    common = gcd(stride, dilation)
    phases, low, high = [], 0, outputs - 1
    for start in range(min(stride, size)):
        count = -(-(size - start) // stride)
        taps = [t for t in range(filter) if (start + padding - dilation * t) % stride == 0]
        step, back = stride // common, dilation // common
        begin = (start + padding - dilation * taps[0]) // stride if taps else 0
        if taps:
            low, high = min(low, begin - back * (len(taps) - 1)), max(high, begin + count - 1)
        else:
            high = max(high, count - 1)
        phases.append((start, count, len(taps), taps[0] if taps else 0, step, begin, back))
    return phases, -low, high - (outputs - 1)


def phase_words(phases, flags=0):
    """Plans as words; the arrays of offsets must outlive them."""
    words = np.zeros((len(phases), PHASE), np.int64)
    for row, (loop, windows, outputs, *rest) in zip(words, phases, strict=True):
        row[:] = [*loop, LANES, flags, windows.ctypes.data, outputs.ctypes.data, *rest]
    words.flags.writeable = False
    return words
