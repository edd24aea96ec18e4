"""Elements by index along one axis: take them, put them, add them.

Shapes: x (..., N, ...), indices (..., M, ...): the other axes are those of x.
"""

from functools import partial
from typing import Any

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..errors import ShapeError
from ..op import Op
from .axes import axis_of
from .declare import adjoint
from .index import check_range, index, refuse_float_indices

take_along_axis = Op("take_along_axis", "x indices", promotes="x")
scatter = Op("scatter", "x indices y", promotes="x y")
scatter_add = Op("scatter_add", "x indices y", promotes="x y")


def _fits(op, x, indices, axis, *, smaller=False):
    """Refuse indices whose other axes are not those of x (or, `smaller`, reach beyond them)."""
    refuse_float_indices(op, indices)
    at = axis_of(op, x.ndim, axis)
    fits = indices.ndim == x.ndim and all(
        i == at or each == size or (smaller and each < size)
        for i, (each, size) in enumerate(zip(indices.shape, x.shape, strict=True))
    )
    if not fits:
        raise ShapeError(
            f"{op}: indices do not fit x outside axis {axis}\n"
            f"  x        {x.shape}\n  indices  {indices.shape}"
        )
    return at


# -- take_along_axis -------------------------------------------------------------------


@take_along_axis.outlined_by
def take_along_axis_outline(x, indices, *, axis=-1):
    _fits("take_along_axis", x, indices, axis)
    return x.like(shape=indices.shape)


@take_along_axis.kernel(NUMPY, CUPY, halves=True)
def take_along_axis_arrays(x, indices, *, axis):
    if x.ndim == 0:
        return x.copy()
    check_range("take_along_axis", indices, x.shape[axis])
    return namespace(x).take_along_axis(x, indices.astype("int64"), axis=axis)


@take_along_axis.sampled_by
def take_along_axis_samples(rng):
    yield (rng.normal(size=(3, 4)), rng.integers(0, 4, size=(3, 6))), {}
    yield (rng.normal(size=(3, 4)), rng.integers(-3, 3, size=(2, 4))), {"axis": 0}
    yield (rng.normal(size=5), np.array([4, 4, 0])), {}


take_along_axis_dx = adjoint(take_along_axis, "take_along_axis_dx")


@take_along_axis_dx.kernel(NUMPY, CUPY)
def take_along_axis_dx_arrays(dy, indices, *, shape, axis):
    """Repeated indices add up."""
    return _add_along(namespace(dy).zeros(shape, dy.dtype), indices, dy, axis)


def gather(x: Any, indices: Any, *, axis: int = -1) -> Any:
    """Elements by index along an axis; the other axes of indices may be shorter than x's.

    y[i, j] = x[indices[i, j], j] for axis 0, as torch.gather.
    """
    at = axis_of("gather", len(x.shape), axis)
    if len(indices.shape) == len(x.shape):
        sizes = [slice(None) if i == at else slice(0, n) for i, n in enumerate(indices.shape)]
        x = index(x, key=tuple(sizes))
    return take_along_axis(x, indices, axis=axis)


# -- scatter ---------------------------------------------------------------------------


def _scatter_outline(op, x, indices, y, *, axis=-1):
    _fits(op, x, indices, axis, smaller=True)
    if y.shape and y.shape != indices.shape:
        raise ShapeError(
            f"{op}: one y for each index, or a number\n"
            f"  indices  {indices.shape}\n  y        {y.shape}"
        )
    return x.like()


def _places(xp, indices, at):
    """The key of x that numbers every index; the other axes count up."""
    key = list(xp.ogrid[tuple(slice(0, n) for n in indices.shape)])
    key[at] = indices.astype("int64")
    return tuple(key)


def _add_along(x, indices, y, axis):
    """Add y into x at indices along an axis, and answer x."""
    xp = namespace(x)
    if x.ndim == 0:
        x += y
        return x
    at = axis % x.ndim
    check_range("scatter_add", indices, x.shape[at])
    key = _places(xp, indices, at)
    if xp is np and x.dtype.kind == "f" and x.flags.c_contiguous:
        # counting is several times faster than add.at, and sums in f64
        places = [np.where(each < 0, each + n, each) for each, n in zip(key, x.shape, strict=True)]
        numbers = np.ravel_multi_index(np.broadcast_arrays(*places), x.shape).ravel()
        weights = np.broadcast_to(y, indices.shape).ravel()
        x += np.bincount(numbers, weights, minlength=x.size).reshape(x.shape).astype(x.dtype)
    elif xp is not np:
        from .batch_rows.cuda_added import added_rows_cuda

        flat, size = 0, x.shape[at]
        for each, n in zip(key, x.shape, strict=True):
            flat = flat * n + xp.where(each < 0, each + n, each)
        wrong = (indices < -size) | (indices >= size)  # reported there, and left out
        flat = xp.where(wrong, x.size, flat).reshape(-1)
        rows = xp.broadcast_to(xp.asarray(y, x.dtype), indices.shape).reshape(-1)
        x += added_rows_cuda(x.size, flat, rows).reshape(x.shape)
    else:
        np.add.at(x, key, y)
    return x


@scatter.kernel(NUMPY, CUPY, halves=True)
def scatter_arrays(x, indices, y, *, axis):
    """x with y at indices along the axis: x[i, indices[i, j]] = y[i, j] for axis 1."""
    xp, result = namespace(x), x.copy(order="C")
    if x.ndim == 0:
        return xp.broadcast_to(y, ()).astype(x.dtype)
    check_range("scatter", indices, x.shape[axis])
    result[_places(xp, indices, axis % x.ndim)] = y
    return result


@scatter_add.kernel(NUMPY, CUPY)
def scatter_add_arrays(x, indices, y, *, axis):
    """x with y added at indices along the axis; repeated indices add up."""
    return _add_along(x.copy(order="C"), indices, y, axis)


@scatter.gradient("x")
def scatter_dx(result, x, indices, y, *, axis):
    return lambda dy: scatter(dy, indices, 0.0, axis=axis)


@scatter_add.gradient("x")
def scatter_add_dx(result, x, indices, y, *, axis):
    return lambda dy: dy


def _source_gradient(result, x, indices, y, *, axis):
    from .broadcast import sum_to

    shape = y.shape
    return lambda dy: sum_to(gather(dy, indices, axis=axis), shape=shape)


for _op in (scatter, scatter_add):
    _op.outlined_by(partial(_scatter_outline, _op.name))
    _op.gradient("y")(_source_gradient)


@scatter.sampled_by
def scatter_samples(rng):
    yield (rng.normal(size=(3, 4)), np.array([[0, 3], [1, -1]]), rng.normal(size=(2, 2))), {}
    yield (rng.normal(size=(3, 4)), np.array([[0, 2, 1, 0]]), rng.normal(size=())), {"axis": 0}


@scatter_add.sampled_by
def scatter_add_samples(rng):
    yield from scatter_samples(rng)
    yield (rng.normal(size=3), np.array([1, 1, -2, 0]), rng.normal(size=4)), {}
