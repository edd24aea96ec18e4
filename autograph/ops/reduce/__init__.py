"""Reductions over axes: sum, mean, max, min, argmax, argmin, any, all."""

from functools import partial
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
from ..declare import REQUIRED, alike, undoing
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


def wide_outline(op, x, *, axis=None, keepdims=False):
    shape = reduced(op, x, axis, keepdims)
    return x.like(shape=shape, scalar_type=WIDE[x.scalar_type.kind])


sum.outlined_by(partial(wide_outline, "sum"))


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


def _reduction(op, scalar_type=None, *, of_none=False, one_axis=False):
    """The outline of a reduction, and its kernel by the method of arrays that is called so."""

    @op.outlined_by
    def outline(x, *, axis=None, keepdims=False):
        if one_axis and axis is not None:
            axis_of(op.name, x.ndim, axis)  # refuses several
        shape = reduced(op.name, x, axis, keepdims)
        if not of_none and 0 in [x.shape[i] for i in axes_of(op.name, x.ndim, axis) if x.ndim]:
            raise ShapeError(
                f"{op.name}: an empty axis has none\n  x     {x.shape}\n  axis  {axis}"
            )
        return x.like(shape=shape, scalar_type=scalar_type)

    @op.kernel(NUMPY, CUPY)
    def arrays(x, *, axis, keepdims):
        if not one_axis:
            return getattr(x, op.name)(axis=axes_in(x, axis), keepdims=keepdims)
        if x.ndim == 0:
            return namespace(x).zeros((), "int64")
        found = getattr(x.astype("uint8") if ScalarType.of(x) is BOOL else x, op.name)(axis=axis)
        return found.reshape(reduced(op.name, x, axis, keepdims)) if keepdims else found


def _extreme_dx(y, x, *, axis, keepdims):
    kept = kept_shape(x.shape, axis)
    return lambda dy: extreme_dx(reshape(dy, shape=kept), reshape(y, shape=kept), x, axis=axis)


for _op in (max, min):
    _reduction(_op)
    _op.gradient("x")(_extreme_dx)
    _op.sampled_by(reduction_samples)


alike(extreme_dx, "x", axis=REQUIRED)
undoing(extreme_dx, max, keepdims=True)


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


_reduction(argmax, I64, one_axis=True)
_reduction(argmin, I64, one_axis=True)


@argmax.sampled_by
@argmin.sampled_by
def argmax_samples(rng):
    yield (rng.normal(size=(3, 4)),), {"axis": 1}
    yield (rng.normal(size=(3, 4)),), {}
    yield (rng.normal(size=(3, 4)),), {"axis": -2, "keepdims": True}


# -- any and all -------------------------------------------------------------------------


_reduction(any, BOOL, of_none=True)
_reduction(all, BOOL, of_none=True)


@any.sampled_by
@all.sampled_by
def truth_samples(rng):
    for settings in ({}, {"axis": (0, -1), "keepdims": True}, {"axis": 1}):
        yield (rng.integers(0, 2, size=(2, 3, 2)) > 0,), settings
    yield (np.zeros((0, 3)),), {"axis": 0}
    yield (np.array(2.0),), {}


def count_nonzero(
    x: Any, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> Any:
    """How many elements are not 0, over axes (all by default), in i64."""
    return sum(not_equal(x, 0), axis=axis, keepdims=keepdims)
