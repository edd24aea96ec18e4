"""Images whose channels are last in memory, put in the order that their shape says, by the host
engine."""

from ..backends import NATIVE
from ..backends.host.buffers import empty
from ..backends.host.jit import kernel
from ..backends.host.product import shares
from ..backends.host.scalars import bf16, f32
from ..outline import CHANNELS_LAST
from ..scalar_type import BF16, F32
from .shape import copy, reshape

KINDS = {F32: f32, BF16: bf16}


@kernel
def channels_first(task, tasks: int, images: int, c: int, pixels: int, x: "T", out: "T"):
    """(N, H * W, C) -> (N, C, H * W)."""
    size = c * pixels
    for n in range(task * images // tasks, (task + 1) * images // tasks):
        here, there = x + n * size, out + n * size
        for k in range(c):
            for i in range(pixels):
                there[k * pixels + i] = here[i * c + k]


def takes(x, **settings):
    """Whether the order in memory changes."""
    return x.layout == CHANNELS_LAST and x.scalar_type in KINDS


def make(inputs, outputs, **settings):
    """The kernel of both ops for these outlines."""
    (n, c, h, w), shape, dtype = inputs[0].shape, outputs[0].shape, inputs[0].scalar_type.dtype
    launch, tasks = channels_first.of(T=KINDS[inputs[0].scalar_type]), shares(n, inputs[0].size)

    def run(x):
        y = empty(shape, dtype)
        launch(tasks, tasks, n, c, h * w, x, y)
        return y

    return run


for _op in (reshape, copy):
    _op.kernel(NATIVE, when=takes, strided=CHANNELS_LAST, halves=True, made=True)(make)
