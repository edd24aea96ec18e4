"""Casts between float32 and bfloat16 by the host engine."""

from ..backends import NATIVE
from ..backends.host.product import SHARES, convert, filling, shares
from ..backends.host.scalars import KINDS
from ..scalar_type import BF16, F32, ScalarType
from .cast import cast


def takes(x, *, scalar_type):
    return {x.scalar_type, ScalarType(scalar_type)} == {F32, BF16}


@cast.kernel(NATIVE, when=takes, halves=True, made=True)
def cast_native(inputs, outputs, *, scalar_type):
    output, tasks = outputs[0], shares(SHARES, outputs[0].size)
    launch = convert.of(T=KINDS[inputs[0].scalar_type], U=KINDS[output.scalar_type])
    return filling(launch, output, tasks, tasks, output.size)
