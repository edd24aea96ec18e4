"""Sums, means and extremes by the host engine, over axes that lie side by side."""

from math import prod

from ...backends import NATIVE
from ...backends.host.buffers import empty
from ...backends.host.product import filling, shares
from ...backends.host.rows import add_up, extreme_rows
from ...backends.host.scalars import KINDS
from ..axes import axes_of
from ..broadcast import stretched, sum_to
from . import max, mean, min, sum


def around(shape, axes):
    """How many numbers there are before the axes, in them, and behind; None if they lie apart."""
    axes = sorted(axes)
    if not axes or axes != list(range(axes[0], axes[-1] + 1)) or prod(shape) == 0:
        return None
    return prod(shape[: axes[0]]), prod(shape[axes[0] : axes[-1] + 1]), prod(shape[axes[-1] + 1 :])


def takes(x, *, axis, keepdims):
    axes = axes_of("reduce", x.ndim, axis) if x.ndim else ()
    return x.scalar_type in KINDS and around(x.shape, axes) is not None


def takes_rows(x, *, axis, keepdims):
    return takes(x, axis=axis, keepdims=keepdims) and (
        around(x.shape, axes_of("reduce", x.ndim, axis))[2] == 1
    )


def _summed(x, output, axes, is_mean):
    """The kernel of a sum over axes."""
    scalar, parts, shape = KINDS[x.scalar_type], around(x.shape, axes), output.shape
    dtype, count = x.scalar_type.dtype, parts[1] if is_mean else 1

    def run(x):
        out = empty(shape, dtype)
        add_up(x, scalar, parts, count, out)
        return out

    return run


@sum.kernel(NATIVE, when=takes, halves=True, made=True)
def sum_native(inputs, outputs, *, axis, keepdims):
    return _summed(inputs[0], outputs[0], axes_of("sum", inputs[0].ndim, axis), False)


@mean.kernel(NATIVE, when=takes, halves=True, made=True)
def mean_native(inputs, outputs, *, axis, keepdims):
    return _summed(inputs[0], outputs[0], axes_of("mean", inputs[0].ndim, axis), True)


@sum_to.kernel(
    NATIVE, halves=True, made=True,
    when=lambda x, *, shape: x.scalar_type in KINDS and around(x.shape, stretched(x.shape, shape)),
)  # fmt: skip
def sum_to_native(inputs, outputs, *, shape):
    return _summed(inputs[0], outputs[0], stretched(inputs[0].shape, shape), False)


def _extreme(largest):
    def make(inputs, outputs, *, axis, keepdims):
        x = inputs[0]
        rows, length, _ = around(x.shape, axes_of("max", x.ndim, axis))
        launch = extreme_rows.of(T=KINDS[x.scalar_type], LARGEST=largest)
        tasks = shares(rows, x.size)
        return filling(launch, outputs[0], tasks, tasks, rows, length)

    return make


for _op, _largest in ((max, True), (min, False)):
    _op.kernel(NATIVE, when=takes_rows, halves=True, made=True)(_extreme(_largest))
