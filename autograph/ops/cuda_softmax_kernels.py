"""Softmax, its logarithm, and their gradients along the last axis on a CUDA device."""

from pathlib import Path

from cupy import empty

from ..backends import CUDA
from ..backends.cuda.compile import c_type
from ..backends.cuda.launch import Kernel, aligned, divide_up, number
from ..backends.cuda.rows import row_constants
from .softmax import log_softmax, log_softmax_dx, softmax, softmax_dx

_SOURCE = Path(__file__).with_name("softmax.cu")


def _takes(x, *rest, axis):
    """Whether rows lie side by side and fit into registers."""
    fits = x.scalar_type.is_float and x.ndim > 0 and axis in (-1, x.ndim - 1) and x.size > 0
    return fits and row_constants(x.shape[-1], x.scalar_type.dtype) is not None


def _made(op, name, is_log):
    @op.kernel(CUDA, when=_takes, made=True)
    def made(inputs, outputs, *, axis):
        x, shape, dtype = inputs[0], inputs[0].shape, inputs[0].scalar_type.dtype
        constants = row_constants(shape[-1], dtype) or {}  # there are some, or it is not taken
        kernel = Kernel(_SOURCE, name, {"Scalar": c_type(dtype), "is_log": is_log, **constants})
        rows = x.size // shape[-1]
        blocks, count = divide_up(rows, 256 // constants["lanes"]), number(rows)

        def run(*given):
            y = empty(shape, dtype)
            kernel(blocks, *map(aligned, given), y, count)
            return y

        return run

    made.__name__ = f"{op.name}_cuda"
    return made


KERNELS = {
    op.name: _made(op, name, is_log)
    for op, name, is_log in (
        (softmax, "softmax", False),
        (log_softmax, "softmax", True),
        (softmax_dx, "softmax_dx", False),
        (log_softmax_dx, "softmax_dx", True),
    )
}
