"""Pointwise tests: comparison, logic, and the bits of integers."""

import numpy as np

from .elementwise import only
from .pointwise import drawn, pointwise

# -- Comparison ------------------------------------------------------------------------

equal = pointwise("equal", "a b", "a == b", boolean=True)
not_equal = pointwise("not_equal", "a b", "a != b", boolean=True)
less = pointwise("less", "a b", "a < b", boolean=True)
less_equal = pointwise("less_equal", "a b", "a <= b", boolean=True)
greater = pointwise("greater", "a b", "a > b", boolean=True)
greater_equal = pointwise("greater_equal", "a b", "a >= b", boolean=True)


def _extremes(rng):
    x = rng.normal(size=(3, 4))
    x[0] = [np.nan, np.inf, -np.inf, 0.0]
    yield (x,), {}
    yield (np.array(np.nan),), {}


isnan = pointwise("isnan", "x", "isnan(x)", boolean=True, promotes="", samples=_extremes)
isinf = pointwise("isinf", "x", "isinf(x)", boolean=True, promotes="", samples=_extremes)
isfinite = pointwise("isfinite", "x", "isfinite(x)", boolean=True, promotes="", samples=_extremes)

# -- Logic: anything but 0 is true, NaN too --------------------------------------------


def _masks(count):
    def samples(rng):
        yield from drawn(count, lambda rng, shape: rng.normal(size=shape) > 0)(rng)
        yield tuple(np.array([0.0, 1.5, np.inf]) for _ in range(count)), {}

    return samples


logical_and = pointwise("logical_and", "a b", "(a != 0) & (b != 0)", boolean=True, promotes="",
                        samples=_masks(2))  # fmt: skip
logical_or = pointwise("logical_or", "a b", "(a != 0) | (b != 0)", boolean=True, promotes="",
                       samples=_masks(2))  # fmt: skip
logical_xor = pointwise("logical_xor", "a b", "(a != 0) ^ (b != 0)", boolean=True, promotes="",
                        samples=_masks(2))  # fmt: skip
logical_not = pointwise("logical_not", "x", "x == 0", boolean=True, samples=_masks(1))

# -- Bits ------------------------------------------------------------------------------


def _bitwise(name, expression, *kinds, high=1 << 40):
    samples = drawn(2, lambda rng, shape: rng.integers(0, high, size=shape))
    op = pointwise(name, "a b", expression, samples=samples)
    op.gradients.clear()  # integers have none
    return only(op, "signed", "unsigned", *kinds, write="x.cast('i64'), or a comparison: x != 0")


bitwise_and = _bitwise("bitwise_and", "a & b", "bool")
bitwise_or = _bitwise("bitwise_or", "a | b", "bool")
bitwise_xor = _bitwise("bitwise_xor", "a ^ b", "bool")
bitwise_left_shift = _bitwise("bitwise_left_shift", "a << b", high=20)
bitwise_right_shift = _bitwise("bitwise_right_shift", "a >> b", high=60)
bitwise_invert = only(
    pointwise("bitwise_invert", "x", "~x",
              samples=drawn(1, lambda rng, shape: rng.integers(-99, 99, size=shape))),
    "signed", "unsigned", "bool", write="x.cast('i64'), or logical_not(x)",
)  # fmt: skip
bitwise_invert.gradients.clear()
