"""Casts between float32 and bfloat16 by the host engine."""

from ..backends import NATIVE
from ..backends.host.buffers import empty
from ..backends.host.product import SHARES, convert, shares
from ..backends.host.scalars import KINDS
from ..scalar_type import BF16, F32, ScalarType
from .cast import cast


def takes(x, *, scalar_type):
    return {x.scalar_type, ScalarType(scalar_type)} == {F32, BF16}


@cast.kernel(NATIVE, when=takes, halves=True, made=True)
def cast_native(inputs, outputs, *, scalar_type):
    x, output = inputs[0], outputs[0]
    shape, size, dtype = output.shape, output.size, output.scalar_type.dtype
    launch = convert.of(T=KINDS[x.scalar_type], U=KINDS[output.scalar_type])
    tasks = shares(SHARES, size)

    def run(x):
        y = empty(shape, dtype)
        launch(tasks, tasks, size, x, y)
        return y

    return run
