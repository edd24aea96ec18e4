"""Pointwise ops: arithmetic, comparison, and the functions of one variable."""

from __future__ import annotations

import numpy as np

from ..backends import CUPY, NUMPY
from ..op import Op
from .pointwise import pointwise


def _positive(count, low=0.2, high=3.0):
    def samples(rng):
        for shapes in (((3, 4), (3, 4)), ((2, 3), (3,)), ((), ()), ((0, 2), (2,))):
            yield tuple(rng.uniform(low, high, size=shape) for shape in shapes[:count]), {}

    return samples


def _apart(rng):
    """Operands that are never close to each other, where the op has a kink at a tie."""
    a = rng.normal(size=(3, 4))
    yield (a, a + np.sign(rng.normal(size=(3, 4))) * rng.uniform(0.1, 1.0, size=(3, 4))), {}
    yield (np.zeros((2, 3)), rng.uniform(0.5, 1.0, size=(3,))), {}


# -- Arithmetic ----------------------------------------------------------------------

add = pointwise("add", "a b", "a + b")
subtract = pointwise("subtract", "a b", "a - b", db="-dy")
multiply = pointwise("multiply", "a b", "a * b")
divide = pointwise(
    "divide", "a b", "a / b", floats=True, da="dy / b", db="-dy * y / b", samples=_positive(2)
)
power = pointwise("power", "a b", "a ** b", samples=_positive(2))
negative = pointwise("negative", "x", "-x", dx="-dy")
maximum = pointwise("maximum", "a b", "maximum(a, b)", samples=_apart)
minimum = pointwise("minimum", "a b", "minimum(a, b)", samples=_apart)


def _where_samples(rng):
    chosen = rng.normal(size=(3, 4)) > 0
    yield (chosen, rng.normal(size=(3, 4)), rng.normal(size=(4,))), {}
    yield (chosen[0], rng.normal(size=()), rng.normal(size=(2, 4))), {}


where = pointwise(
    "where",
    "condition a b",
    "where(condition, a, b)",
    promotes="a b",
    da="where(condition, dy, 0)",
    db="where(condition, 0, dy)",
    samples=_where_samples,
)

accumulate = Op("accumulate", "total part", writes="total", outputs="")


@accumulate.outlined_by
def accumulate_outline(total, part):
    """total = total + part, in place: how a walk gathers gradients."""
    return ()


@accumulate.kernel(NUMPY, CUPY, halves=True)
def accumulate_arrays(total, part):
    if total.dtype.kind == "V":  # bf16 is summed in f32
        total[...] = total.astype(np.float32) + part.astype(np.float32)
    else:
        total += part


@accumulate.sampled_by
def accumulate_samples(rng):
    yield (rng.normal(size=(3, 4)), rng.normal(size=(3, 4))), {}


# -- Comparison ----------------------------------------------------------------------

equal = pointwise("equal", "a b", "a == b", boolean=True)
not_equal = pointwise("not_equal", "a b", "a != b", boolean=True)
less = pointwise("less", "a b", "a < b", boolean=True)
less_equal = pointwise("less_equal", "a b", "a <= b", boolean=True)
greater = pointwise("greater", "a b", "a > b", boolean=True)
greater_equal = pointwise("greater_equal", "a b", "a >= b", boolean=True)

# -- Functions of one variable -------------------------------------------------------

abs = pointwise("abs", "x", "abs(x)", dx="dy * sign(x)")
exp = pointwise("exp", "x", "exp(x)", floats=True)
log = pointwise("log", "x", "log(x)", floats=True, dx="dy / x", samples=_positive(1))
sqrt = pointwise("sqrt", "x", "sqrt(x)", floats=True, dx="dy * 0.5 / y", samples=_positive(1))
tanh = pointwise("tanh", "x", "tanh(x)", floats=True)
sigmoid = pointwise(
    "sigmoid",
    "x",
    "where(x >= 0, 1 / (1 + e), e / (1 + e))",  # e never overflows
    dx="dy * y * (1 - y)",
    e="exp(-abs(x))",
    floats=True,
)


def _away_from_zero(rng):
    """relu has no gradient at 0."""
    for shape in ((3, 4), (), (0, 2), (2, 3, 1, 5)):
        yield (rng.normal(size=shape) + 0.1 * np.sign(rng.normal(size=shape)),), {}


relu = pointwise(
    "relu", "x", "where(x <= 0, 0, x)", dx="where(y <= 0, 0, dy)", samples=_away_from_zero
)
