"""Pointwise functions of analysis: roots, exponentials, logarithms, circles, hyperbolas, erf."""

import numpy as np

from .elementwise import between
from .pointwise import pointwise

_inside = between(1, -0.9, 0.9)  # where the inverse functions are defined


# -- Roots, exponentials and logarithms ------------------------------------------------

sqrt = pointwise("sqrt", "x", "sqrt(x)", floats=True, dx="dy * 0.5 / y", samples=between(1))
rsqrt = pointwise(  # y may be rounded, and its cube three times as much
    "rsqrt", "x", "rsqrt(x)", floats=True, dx="-0.5 * dy * rsqrt(x) / x", samples=between(1)
)
exp = pointwise("exp", "x", "exp(x)", floats=True)
exp2 = pointwise("exp2", "x", "exp2(x)", floats=True)
expm1 = pointwise("expm1", "x", "expm1(x)", floats=True)
log = pointwise("log", "x", "log(x)", floats=True, dx="dy / x", samples=between(1))
log2 = pointwise("log2", "x", "log2(x)", floats=True, samples=between(1))
log10 = pointwise("log10", "x", "log10(x)", floats=True, samples=between(1))
log1p = pointwise("log1p", "x", "log1p(x)", floats=True, dx="dy / (1 + x)", samples=between(1))


def _spread(rng):
    for scale in (1.0, 30.0):
        yield (rng.normal(size=(2, 3)) * scale, rng.normal(size=(3,)) * scale), {}
    yield (np.array(2.0), np.array(2.0)), {}


logaddexp = pointwise(
    "logaddexp",
    "a b",
    "where(a == b, a + 0.6931471805599453, maximum(a, b) + log1p(exp(-abs(a - b))))",
    da="dy / (1 + exp(b - a))",
    db="dy / (1 + exp(a - b))",
    floats=True,
    samples=_spread,
)

# -- Circles ---------------------------------------------------------------------------

sin = pointwise("sin", "x", "sin(x)", floats=True)
cos = pointwise("cos", "x", "cos(x)", floats=True)
tan = pointwise("tan", "x", "tan(x)", floats=True, samples=_inside)
asin = pointwise("asin", "x", "asin(x)", floats=True, samples=_inside)
acos = pointwise("acos", "x", "acos(x)", floats=True, samples=_inside)
atan = pointwise("atan", "x", "atan(x)", floats=True)
atan2 = pointwise(
    "atan2",
    "a b",
    "atan2(a, b)",
    da="where(h == 0, 0, dy * (b / h) / h)",
    db="where(h == 0, 0, -dy * (a / h) / h)",
    h="hypot(a, b)",
    floats=True,
)

# -- Hyperbolas ------------------------------------------------------------------------

sinh = pointwise("sinh", "x", "sinh(x)", floats=True)
cosh = pointwise("cosh", "x", "cosh(x)", floats=True)
tanh = pointwise("tanh", "x", "tanh(x)", floats=True)
asinh = pointwise("asinh", "x", "asinh(x)", floats=True)
acosh = pointwise("acosh", "x", "acosh(x)", floats=True, samples=between(1, low=1.5))
atanh = pointwise("atanh", "x", "atanh(x)", floats=True, samples=_inside)

# -- The error function ----------------------------------------------------------------

erf = pointwise("erf", "x", "erf(x)", floats=True)
erfc = pointwise("erfc", "x", "erfc(x)", floats=True)
