"""Variance, deviation, norms and logsumexp over axes."""

from math import prod
from typing import Any

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..errors import ScalarTypeError
from ..op import Op
from ..scalar_type import ScalarType
from .axes import axes_of
from .cast import rounded_once
from .comparison import equal
from .elementwise import abs as absolute
from .elementwise import divide, multiply, power, sign, subtract, where
from .reduce import axes_in, kept_shape, max, mean, min, reduced, sum
from .shape import reshape
from .summation import summed
from .transcendental import exp

Axis = int | tuple[int, ...] | None

var = Op("var", "x", floats=True)
std = Op("std", "x", floats=True)
euclidean_norm = Op("euclidean_norm", "x", floats=True)
power_norm = Op("power_norm", "x", floats=True)
logsumexp = Op("logsumexp", "x", floats=True)


def _sampled(rng):
    x = rng.normal(size=(2, 3, 4))
    yield (x,), {}
    yield (x,), {"axis": (0, -1), "keepdims": True}
    yield (x,), {"axis": 1}


# -- var and std -----------------------------------------------------------------------


def _count(shape, axis):
    return prod(shape[i] for i in axes_of("var", len(shape), axis) if shape)


def var_arrays(x, *, axis, correction, keepdims):
    axes, count = axes_in(x, axis), _count(x.shape, axis)
    middle = summed(x, axes, keepdims=True) / x.dtype.type(count)
    away = x - middle
    degrees = x.dtype.type(np.maximum(count - correction, 0))  # of none, 0 / 0 is NaN
    return summed(away * away, axes, keepdims=keepdims) / degrees


def std_arrays(x, **settings):
    return _root(var_arrays, x, **settings)


def _root(squares, x, **settings):
    """The root of a sum of squares; computed in f64 where the squares are too large for f32."""
    y = squares(x, **settings)
    if isinstance(x, np.ndarray) and x.dtype == np.float32 and np.isinf(y).any():
        y = squares(x.astype(np.float64), **settings)
    return y**0.5


def _spread(op, kernel, power):
    @op.outlined_by
    def outline(x, *, axis=None, correction=0, keepdims=False):
        """The mean square distance to the mean; divided by the count less `correction`."""
        return x.like(shape=reduced(op.name, x, axis, keepdims))

    @op.gradient("x")
    def rule(y, x, *, axis, correction, keepdims):
        """Where the deviation is 0 its gradient is taken to be 0, as in PyTorch."""
        kept, degrees = kept_shape(x.shape, axis), _count(x.shape, axis) - correction
        share = power / degrees if degrees else float("inf")

        def back(dy):
            slope = multiply(dy, share)
            slope = slope if power == 2 else where(equal(y, 0), 0, divide(slope, y))
            away = subtract(x, mean(x, axis=axis, keepdims=True))
            return multiply(reshape(slope, shape=kept), away)

        return back

    @op.sampled_by
    def samples(rng):
        for arrays, settings in _sampled(rng):
            yield arrays, settings
            yield arrays, settings | {"correction": 1}

    op.kernel(NUMPY, CUPY)(kernel)


_spread(var, var_arrays, 2)
_spread(std, std_arrays, 1)

# -- norms -----------------------------------------------------------------------------


@euclidean_norm.outlined_by
def euclidean_norm_outline(x, *, axis=None, keepdims=False):
    """The root of the sum of squares."""
    return x.like(shape=reduced("norm", x, axis, keepdims))


@euclidean_norm.kernel(NUMPY, CUPY)
def euclidean_norm_arrays(x, *, axis, keepdims):
    return _root(_squares, x, axis=axis, keepdims=keepdims)


def _squares(x, *, axis, keepdims):
    return summed(x * x, axes_in(x, axis), keepdims=keepdims)


@euclidean_norm.gradient("x")
def euclidean_norm_dx(y, x, *, axis, keepdims):
    kept = kept_shape(x.shape, axis)

    def rule(dy):  # 0 where the norm is 0
        return multiply(x, reshape(where(equal(y, 0), 0, divide(dy, y)), shape=kept))

    return rule


euclidean_norm.sampled_by(_sampled)


@power_norm.outlined_by
def power_norm_outline(x, *, ord, axis=None, keepdims=False):
    """sum(abs(x) ** ord) ** (1 / ord)."""
    return x.like(shape=reduced("norm", x, axis, keepdims))


@power_norm.kernel(NUMPY, CUPY)
def power_norm_arrays(x, *, ord, axis, keepdims):
    return summed(namespace(x).abs(x) ** ord, axes_in(x, axis), keepdims=keepdims) ** (1 / ord)


@power_norm.gradient("x")
def power_norm_dx(y, x, *, ord, axis, keepdims):
    kept = kept_shape(x.shape, axis)

    def slope(dy, y, x):  # dy * sign(x) * (abs(x) / y) ** (ord - 1), and 0 where x or the norm is 0
        size, norm = absolute(x), reshape(y, shape=kept)
        none, nothing = equal(size, 0), equal(norm, 0)
        share = power(divide(where(none, 1, size), where(nothing, 1, norm)), ord - 1)
        scale = where(nothing, 0, reshape(dy, shape=kept))
        return multiply(multiply(scale, sign(x)), share)

    return lambda dy: rounded_once(slope, dy, y, x)


@power_norm.sampled_by
def power_norm_samples(rng):
    for (x,), settings in _sampled(rng):
        x = x + 0.1 * np.sign(x)
        for ord in (3, 1.5, -1):
            yield (x,), settings | {"ord": ord}


def norm(x: Any, *, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Any:
    """The norm of the vectors along axes (of all elements by default), for any `ord`:
    2, 1, infinity (the largest), -infinity, 0 (how many are not 0), or another power.

    >>> norm(np.array([3.0, 4.0]))
    array(5.)
    """
    if not ScalarType.of(x).is_float:
        raise ScalarTypeError("norm: x holds no floats\n  write  x.cast('f32')")
    settings = {"axis": axis, "keepdims": keepdims}
    if ord == 2:
        return euclidean_norm(x, **settings)
    if ord == 1:
        return sum(absolute(x), **settings)
    if ord == 0:
        return sum(where(equal(x, 0), multiply(x, 0), 1), **settings)
    if ord in (float("inf"), -float("inf")):
        return (max if ord > 0 else min)(absolute(x), **settings)
    return power_norm(x, ord=ord, **settings)


# -- logsumexp -------------------------------------------------------------------------


@logsumexp.outlined_by
def logsumexp_outline(x, *, axis=None, keepdims=False):
    """log(sum(exp(x))), with the largest x taken out of exp."""
    return x.like(shape=reduced("logsumexp", x, axis, keepdims))


@logsumexp.kernel(NUMPY, CUPY)
def logsumexp_arrays(x, *, axis, keepdims):
    xp, axes = namespace(x), axes_in(x, axis)
    if x.size == 0:
        return xp.full(reduced("logsumexp", x, axis, keepdims), -np.inf, x.dtype)
    top = x.max(axis=axes, keepdims=True)
    top = xp.where(xp.isinf(top), 0, top)
    total = summed(xp.exp(x - top), axes, keepdims=keepdims)
    return xp.log(total) + top.reshape(total.shape)


@logsumexp.gradient("x")
def logsumexp_dx(y, x, *, axis, keepdims):
    kept = kept_shape(x.shape, axis)
    return lambda dy: multiply(reshape(dy, shape=kept), exp(subtract(x, reshape(y, shape=kept))))


@logsumexp.sampled_by
def logsumexp_samples(rng):
    for (x,), settings in _sampled(rng):
        yield (x,), settings
        yield (30 * x,), settings
