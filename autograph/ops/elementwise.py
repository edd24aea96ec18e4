"""Pointwise arithmetic, choices between operands, and the activations that layers share."""

from typing import Any

import numpy as np

from ..backends import CUDA, CUPY, NATIVE, NUMPY
from ..errors import ScalarTypeError
from ..op import Op
from .pointwise import Pointwise, drawn, pointwise


def only(op: Pointwise, *kinds: str, write: str) -> Pointwise:
    """The op, which takes scalar types of these kinds alone and says what to write else."""
    before = op.outline
    assert before is not None

    def outline(*inputs):
        for name, each in zip(op.inputs, inputs, strict=True):
            if each.scalar_type.kind not in kinds:
                raise ScalarTypeError(f"{op.name}: {name} is {each.scalar_type}\n  write  {write}")
        return before(*inputs)

    op.outlined_by(outline)
    return op


def _numbers(op, write="x.cast('i64') to compute with true as 1"):
    return only(op, "signed", "unsigned", "float", write=write)


def between(count, low=0.2, high=3.0):
    """Samples of `count` operands between two limits."""
    return drawn(count, lambda rng, shape: rng.uniform(low, high, size=shape))


def _apart(rng):
    """Operands that are never close to each other, where the op has a kink at a tie."""
    a = rng.normal(size=(3, 4))
    yield (a, a + np.sign(rng.normal(size=(3, 4))) * rng.uniform(0.1, 1.0, size=(3, 4))), {}
    yield (np.zeros((2, 3)), rng.uniform(0.5, 1.0, size=(3,))), {}


def off_zero(rng, shape):
    """Numbers that are never close to 0, where an op has a kink."""
    x = rng.normal(size=shape)
    return x + 0.1 * np.sign(x)


def away_from_zero(rng):
    for shape in ((3, 4), (), (0, 2), (2, 3, 1, 5)):
        yield (np.asarray(off_zero(rng, shape)),), {}


# -- Arithmetic ----------------------------------------------------------------------

add = pointwise("add", "a b", "a + b")
subtract = _numbers(
    pointwise("subtract", "a b", "a - b", db="-dy"), "a ^ b for the difference of masks"
)
multiply = pointwise("multiply", "a b", "a * b")
divide = pointwise(  # from a again: y may be rounded
    "divide", "a b", "a / b", floats=True, da="dy / b", db="-dy * (a / b / b)", samples=between(2)
)
floor_divide = _numbers(pointwise("floor_divide", "a b", "a // b", samples=between(2)))


def _within_a_period(rng):
    """The remainder jumps where a is a multiple of b."""
    b = np.sign(rng.normal(size=(3, 4))) * rng.uniform(1.0, 2.0, size=(3, 4))
    yield (b * rng.integers(-3, 3, size=(3, 4)) + b * rng.uniform(0.1, 0.9, size=(3, 4)), b), {}
    yield (rng.uniform(0.1, 0.9, size=(2, 3)), np.array(-1.0)), {}


remainder = _numbers(
    pointwise("remainder", "a b", "a % b", db="-dy * (a // b)", samples=_within_a_period)
)
power = _numbers(  # from a again, as in divide
    pointwise(
        "power",
        "a b",
        "a ** b",
        db="dy * where((a == 0) & (b >= 0), 0, a ** b * log(a))",
        samples=between(2),
    )
)
negative = _numbers(pointwise("negative", "x", "-x", dx="-dy"), "~x for the inverse of a mask")
abs = _numbers(pointwise("abs", "x", "abs(x)", dx="dy * sign(x)", samples=away_from_zero))
sign = _numbers(pointwise("sign", "x", "sign(x)", samples=away_from_zero))
square = _numbers(pointwise("square", "x", "x * x", dx="2 * (dy * x)"))
reciprocal = pointwise(
    "reciprocal", "x", "1 / x", dx="-dy * y * y", floats=True, samples=between(1)
)
copysign = pointwise("copysign", "a b", "copysign(a, b)", floats=True, samples=drawn(2, off_zero))
hypot = pointwise(  # its gradient at (0, 0) is 0
    "hypot",
    "a b",
    "hypot(a, b)",
    floats=True,
    h="hypot(a, b)",
    da="dy * where(h == 0, 0, a / h)",
    db="dy * where(h == 0, 0, b / h)",
)


def _lerp_samples(rng):
    for shapes in (((3, 4), (3, 4), ()), ((2, 3), (3,), (2, 1)), ((0, 2), (2,), ())):
        a, b = (rng.normal(size=shape) for shape in shapes[:2])
        yield (a, b, rng.uniform(size=shapes[2])), {}
    yield (rng.normal(size=3), rng.normal(size=3), 0.75), {}


lerp = pointwise(
    "lerp",
    "a b weight",
    "where(abs(weight) < 0.5, a + weight * (b - a), b - (b - a) * (1 - weight))",
    da="dy * (1 - weight)",
    db="dy * weight",
    dweight="dy * (b - a)",
    floats=True,
    samples=_lerp_samples,
)

# -- Choices -------------------------------------------------------------------------

maximum = pointwise("maximum", "a b", "maximum(a, b)", samples=_apart)
minimum = pointwise("minimum", "a b", "minimum(a, b)", samples=_apart)


def _clip_samples(rng):
    x = rng.uniform(-3, 3, size=(4, 5))
    bounds = np.array([-1.0, 1.0])
    x = np.where(np.abs(np.abs(x) - 1) < 0.1, 0.5, x)  # clip has kinks at the bounds
    yield (x, *bounds.reshape(2, 1)), {}
    yield (x, -1.0, 1.0), {}
    yield (np.array(2.0), np.zeros(3), np.ones((2, 1))), {}


clip_both = pointwise(
    "clip_both",
    "x low high",
    "minimum(maximum(x, low), high)",
    dx="where((x >= low) & (x <= high), dy, 0)",
    dlow="where((x < low) & (low < high), dy, 0)",
    dhigh="where((x > high) | (high < low), dy, 0)",
    samples=_clip_samples,
)
clip_low = pointwise(
    "clip_low",
    "x low",
    "maximum(x, low)",
    dx="where(x >= low, dy, 0)",
    dlow="where(x < low, dy, 0)",
    samples=_apart,
)
clip_high = pointwise(
    "clip_high",
    "x high",
    "minimum(x, high)",
    dx="where(x <= high, dy, 0)",
    dhigh="where(x > high, dy, 0)",
    samples=_apart,
)


def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """x within bounds, each a number, a tensor or absent; at a bound the gradient is x's.

    >>> clip(np.array([-2.0, 0.5, 2.0]), -1.0, 1.0)
    array([-1. ,  0.5,  1. ])
    """
    if low is None:
        return x if high is None else clip_high(x, high)
    return clip_low(x, low) if high is None else clip_both(x, low, high)


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


def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    """x with `value` (a number or a 0-d tensor) where the mask is true."""
    return where(mask, value, x)


accumulate = Op("accumulate", "total part", writes="total", outputs="")
accumulate.kernels_from(NATIVE, ".native_accumulate_kernels")
accumulate.kernels_from(CUDA, ".cuda_cast")


@accumulate.outlined_by
def accumulate_outline(total, part):
    """total = total + part, in place: how a walk gathers gradients."""
    return ()


@accumulate.kernel(NUMPY, CUPY, halves=True, strided=True)
def accumulate_arrays(total, part):
    if total.dtype.kind == "V":  # bf16 is summed in f32
        total[...] = total.astype(np.float32) + part.astype(np.float32)
    else:
        total += part


@accumulate.sampled_by
def accumulate_samples(rng):
    yield (rng.normal(size=(3, 4)), rng.normal(size=(3, 4))), {}
    yield (rng.normal(size=(4, 3)).T, rng.normal(size=(3, 4))), {}


# -- Activations ---------------------------------------------------------------------

relu = pointwise(
    "relu", "x", "where(x <= 0, 0, x)", dx="where(y <= 0, 0, dy)", samples=away_from_zero
)
sigmoid = pointwise(
    "sigmoid",
    "x",
    "where(x >= 0, 1 / (1 + e), e / (1 + e))",  # e never overflows
    dx="dy * y * (1 - y)",
    e="exp(-abs(x))",
    floats=True,
)
logsigmoid = pointwise(
    "logsigmoid",
    "x",
    "minimum(x, 0) - log1p(e)",
    dx="dy * where(x >= 0, e / (1 + e), 1 / (1 + e))",
    e="exp(-abs(x))",
    floats=True,
)
