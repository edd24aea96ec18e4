"""2-d convolution and its gradients by the host engine: any stride, padding, dilation, groups and
filter.
"""

import numpy as np

from ...backends import NATIVE
from ...backends.host import pool, tiles
from ...backends.host.buffers import empty
from ...backends.host.packing import pack
from ...backends.host.product import scalar_of, shares
from ...backends.host.tiles import LANES, PANEL
from . import (
    conv2,
    conv2_dweight,
    conv2_dx,
    native_winograd,  # noqa: F401 - its kernels are asked first
)
from . import native_loops as loops
from .native_geometry import (
    SHARES,
    backward_geometry,
    forward_geometry,
    image_strides,
    plain,
    strides_of,
    takes,
    weight_plan,
)  # fmt: skip


@conv2.kernel(NATIVE, when=takes, strided=True, halves=True)
def conv2_native(x, weight, bias, *, stride, padding, dilation, groups):
    (n, c, h, w), (o, c_group, r, s) = x.shape, weight.shape
    found = forward_geometry((c, h, w), (o, c_group, r, s), stride, padding, dilation, groups)
    p, q = found.size
    y = empty((n, p, q, o), x.dtype)
    columns = pack_forward(weight, groups)
    run_convolve(found, x, columns, groups, c_group, o // groups, bias, y, p * q * o)
    return y.transpose(0, 3, 1, 2)


@conv2_dx.kernel(NATIVE, when=takes, strided=True, halves=True)
def conv2_dx_native(dy, weight, *, size, stride, padding, dilation, groups):
    (n, o, p, q), (_, c_group, r, s) = dy.shape, weight.shape
    h, w = size
    found = backward_geometry(
        (o, p, q), (o, c_group, r, s), size, stride, padding, dilation, groups
    )
    dx = empty((n, h, w, c_group * groups), dy.dtype)
    columns = empty((found.columns,), np.float32)
    o_group = o // groups
    w_o, w_c, w_r, w_s = (step // weight.itemsize for step in weight.strides)
    panels = -(-c_group // PANEL)
    packs = pack.of(T=scalar_of(weight))
    for taps_h, taps_w, step_h, step_w, first_h, first_w, offset in found.parts:
        depth = taps_h * taps_w * o_group
        for g in range(groups):
            part = weight[g * o_group :, :, first_h:, first_w:]
            tasks = shares(panels, depth * c_group)

            packs(
                tasks, tasks, c_group, PANEL, taps_h, taps_w, o_group, step_h * w_r, step_w * w_s,
                w_o, w_c, part, columns[offset + g * panels * depth * PANEL :],
            )  # fmt: skip
    run_convolve(found, dy, columns, groups, o_group, c_group, None, dx, h * w * c_group * groups)
    return dx.transpose(0, 3, 1, 2)


@conv2_dweight.kernel(NATIVE, when=takes, strided=True, halves=True)
def conv2_dweight_native(dy, x, *, filter, stride, padding, dilation, groups):
    (n, o, p, q), (_, c, h, w) = dy.shape, x.shape
    r, s = filter
    o_group, c_group = o // groups, c // groups
    found = forward_geometry((c, h, w), (o, c_group, r, s), stride, padding, dilation, groups)
    dweight = empty((o, c_group, r, s), x.dtype)
    o_room = -(-o_group // LANES) * LANES
    x_strides, copies = image_strides(x, found)
    dy_strides, dy_last = strides_of(dy)
    dy_copies = int(not dy_last or o_group % LANES or dy.itemsize != 4)
    pitch = groups * o_room if dy_copies else o
    plan = weight_plan(found.key, p, q, pitch)[0]
    parts, rows = min(n, SHARES), c_group * r * s
    sums = empty((max(parts, 1) * groups * rows * o_room,), np.float32)
    if parts:
        room = (
            found.height * found.width * c * copies
            + 2 * PANEL
            + p * q * groups * o_room * dy_copies
            + PANEL
        )
        scratch = empty((parts * room,), np.float32)
        loops.gather_weight.of(T=scalar_of(x))(
            parts, parts, 1, n, x, x_strides[0], c, h, w, *x_strides[1:], found.top, found.left,
            found.height, found.width,
            copies, scratch, room, dy, *dy_strides, p, q, dy_copies, plan, rows, groups, c_group,
            o_group, o_room,
            tiles.addresses(), sums,
        )  # fmt: skip
    tasks = shares(groups * rows, parts * dweight.size)
    loops.sum_weight.of(T=scalar_of(x))(
        tasks, tasks, parts, groups, c_group, o_group, o_room, r * s, sums, dweight
    )
    return dweight


# -- What the three share -----------------------------------------------------------------


def run_convolve(found, x, columns, groups, c_group, o_group, bias, y, y_n):
    """Convolve all images, a range of them in a task."""
    n, c, h, w = x.shape
    if bias is not None:
        bias = plain(bias)
    strides, copies = image_strides(x, found)
    tasks = min(n, pool.get_num_threads()) if n * y_n * c_group * found.taps > 1 << 16 else 1
    scratch = (
        empty((tasks * (found.height * found.width * c + PANEL),), np.float32) if copies else None
    )
    scalar = scalar_of(x)
    loops.convolve.of(T=scalar, U=scalar, SIZE=scalar.size)(
        tasks, tasks, n, x, strides[0], c, h, w, *strides[1:], found.top, found.left, found.height,
        found.width, copies,
        scratch, found.phases, found.count, columns, groups, c_group, o_group, bias,
        tiles.addresses(scalar.name), y, y_n,
    )  # fmt: skip


def pack_forward(weight, groups):
    """The weight's columns: [group, panel, (r, s, c), PANEL]."""
    o, c_group, r, s = weight.shape
    o_group, depth = o // groups, c_group * r * s
    panels = -(-o_group // PANEL)
    columns = empty((groups * panels * depth * PANEL,), np.float32)
    tasks = shares(panels, depth * o_group)
    w_o, w_c, w_r, w_s = (step // weight.itemsize for step in weight.strides)
    for g in range(groups):
        pack.of(T=scalar_of(weight))(
            tasks, tasks, o_group, PANEL, r, s, c_group, w_r, w_s, w_c, w_o,
            weight[g * o_group :] if g else weight,
            columns[g * panels * depth * PANEL :] if g else columns,
        )  # fmt: skip
    return columns
