"""Order along an axis: sorting, the largest k, and where values belong in what is sorted.

NaN counts as larger than every number, as in PyTorch.
"""

from typing import Any

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..errors import ShapeError
from ..op import Op
from ..scalar_type import BOOL, I64, ScalarType
from .axes import axis_of
from .scatter import take_along_axis, take_along_axis_dx

argsort = Op("argsort", "x")
topk = Op("topk", "x", outputs="values indices")
searchsorted = Op("searchsorted", "ordered values")

# -- sorting ---------------------------------------------------------------------------


@argsort.outlined_by
def argsort_outline(x, *, axis=-1, descending=False):
    """The indices (i64) that sort x; equal elements keep their order."""
    axis_of("argsort", x.ndim, axis)
    return x.like(scalar_type=I64)


@argsort.kernel(NUMPY, CUPY)
def argsort_arrays(x, *, axis, descending):
    xp = namespace(x)
    if x.ndim == 0:
        return xp.zeros((), "int64")
    x = x.astype("uint8") if ScalarType.of(x) is BOOL else x
    if not descending:
        return xp.argsort(x, axis=axis, kind="stable")
    order = xp.argsort(xp.flip(x, axis), axis=axis, kind="stable")
    return x.shape[axis] - 1 - xp.flip(order, axis)


def sort(x: Any, *, axis: int = -1, descending: bool = False) -> Any:
    """x in order along an axis; equal elements keep theirs.

    >>> sort(np.array([3, 1, 2]), descending=True)
    array([3, 2, 1])
    """
    return take_along_axis(x, argsort(x, axis=axis, descending=descending), axis=axis)


@argsort.sampled_by
def argsort_samples(rng):
    for settings in ({}, {"axis": 0}, {"descending": True}):
        yield (rng.permutation(12).reshape(3, 4).astype(float),), settings
        yield (np.array([1.0, 2.0, 1.0, 2.0]),), settings
    yield (np.array(1.0),), {}


# -- topk ------------------------------------------------------------------------------


@topk.outlined_by
def topk_outline(x, *, k, axis=-1, largest=True):
    """The k largest (or smallest) along an axis, the best first, and their indices (i64)."""
    at = axis_of("topk", x.ndim, axis)
    size = x.shape[at] if x.ndim else 1
    if not 0 <= k <= size:
        raise ShapeError(f"topk: k = {k} of {size} elements\n  x  {x.shape}\n  write 0 to {size}")
    shape = (*x.shape[:at], k, *x.shape[at + 1 :]) if x.ndim else ()
    return x.like(shape=shape), x.like(shape=shape, scalar_type=I64)


@topk.kernel(NUMPY, CUPY)
def topk_arrays(x, *, k, axis, largest):
    xp = namespace(x)
    if x.ndim == 0:
        return x.copy(), xp.zeros((), "int64")
    moved = xp.moveaxis(x, axis, -1)
    size = moved.shape[-1]
    if 0 < 4 * k < size:  # choose them before sorting them; the earliest first among equals
        pivot = size - k if largest else k - 1
        order = xp.argpartition(moved, pivot, axis=-1)
        order = xp.sort(order[..., pivot:] if largest else order[..., :k], axis=-1)
        chosen = xp.take_along_axis(moved, order, axis=-1)
        inner = argsort_arrays(chosen, axis=-1, descending=largest)
        order = xp.take_along_axis(order, inner, axis=-1)
    else:
        order = argsort_arrays(moved, axis=-1, descending=largest)[..., :k]
    values = xp.take_along_axis(moved, order, axis=-1)
    return xp.moveaxis(values, -1, axis), xp.moveaxis(order, -1, axis)


@topk.gradient("x")
def topk_dx(y, x, *, k, axis, largest):
    shape, indices = x.shape, y[1]
    if not shape:
        return lambda dy: dy[0]
    return lambda dy: take_along_axis_dx(dy[0], indices, shape=shape, axis=axis)


@topk.sampled_by
def topk_samples(rng):
    x = rng.permutation(60).reshape(3, 20).astype(float) / 4
    yield (x,), {"k": 3}
    yield (x,), {"k": 9, "largest": False}
    yield (x,), {"k": 2, "axis": 0, "largest": False}
    yield (x[:, :0],), {"k": 0}


# -- searchsorted ----------------------------------------------------------------------


@searchsorted.outlined_by
def searchsorted_outline(ordered, values, *, side="left"):
    """Where each value belongs (i64): in one sorted row, or each row of values in its own."""
    if ordered.ndim != 1 and (not ordered.ndim or ordered.shape[:-1] != values.shape[:-1]):
        raise ShapeError(
            f"searchsorted: one sorted row, or as many as values has\n"
            f"  ordered  {ordered.shape}\n  values   {values.shape}"
        )
    return values.like(scalar_type=I64)


@searchsorted.kernel(NUMPY, CUPY)
def searchsorted_arrays(ordered, values, *, side):
    xp = namespace(ordered)
    if ordered.ndim == 1:
        return xp.searchsorted(ordered, values, side=side)
    rows, wanted = ordered.reshape(-1, ordered.shape[-1]), values.reshape(-1, values.shape[-1])
    found = [xp.searchsorted(row, each, side=side) for row, each in zip(rows, wanted, strict=True)]
    return xp.stack(found).reshape(values.shape)


@searchsorted.sampled_by
def searchsorted_samples(rng):
    ordered = np.sort(rng.integers(0, 9, size=(3, 6)).astype(float))
    values = rng.integers(0, 9, size=(3, 4)).astype(float)
    for side in ("left", "right"):
        yield (ordered[0], values), {"side": side}
        yield (ordered, values), {"side": side}
