"""The loops of 2-d convolution and its gradients, over one image after another.

An image is read where it lies if its channels are last and nothing has to be padded; else from a
copy (H', W', C) in scratch. Tiles find the windows through tables of offsets, so that stride,
dilation and odd widths cost nothing.
"""

from ...backends.host.intrinsics import address, array
from ...backends.host.jit import kernel
from ...backends.host.scalars import f32, i64
from ...backends.host.tiles import A1, A2, B1, B2, N1, PANEL, PLAN, multiply_rows

PHASE = PLAN + 4  # a plan, then: first row, rows, offset of its columns, k
FIRST, COUNT, COLUMNS, DEPTH = range(PLAN, PLAN + 4)
# elements of x, or of dy, whose pixels do not drive each other out of the first cache
NEAR = 1 << 12


def copy_image(x, c, h, w, x_c, x_h, x_w, top, left, height, width, out):
    """An image of any strides -> (height, width, c), with zeros around it, or cut where top or left
    are negative."""
    start, stop = max(0, left), max(max(0, left), min(width, w + left))
    for i in range(height):
        there, row = out + i * width * c, i - top
        if (row >= 0) & (row < h):
            here = x + row * x_h
            for j in range(start * c):
                there[j] = 0.0
            if (x_c == 1) & (x_w == c):
                for j in range(start * c, stop * c):
                    there[j] = here[j - left * c]
            else:
                for k in range(c):
                    for j in range(start, stop):
                        there[j * c + k] = here[k * x_c + (j - left) * x_w]
            for j in range(stop * c, width * c):
                there[j] = 0.0
        else:
            for j in range(width * c):
                there[j] = 0.0


@kernel
def convolve(
    task, tasks: int, images: int, x: "T", x_n: int, c: int, h: int, w: int, x_c: int, x_h: int,
    x_w: int,
    top: int, left: int, height: int, width: int, copies: int, scratch: f32,
    phases: i64, phase_count: int, columns: f32, groups: int, c_group: int, o_group: int, bias: int,
    tile: i64,
    y: "U", y_n: int,
):  # fmt: skip
    """y[n] = every phase's windows of x[n] times its columns; a phase is a plan and the pixels of y
    that it serves."""
    room = scratch + task * (height * width * c + PANEL)
    for n in range(task * images // tasks, (task + 1) * images // tasks):
        a = address(x + n * x_n)
        if copies:
            copy_image(x + n * x_n, c, h, w, x_c, x_h, x_w, top, left, height, width, room)
            a = address(room)
        for g in range(groups):
            for p in range(phase_count):
                phase = phases + p * PHASE
                depth = phase[DEPTH]
                panels = (o_group + PANEL - 1) // PANEL
                multiply_rows(
                    tile, phase, a + 4 * g * c_group,
                    address(columns + (phase[COLUMNS] + g * panels * depth * PANEL)),
                    address(y + (n * y_n + g * o_group)), SIZE,
                    bias + 4 * g * o_group if bias != 0 else 0,
                    phase[FIRST], phase[COUNT], o_group, depth,
                )  # fmt: skip


@kernel
def gather_weight(
    task, shares: int, blocks: int, images: int, x: "T", x_n: int, c: int, h: int, w: int, x_c: int,
    x_h: int, x_w: int,
    top: int, left: int, height: int, width: int, copies: int, scratch: f32, room_size: int,
    dy: "T", dy_n: int, dy_c: int, dy_h: int, dy_w: int, p: int, q: int, dy_copies: int,
    plan: i64, rows: int, groups: int, c_group: int, o_group: int, o_room: int, tile: i64,
    sums: f32,
):  # fmt: skip
    """sums[share, g, (r, s, c), o]: what the images of a share add to the gradient of the
    weight."""
    share, block = task // blocks, task % blocks
    room = scratch + task * room_size
    deltas = room + (height * width * c * copies + PANEL)
    first, last = block * rows // blocks, (block + 1) * rows // blocks
    mine = sums + share * groups * rows * o_room
    near = max(32, min(128, NEAR // max(plan[A2], plan[B2])))
    part, lines = array(i64, PLAN), max(1, near // q)
    for i in range(PLAN):
        part[i] = plan[i]
    for g in range(groups):
        for i in range((g * rows + first) * o_room, (g * rows + last) * o_room):
            mine[i] = 0.0
    for n in range(share * images // shares, (share + 1) * images // shares):
        a, b, b_group = address(x + n * x_n), address(dy + n * dy_n), o_group
        if copies:
            copy_image(x + n * x_n, c, h, w, x_c, x_h, x_w, top, left, height, width, room)
            a = address(room)
        if dy_copies:
            copy_deltas(dy + n * dy_n, dy_c, dy_h, dy_w, p, q, groups, o_group, o_room, deltas)
            b, b_group = address(deltas), o_room
        line = 0
        while line < p:  # so many lines of dy as stay in the first cache
            part[N1] = min(lines, p - line)
            for g in range(groups):
                a_part, b_part = (
                    a + 4 * (g * c_group + line * plan[A1]),
                    b + 4 * (g * b_group + line * plan[B1]),
                )
                there, panel = address(mine + g * rows * o_room), 0
                while panel * PANEL < o_group:
                    multiply_rows(
                        tile, part, a_part, b_part + 4 * panel * PANEL, there + 4 * panel * PANEL,
                        4, 0,
                        first, last - first, min(PANEL, o_group - panel * PANEL), 0,
                    )  # fmt: skip
                    panel += 1
            line += lines


def copy_deltas(dy, dy_c, dy_h, dy_w, p, q, groups, o_group, o_room, out):
    """One image of dy -> (p, q, groups, o_room), with zeros beyond the outputs of each group."""
    for i in range(p):
        for j in range(q):
            for g in range(groups):
                here, there = (
                    dy + (i * dy_h + j * dy_w + g * o_group * dy_c),
                    out + ((i * q + j) * groups + g) * o_room,
                )
                for o in range(o_group):
                    there[o] = here[o * dy_c]
                for o in range(o_group, o_room):
                    there[o] = 0.0


@kernel
def sum_weight(
    task,
    tasks: int,
    shares: int,
    groups: int,
    c_group: int,
    o_group: int,
    o_room: int,
    taps: int,
    sums: f32,
    out: "T",
):
    """The sum over shares, in order: [share, g, (tap, c), o] -> (g o, c, tap)."""
    rows = taps * c_group
    for row in range(task * groups * rows // tasks, (task + 1) * groups * rows // tasks):
        g, k = row // rows, row % rows
        tap, c = k // c_group, k % c_group
        for o in range(o_group):
            total = f32(0.0)
            for share in range(shares):
                total += sums[(share * groups * rows + row) * o_room + o]
            out[((g * o_group + o) * c_group + c) * taps + tap] = total
