"""Softmax and its logarithm along an axis, stable at any size of x."""

from functools import partial

import numpy as np

from ..backends import CUDA, CUPY, NATIVE, NUMPY, namespace
from ..op import Op
from ..scalar_type import ScalarType
from .axes import axis_of
from .cast import rounded_once
from .declare import REQUIRED, alike, asked
from .elementwise import divide, subtract
from .reduce import axes_in, max, sum
from .summation import summed
from .transcendental import exp, log

softmax = Op("softmax", "x", floats=True)
log_softmax = Op("log_softmax", "x", floats=True)
softmax_dx = Op("softmax_dx", "dy y")
log_softmax_dx = Op("log_softmax_dx", "dy y")

for _op in (softmax, log_softmax, softmax_dx, log_softmax_dx):
    _op.kernels_from(NATIVE, ".native_softmax_kernels")
    _op.kernels_from(CUDA, ".cuda_softmax_kernels")


def _softmax_outline(op, x, *, axis=-1):
    axis_of(op, x.ndim, axis)
    return x.like()


@softmax.kernel(NUMPY, CUPY)
def softmax_arrays(x, *, axis):
    """exp(x) / sum(exp(x)) along the axis, with the largest x taken out of exp."""
    xp, axes = namespace(x), axes_in(x, axis)
    y = xp.asarray(x - x.max(axis=axes, keepdims=True))
    xp.exp(y, out=y)
    y /= summed(y, axes, keepdims=True)
    return y


@log_softmax.kernel(NUMPY, CUPY)
def log_softmax_arrays(x, *, axis):
    """x - log(sum(exp(x))) along the axis."""
    xp, axes = namespace(x), axes_in(x, axis)
    y = x - x.max(axis=axes, keepdims=True)
    y -= xp.log(summed(xp.exp(y), axes, keepdims=True))
    return y


@softmax.gradient("x")
def softmax_gradient(y, x, *, axis):
    return _rule(softmax, softmax_dx, y, x, axis)


@log_softmax.gradient("x")
def log_softmax_gradient(y, x, *, axis):
    return _rule(log_softmax, log_softmax_dx, y, x, axis)


def _rule(op, op_dx, y, x, axis):
    """From y; where that was rounded to a half, from y made again, of x, which was not."""
    if ScalarType.of(x).is_half:
        return lambda dy: rounded_once(lambda dy, x: op_dx(dy, op(x, axis=axis), axis=axis), dy, x)
    return lambda dy: op_dx(dy, y, axis=axis)


def _shifted(x, axis):
    largest = max(x.detach() if hasattr(x, "detach") else x, axis=axis, keepdims=True)
    return subtract(x, largest)


@softmax.composed_by
def softmax_parts(x, *, axis):
    y = exp(_shifted(x, axis))
    return divide(y, sum(y, axis=axis, keepdims=True))


@log_softmax.composed_by
def log_softmax_parts(x, *, axis):
    y = _shifted(x, axis)
    return subtract(y, log(sum(exp(y), axis=axis, keepdims=True)))


@softmax_dx.kernel(NUMPY, CUPY)
def softmax_dx_arrays(dy, y, *, axis):
    """y * (dy - sum(dy * y))."""
    dx = dy * y
    dx -= y * summed(dx, axes_in(y, axis), keepdims=True)
    return dx


@log_softmax_dx.kernel(NUMPY, CUPY)
def log_softmax_dx_arrays(dy, y, *, axis):
    """dy - exp(y) * sum(dy)."""
    dx = namespace(y).exp(y)
    dx *= -summed(dy, axes_in(y, axis), keepdims=True)
    dx += dy
    return dx


def _softmax_samples(rng):
    for shape, axis in (((3, 4), -1), ((2, 3, 4), 1), ((5,), 0), ((), 0), ((0, 3), 1)):
        yield (rng.normal(size=shape),), {"axis": axis}
    yield (np.array([[1e4, -1e4, 0.0]]),), {}


for _op in (softmax, log_softmax):
    _op.outlined_by(partial(_softmax_outline, _op.name))
    _op.sampled_by(_softmax_samples)
for _op, _forward in ((softmax_dx, softmax), (log_softmax_dx, log_softmax)):
    alike(_op, "y", axis=REQUIRED)
    asked(_op, _forward)
