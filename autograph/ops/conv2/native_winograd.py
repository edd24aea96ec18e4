"""Convolution by filters of 3 x 3 and its gradients the way of Winograd: 16 multiplications where
sums of taps are 36, of as good a rounding.

Used where channels are many, so that the products outweigh the transforms. The gradient of x is the
convolution of dy with the filter turned around.
"""

from functools import cache

import numpy as np

from ...backends import NATIVE
from ...backends.host import pool, tiles, winograd_tiles
from ...backends.host.buffers import empty
from ...backends.host.product import scalar_of, shares
from ...backends.host.small_product import steps_of
from ...backends.host.tiles import LANES, PANEL
from ...backends.host.winograd_tiles import PLANES
from . import conv2, conv2_dweight, conv2_dx
from . import winograd_loops as loops
from .native_geometry import (
    SHARES,
    Geometry,
    forward_geometry,
    phase_words,
    plain,
    strides_of,
    takes,
)  # fmt: skip

FEWEST = 32  # channels and outputs
TILES = 12  # of an image: below, its edges cost too much
STRIP = 8 * tiles.ROWS  # tiles at a time, so that their planes stay in the second cache
LONG = 128  # tiles at a time that a weight's gradient sums over


def pays(channels, outputs, size, filter, stride, padding, dilation, groups):
    """Whether a convolution with outputs of this size is computed so."""
    return (
        filter == (3, 3)
        and stride == dilation == (1, 1)
        and groups == 1
        and max(padding) <= 2
        and min(channels, outputs) >= FEWEST
        and channels % LANES == outputs % LANES == 0
        and -(-size[0] // 2) * -(-size[1] // 2) >= TILES
    )


def takes_forward(x, weight, bias, *, stride, padding, dilation, groups):
    (o, c, *filter), (_, _, h, w) = weight.shape, x.shape
    size = h + 2 * padding[0] - 2, w + 2 * padding[1] - 2
    return takes(x, weight, bias) and pays(
        c, o, size, tuple(filter), stride, padding, dilation, groups
    )


def takes_dx(dy, weight, *, size, **settings):
    o, c, *filter = weight.shape
    return takes(dy, weight) and pays(o, c, size, tuple(filter), **settings)


def takes_dweight(dy, x, *, filter, **settings):
    return takes(dy, x) and pays(x.shape[1], dy.shape[1], dy.shape[2:], tuple(filter), **settings)


@conv2.kernel(NATIVE, when=takes_forward, strided=True, halves=True)
def conv2_winograd(x, weight, bias, *, padding, **settings):
    return convolve(x, weight, bias, padding)


@conv2_dx.kernel(NATIVE, when=takes_dx, strided=True, halves=True)
def conv2_dx_winograd(dy, weight, *, size, padding, **settings):
    around = 2 - padding[0], 2 - padding[1]
    return convolve(dy, weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1], None, around)


@conv2_dweight.kernel(NATIVE, when=takes_dweight, strided=True, halves=True)
def conv2_dweight_winograd(dy, x, *, padding, **settings):
    (n, o, p, q), (_, c, h, w), scalar = dy.shape, x.shape, scalar_of(x)
    found = geometry((c, h, w), o, padding)
    dweight, parts = empty((o, c, 3, 3), x.dtype), max(1, min(n, SHARES))
    x_strides, x_last = strides_of(x)
    dy_strides, dy_last = strides_of(dy)
    room = PLANES * (LONG * (c + loops.ODD + found.panels * PANEL) + 2 * loops.ODD + max(c, o))
    room += found.height * found.width * c * (not x_last) + p * q * o * (not dy_last)
    sums, infinite = empty((parts * PLANES * c * o,), np.float32), empty((1,), np.int64)
    tasks = min(parts, pool.get_num_threads())
    images = n, x, x_strides[0], c, h, w, *x_strides[1:], *padding
    slopes = dy, *dy_strides
    loops.gather_weight.of(T=scalar)(
        tasks, tasks, parts, *images, found.height, found.width, int(not x_last), *slopes,
        int(not dy_last), p, q, o, empty((tasks * room,), np.float32), room, found.weight_plan,
        LONG, forms(scalar.name), tiles.addresses(), sums, infinite,
    )  # fmt: skip
    tasks = shares(c, parts * dweight.size)
    loops.sum_weight.of(T=scalar)(
        tasks, tasks, parts, c, o, sums, empty((tasks * (PLANES + 9) * o,), np.float32), dweight,
        infinite,
    )  # fmt: skip
    tasks = pool.get_num_threads()
    loops.weigh_again.of(T=scalar)(
        tasks, tasks, infinite, *images, *slopes, p, q, o, empty((tasks * o,), np.float32), dweight
    )
    return dweight


# -- What they share ------


def convolve(x, weight, bias, padding):
    """The convolution of x with a weight of any strides."""
    (n, c, h, w), o, scalar = x.shape, len(weight), scalar_of(x)
    found = geometry((c, h, w), o, padding)
    p, q = found.size
    y = empty((n, p, q, o), x.dtype)
    strides, last = strides_of(x)
    tasks = min(n, pool.get_num_threads())
    loops.convolve.of(T=scalar, SIZE=scalar.size)(
        tasks, tasks, n, x, strides[0], c, h, w, *strides[1:], *padding, found.height, found.width,
        int(not last), empty((tasks * found.room,), np.float32), found.room, found.plan, STRIP,
        forms(scalar.name), columns_of(weight), found.phase, weight, *steps_of(weight), o,
        None if bias is None else plain(bias), tiles.addresses(), tiles.addresses(scalar.name), p,
        q, y,
    )  # fmt: skip
    return y.transpose(0, 3, 1, 2)


def columns_of(weight):
    """The weight's 16 planes, each in panels of columns."""
    o, c = weight.shape[:2]
    panels = -(-o // PANEL)
    columns, tasks = empty((PLANES * panels * c * PANEL,), np.float32), shares(panels, 64 * o * c)
    loops.transform_weight.of(T=scalar_of(weight))(
        tasks, tasks, o, c, *steps_of(weight), weight, columns
    )
    return columns


@cache
def forms(scalar):
    """Addresses of the transforms from and to a scalar type, then of those of float32."""
    return np.concatenate([winograd_tiles.addresses(each) for each in (scalar, "f32")])


@cache
def geometry(image, o, padding):
    """Plans for images (C, H, W) and filters (O, C, 3, 3)."""
    c = image[0]
    sums = forward_geometry(image, (o, c, 3, 3), (1, 1), padding, (1, 1), 1)
    found = Geometry(*padding, sums.height, sums.width, False)
    found.size, found.phase, found.panels = sums.size, sums.phases[0], -(-o // PANEL)
    loop, each = [1, 0, 0, 1, 0, 0, c, 1, PANEL], np.arange(STRIP, dtype=np.int64)
    found.tables = each * c, each * o, np.arange(c, dtype=np.int64), np.arange(c) * o
    found.plan = phase_words([(loop, *found.tables[:2], 0, 0, 0, 0)])[0]
    loop = [1, 0, 0, 1, 0, 0, 0, c + loops.ODD, PANEL]
    found.weight_plan = phase_words([(loop, *found.tables[2:], 0, 0, 0, 0)])[0]
    found.room = PLANES * (STRIP * (c + o) + 2 * loops.ODD + c) + 4 * o + LANES
    found.room += found.height * found.width * c + 2 * PANEL + found.panels * PANEL * 9 * c
    return found
