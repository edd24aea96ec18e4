"""Arrays that lie in another order, put in the order that their shape says, by the host engine."""

from math import prod

from ..backends import NATIVE
from ..backends.host.buffers import empty
from ..backends.host.jit import kernel
from ..backends.host.lanes import turn
from ..backends.host.product import SHARES, convert, filling, shares
from ..backends.host.scalars import KINDS
from ..backends.host.tiles import LANES
from ..outline import CHANNELS_LAST, CONTIGUOUS, STRIDED
from ..scalar_type import F32
from .shape import copy, reshape

LARGE = 1 << 16  # numbers: below, NumPy copies as fast


@kernel
def in_order(
    task, tasks: int, n0: int, n1: int, n2: int, n3: int, s0: int, s1: int, s2: int, s3: int,
    x: "T", out: "T",
):  # fmt: skip
    """Four axes of any strides -> C order."""
    rows = n0 * n1 * n2
    for row in range(task * rows // tasks, (task + 1) * rows // tasks):
        here = x + (row // (n1 * n2) * s0 + row // n2 % n1 * s1 + row % n2 * s2)
        there = out + row * n3
        if s3 == 1:
            for i in range(n3):
                there[i] = here[i]
        else:
            for i in range(n3):
                there[i] = here[i * s3]


@kernel
def channels_first(task, tasks: int, n: int, pixels: int, c: int, x: "T", out: "T"):
    """(N, pixels, C) -> (N, C, pixels), by squares of as many of both as lanes."""
    for image in range(task * n // tasks, (task + 1) * n // tasks):
        here, there = x + image * pixels * c, out + image * pixels * c
        i = 0
        while i < pixels:
            first, k = min(i, pixels - LANES), 0
            while k < c:
                start = min(k, c - LANES)
                turn(here + (first * c + start), c, there + (start * pixels + first), pixels)
                k += LANES
            i += LANES


def takes(x, **settings):
    """Whether the order in memory changes."""
    return x.layout == CHANNELS_LAST and x.scalar_type in KINDS


def make(inputs, outputs, **settings):
    """The kernel of both ops for these outlines: (N, H * W, C) -> (N, C, H * W)."""
    x, (n, c, h, w) = inputs[0], inputs[0].shape
    launch, tasks = in_order.of(T=KINDS[x.scalar_type]), shares(n, x.size)
    if min(c, h * w) >= LANES and x.scalar_type is F32:
        launch = channels_first.of(T=KINDS[x.scalar_type])
        return filling(launch, outputs[0], tasks, tasks, n, h * w, c)
    words = tasks, tasks, 1, n, c, h * w, 0, c * h * w, 1, c
    return filling(launch, outputs[0], *words)


for _op in (reshape, copy):
    _op.kernel(NATIVE, when=takes, strided=CHANNELS_LAST, halves=True, made=True)(make)


@copy.kernel(
    NATIVE, strided=True, halves=True, made=True,
    when=lambda x: x.scalar_type in KINDS and x.ndim <= 4 and x.layout == STRIDED,
)  # fmt: skip
def copy_native(inputs, outputs):
    x, shape, dtype = inputs[0], outputs[0].shape, inputs[0].scalar_type.dtype
    sizes = (*[1] * (4 - x.ndim), *shape)
    launch, tasks = in_order.of(T=KINDS[x.scalar_type]), shares(prod(sizes[:3]), x.size)

    def run(x):
        y = empty(shape, dtype)
        steps = [step // x.itemsize for step in x.strides]
        launch(tasks, tasks, *sizes, *[0] * (4 - len(steps)), *steps, x, y)
        return y

    return run


@copy.kernel(
    NATIVE, halves=True, made=True,
    when=lambda x: x.scalar_type in KINDS and x.layout == CONTIGUOUS and x.size >= LARGE,
)  # fmt: skip
def copy_whole(inputs, outputs):
    x, scalar = inputs[0], KINDS[inputs[0].scalar_type]
    tasks = shares(SHARES, x.size)
    return filling(convert.of(T=scalar, U=scalar), outputs[0], tasks, tasks, x.size)
