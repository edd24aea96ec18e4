"""Index tensors: slices of x by index along one axis or several, and what is written there."""

from math import prod

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..errors import SettingsError, ShapeError
from ..op import Op
from ..scalar_type import I64
from .axes import axis_of
from .declare import adjoint
from .index import check_range, refuse_float_indices, refuse_part, write
from .summation import PLAIN

take = Op("take", "x indices", promotes="x")
index_add = Op("index_add", "x indices y", promotes="x y")
flat_index = Op("flat_index", "*indices", promotes="")
index_at = Op("index_at", "x places", promotes="x")
assign_at = Op("assign_at", "x y places", writes="x", outputs="", promotes="")


def added_rows(size, indices, rows):
    """(size, ...) with each row added at its index; repeated indices add up in their order."""
    if namespace(rows) is not np:
        from .batch_rows.cuda_added import added_rows_cuda

        return added_rows_cuda(size, indices, rows)
    shape = (size, *rows.shape[1:])
    if rows.dtype.kind != "f":
        total = np.zeros(shape, rows.dtype)
        np.add.at(total, indices, rows)
        return total
    if rows.ndim == 1:
        check_range("take", indices, size)  # or NumPy writes anywhere, at the largest i64
    indices = np.where(indices < 0, indices + size, indices).astype(np.int64, copy=False)
    if rows.ndim == 1:
        return np.bincount(indices, rows, minlength=size).astype(rows.dtype)
    total = np.zeros(shape, rows.dtype)
    if not indices.size:
        return total
    order = np.argsort(indices, kind="stable")
    ordered = indices[order]
    first = np.empty(len(order), np.bool_)
    first[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    starts = first.nonzero()[0]
    wide = np.float64 if len(order) > PLAIN * len(starts) else rows.dtype
    total[ordered[starts]] = np.add.reduceat(rows[order], starts, axis=0, dtype=wide)
    return total


# -- take: one axis --------------------------------------------------------------------


@take.outlined_by
def take_outline(x, indices, *, axis=0):
    """(..., N, ...) by indices of any shape I -> (..., *I, ...)."""
    at = axis_of("take", x.ndim, axis)
    refuse_float_indices("take", indices)
    if x.ndim == 0:
        raise ShapeError(f"take: x has no axis to take from\n  x        {x.shape}")
    return x.like(shape=(*x.shape[:at], *indices.shape, *x.shape[at + 1 :]))


@take.kernel(NUMPY, CUPY, halves=True)
def take_arrays(x, indices, *, axis):
    check_range("take", indices, x.shape[axis])
    return namespace(x).take(x, indices, axis=axis)


@take.sampled_by
def take_samples(rng):
    yield (rng.normal(size=(4, 3)), np.array([[0, 3, 0], [1, -1, 2]])), {"axis": 0}
    yield (rng.normal(size=(4, 3)), np.array(1)), {"axis": -1}
    yield (rng.normal(size=(4, 3)), np.array([], np.int64)), {"axis": 1}
    yield (rng.normal(size=4), np.array([3, 3, 1])), {}


take_dx = adjoint(take, "take_dx")


@take_dx.kernel(NUMPY, CUPY)
def take_dx_arrays(dy, indices, *, shape, axis):
    """Repeated indices add up."""
    xp, at = namespace(dy), axis % len(shape)
    flat = dy.reshape(*shape[:at], indices.size, *shape[at + 1 :])
    rows = added_rows(shape[at], indices.reshape(-1), xp.moveaxis(flat, at, 0))
    return xp.moveaxis(rows, 0, at)


# -- index_add -------------------------------------------------------------------------


@index_add.outlined_by
def index_add_outline(x, indices, y, *, axis=0):
    """x with slices of y added at indices (M,) along an axis; repeated indices add up."""
    at = axis_of("index_add", x.ndim, axis)
    refuse_float_indices("index_add", indices)
    part = (*x.shape[:at], *indices.shape, *x.shape[at + 1 :])
    if indices.ndim != 1 or not x.ndim or y.shape != part:
        raise ShapeError(
            f"index_add: one slice of y for each index\n  x        {x.shape}  axis {axis}\n"
            f"  indices  {indices.shape}\n  y        {y.shape}"
        )
    return x.like()


@index_add.kernel(NUMPY, CUPY)
def index_add_arrays(x, indices, y, *, axis):
    xp = namespace(x)
    check_range("index_add", indices, x.shape[axis])
    rows = added_rows(x.shape[axis], indices, xp.moveaxis(y, axis, 0))
    return x + xp.moveaxis(rows, 0, axis)


@index_add.gradient("x")
def index_add_dx(result, x, indices, y, *, axis):
    return lambda dy: dy


@index_add.gradient("y")
def index_add_dy(result, x, indices, y, *, axis):
    return lambda dy: take(dy, indices, axis=axis)


@index_add.sampled_by
def index_add_samples(rng):
    x, indices = rng.normal(size=(4, 3)), np.array([0, 3, 0, -1])
    yield (x, indices, rng.normal(size=(4, 3))), {}
    yield (x, np.array([2, 0, -1]), rng.normal(size=(4, 3))), {"axis": 1}
    yield (x[0], np.array([2, 2]), rng.normal(size=2)), {}


# -- several axes: places count through them as through one --------------------------------


@flat_index.outlined_by
def flat_index_outline(*indices, sizes):
    """Places (i64) in an array of these sizes, counted through, from an index tensor for each;
    they broadcast."""
    for each in indices:
        refuse_float_indices("index", each)
    try:
        shape = np.broadcast_shapes(*[each.shape for each in indices])
    except ValueError:
        sides = "\n".join(f"  indices[{i}]  {each.shape}" for i, each in enumerate(indices))
        raise ShapeError(f"index: index tensors do not broadcast\n{sides}") from None
    return indices[0].like(shape=shape, scalar_type=I64)


@flat_index.kernel(NUMPY, CUPY)
def flat_index_arrays(*indices, sizes):
    places = 0
    for each, size in zip(indices, sizes, strict=True):
        check_range("index", each, size)
        each = each.astype("int64")
        places = places * size + namespace(each).where(each < 0, each + size, each)
    return places


@flat_index.sampled_by
def flat_index_samples(rng):
    yield (np.array([[0], [2]]), np.array([1, 1, -1])), {"sizes": (3, 4)}
    yield (np.array([], np.int64),), {"sizes": (3,)}


def _shape_at(shape, places, axes):
    """The shape of what is at places: they stand where the axes are, in front if these are not
    neighbours."""
    if not axes or [*axes] != sorted({*axes} & {*range(len(shape))}):
        raise SettingsError(f"index: axes {axes} are not some of {len(shape)} in rising order")
    rest = [size for i, size in enumerate(shape) if i not in axes]
    at = _first(axes)
    return (*rest[:at], *places, *rest[at:])


def _first(axes):
    return axes[0] if list(axes) == list(range(axes[0], axes[0] + len(axes))) else 0


def _key(shape, places, axes):
    """The key, as NumPy takes it, of places in some axes."""
    key = [slice(None)] * len(shape)
    found = namespace(places).unravel_index(places, tuple(shape[at] for at in axes))
    for at, each in zip(axes, found, strict=True):
        key[at] = each
    return tuple(key)


@index_at.outlined_by
def index_at_outline(x, places, *, axes):
    """What is at `places`, counted through the axes (in rising order) as through one."""
    return x.like(shape=_shape_at(x.shape, places.shape, axes))


@index_at.kernel(NUMPY, CUPY, halves=True)
def index_at_arrays(x, places, *, axes):
    return x[_key(x.shape, places, axes)]


@index_at.sampled_by
def index_at_samples(rng):
    x, places = rng.normal(size=(3, 4, 5)), np.array([[0, 11, 4], [2, 2, 2]])
    for axes in ((0, 1), (1, 2), (0, 2), (1,)):
        yield (x, places % 4 if axes == (1,) else places), {"axes": axes}


index_at_dx = adjoint(index_at, "index_at_dx")


@index_at_dx.kernel(NUMPY, CUPY)
def index_at_dx_arrays(dy, places, *, shape, axes):
    """Repeated places add up."""
    xp, start = namespace(dy), _first(axes)
    sizes = [shape[at] for at in axes]
    rest = [size for i, size in enumerate(shape) if i not in axes]
    front = tuple(range(places.ndim))
    moved = xp.moveaxis(dy, tuple(start + i for i in front), front)
    rows = added_rows(prod(sizes), places.reshape(-1), moved.reshape(places.size, *rest))
    return xp.moveaxis(rows.reshape(*sizes, *rest), tuple(range(len(axes))), axes)


@assign_at.outlined_by
def assign_at_outline(x, y, places, *, axes):
    """x at `places`, counted through the axes as through one, = y. Of several y for one place
    the last one stays."""
    refuse_part("assign", x, _shape_at(x.shape, places.shape, axes), y)
    return ()


@assign_at.kernel(NUMPY, CUPY, halves=True)
def assign_at_arrays(x, y, places, *, axes):
    write(x, _key(x.shape, places, axes), y)


@assign_at.sampled_by
def assign_at_samples(rng):
    x, places = rng.normal(size=(3, 4, 5)), np.array([[0, 11, 4], [2, 3, 1]])
    yield (x, rng.normal(size=(2, 3, 5)), places), {"axes": (0, 1)}
    yield (x, rng.normal(size=(2, 3, 1)), places), {"axes": (0, 2)}
    yield (x, 2.0, places), {"axes": (1, 2)}
