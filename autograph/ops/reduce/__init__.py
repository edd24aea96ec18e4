"""Reductions over axes: sum, mean, max, min, argmax, argmin, any, all."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ...backends import CUDA, CUPY, NATIVE, NUMPY, namespace
from ...errors import ShapeError
from ...op import Op
from ...scalar_type import BOOL, F32, I64, ScalarType
from ..axes import axes_of, axis_of
from ..broadcast import broadcast_to
from ..comparison import not_equal
from ..elementwise import add, multiply
from ..shape import reshape
from ..summation import summed

sum = Op("sum", "x")
mean = Op("mean", "x")
max = Op("max", "x")
min = Op("min", "x")
extreme_dx = Op("extreme_dx", "dy y x")
argmax = Op("argmax", "x")
argmin = Op("argmin", "x")
any = Op("any", "x")
all = Op("all", "x")

for _op in (sum, mean, max, min, argmax, argmin):
    _op.kernels_from(CUDA, ".cuda_kernels")
for _op in (sum, mean, max, min):
    _op.kernels_from(NATIVE, ".native_kernels")


def reduced(op, x, axis, keepdims):
    """The shape of x without the axes, or with 1 for them."""
    axes = axes_of(op, x.ndim, axis)
    return tuple(
        1 if i in axes else size for i, size in enumerate(x.shape) if keepdims or i not in axes
    )


def kept_shape(shape, axis):
    """The shape of a reduced array as if keepdims had been set."""
    axes = axes_of("reduce", len(shape), axis)
    return tuple(1 if i in axes else size for i, size in enumerate(shape))


def axes_in(x, axis):
    """The axis as NumPy takes it: a 0-d array has none."""
    return axes_of("reduce", x.ndim, axis) if x.ndim else ()


# -- sum and mean ----------------------------------------------------------------------

WIDE = {"bool": I64, "signed": I64, "unsigned": ScalarType.U64, "float": None}


@sum.outlined_by
def sum_outline(x, *, axis=None, keepdims=False):
    wide = WIDE[x.scalar_type.kind] or x.scalar_type
    return x.like(shape=reduced("sum", x, axis, keepdims), scalar_type=wide)


@sum.kernel(NUMPY, CUPY)
def sum_arrays(x, *, axis, keepdims):
    wide = WIDE[ScalarType.of(x).kind]
    if wide is None:
        return summed(x, axes_in(x, axis), keepdims=keepdims)
    return x.sum(axis=axes_in(x, axis), keepdims=keepdims, dtype=wide.dtype)


@sum.gradient("x")
def sum_dx(y, x, *, axis, keepdims):
    shape, kept = x.shape, kept_shape(x.shape, axis)
    return lambda dy: broadcast_to(reshape(dy, shape=kept), shape=shape)


@mean.outlined_by
def mean_outline(x, *, axis=None, keepdims=False):
    wide = x.scalar_type if x.scalar_type.is_float else F32
    return x.like(shape=reduced("mean", x, axis, keepdims), scalar_type=wide)


@mean.kernel(NUMPY, CUPY)
def mean_arrays(x, *, axis, keepdims):
    axes = axes_in(x, axis)
    if not ScalarType.of(x).is_float:
        return x.mean(axis=axes, keepdims=keepdims)
    count = prod(x.shape[i] for i in axes)
    return summed(x, axes, keepdims=keepdims) / x.dtype.type(count)


@mean.gradient("x")
def mean_dx(y, x, *, axis, keepdims):
    shape, kept = x.shape, kept_shape(x.shape, axis)
    share = y.size / x.size if x.size else 0.0
    return lambda dy: broadcast_to(reshape(multiply(dy, share), shape=kept), shape=shape)


@sum.sampled_by
@mean.sampled_by
def reduction_samples(rng):
    x = rng.normal(size=(2, 3, 4))
    yield (x,), {}
    yield (x,), {"axis": (0, -1), "keepdims": True}
    yield (x,), {"axis": 1}
    yield (rng.normal(size=()),), {}


# -- max and min -----------------------------------------------------------------------


def _extreme_outline(op):
    def outline(x, *, axis=None, keepdims=False):
        shape = reduced(op.name, x, axis, keepdims)
        if 0 in [x.shape[i] for i in axes_of(op.name, x.ndim, axis) if x.ndim]:
            raise ShapeError(
                f"{op.name}: an empty axis has none\n  x     {x.shape}\n  axis  {axis}"
            )
        return x.like(shape=shape)

    return outline


def _plain_kernel(op):
    """The method of arrays that is called like the op."""

    def kernel(x, *, axis, keepdims):
        return getattr(x, op.name)(axis=axes_in(x, axis), keepdims=keepdims)

    kernel.__name__ = f"{op.name}_arrays"
    return kernel


def _extreme_gradient(op):
    def rule(y, x, *, axis, keepdims):
        kept = kept_shape(x.shape, axis)
        return lambda dy: extreme_dx(reshape(dy, shape=kept), reshape(y, shape=kept), x, axis=axis)

    rule.__name__ = f"{op.name}_dx"
    return rule


for _op in (max, min):
    _op.outlined_by(_extreme_outline(_op))
    _op.kernel(NUMPY, CUPY)(_plain_kernel(_op))
    _op.gradient("x")(_extreme_gradient(_op))
    _op.sampled_by(reduction_samples)


@extreme_dx.outlined_by
def extreme_dx_outline(dy, y, x, *, axis):
    return x.like()


@extreme_dx.kernel(NUMPY, CUPY)
def extreme_dx_arrays(dy, y, x, *, axis):
    """dy shared evenly between equal extremes, as in torch's amax."""
    hit = ((x == y) | ((x != x) & (y != y))).astype(x.dtype)
    return dy * hit / hit.sum(axis=axes_in(x, axis), keepdims=True)


@extreme_dx.gradient("dy")
def extreme_dx_ddy(dx, dy, y, x, *, axis):
    def rule(ddx):
        ones = add(multiply(dy, 0.0), 1.0)
        return sum(multiply(ddx, extreme_dx(ones, y, x, axis=axis)), axis=axis, keepdims=True)

    return rule


# -- argmax and argmin -------------------------------------------------------------------


def _arg_outline(op):
    def outline(x, *, axis=None, keepdims=False):
        chosen = None if axis is None else axis_of(op.name, x.ndim, axis)
        if x.size == 0 and (chosen is None or x.shape[chosen] == 0):
            raise ShapeError(
                f"{op.name}: an empty axis has none\n  x     {x.shape}\n  axis  {axis}"
            )
        return x.like(shape=reduced(op.name, x, chosen, keepdims), scalar_type=I64)

    return outline


def _arg_kernel(op):
    def kernel(x, *, axis, keepdims):
        if x.ndim == 0:
            return namespace(x).zeros((), "int64")
        found = getattr(x.astype("uint8") if ScalarType.of(x) is BOOL else x, op.name)(axis=axis)
        return found.reshape(reduced(op.name, x, axis, keepdims)) if keepdims else found

    kernel.__name__ = f"{op.name}_arrays"
    return kernel


for _op in (argmax, argmin):
    _op.outlined_by(_arg_outline(_op))
    _op.kernel(NUMPY, CUPY)(_arg_kernel(_op))


@argmax.sampled_by
@argmin.sampled_by
def argmax_samples(rng):
    yield (rng.normal(size=(3, 4)),), {"axis": 1}
    yield (rng.normal(size=(3, 4)),), {}
    yield (rng.normal(size=(3, 4)),), {"axis": -2, "keepdims": True}


# -- any and all -------------------------------------------------------------------------


def _truth_outline(op):
    def outline(x, *, axis=None, keepdims=False):
        return x.like(shape=reduced(op.name, x, axis, keepdims), scalar_type=BOOL)

    return outline


def _truth_samples(rng):
    for settings in ({}, {"axis": (0, -1), "keepdims": True}, {"axis": 1}):
        yield (rng.integers(0, 2, size=(2, 3, 2)) > 0,), settings
    yield (np.zeros((0, 3)),), {"axis": 0}
    yield (np.array(2.0),), {}


for _op in (any, all):
    _op.outlined_by(_truth_outline(_op))
    _op.kernel(NUMPY, CUPY)(_plain_kernel(_op))
    _op.sampled_by(_truth_samples)


def count_nonzero(
    x: Any, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> Any:
    """How many elements are not 0, over axes (all by default), in i64."""
    return sum(not_equal(x, 0), axis=axis, keepdims=keepdims)
