"""Adding into a gradient by the host engine."""

from ..backends import NATIVE
from ..backends.host.jit import kernel, launcher
from ..backends.host.product import SHARES, shares
from ..backends.host.scalars import KINDS
from ..outline import CONTIGUOUS
from .elementwise import accumulate


@kernel
def add_into(task, tasks: int, size: int, total: "T", part: "T"):
    """total = total + part."""
    for i in range(task * size // tasks, (task + 1) * size // tasks):
        total[i] = total[i] + part[i]


def takes(total, part):
    """Whether both are of one shape, contiguous, and of a scalar type that the engine knows."""
    plain = total.shape == part.shape and total.layout == CONTIGUOUS
    return plain and total.scalar_type in KINDS


@accumulate.kernel(NATIVE, when=takes, halves=True, made=True)
def accumulate_native(inputs, outputs):
    total = inputs[0]
    launch, address = launcher(), add_into.of(T=KINDS[total.scalar_type]).compile()
    size, tasks = total.size, shares(SHARES, total.size)
    return lambda total, part: launch(address, tasks, tasks, size, total, part)
