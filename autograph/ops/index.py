"""Indexing by ints, slices, newaxis and ellipsis: views, and assignment to them."""

from operator import index as index_of
from typing import Any

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..errors import IndexRangeError, ScalarTypeError, SettingsError, ShapeError
from ..op import Op
from ..outline import STRIDED, Outline
from ..scalar_type import ScalarType

index = Op("index", "x", view=True)
index_dx = Op("index_dx", "dy")
index_accumulate = Op("index_accumulate", "x dy", writes="x", outputs="")
assign = Op("assign", "x y", writes="x", outputs="", promotes="")

# -- index: ints, slices, newaxis, ellipsis ------------------------------------------


@index.settings_by
def index_settings(*, key):
    """A key as nested tuples, since slices cannot be looked up in a table."""
    return {"key": frozen_key(key)}


def frozen_key(key):
    """A key in a form that compares and hashes: ("int", 3), ("slice", a, b, c), ..."""
    frozen: list[tuple[Any, ...]] = []
    for each in key if isinstance(key, tuple) else (key,):
        if each is None:
            frozen.append(("new",))
        elif each is Ellipsis:
            frozen.append(("rest",))
        elif isinstance(each, tuple):
            frozen.append(each)
        elif isinstance(each, slice):
            frozen.append(("slice", *map(_plain_int, (each.start, each.stop, each.step))))
        else:
            frozen.append(("int", _plain_int(each)))
    return tuple(frozen)


def _plain_int(value):
    try:
        return None if value is None else index_of(value)
    except TypeError:
        raise IndexRangeError(
            f"index: a {type(value).__name__} is no index\n  write an int, a slice, or a mask"
        ) from None


def thawed_key(key):
    """The key as NumPy takes it."""
    words: dict[str, Any] = {
        "new": lambda: None, "rest": lambda: Ellipsis, "slice": slice, "int": int,
    }  # fmt: skip
    return tuple(words[word](*values) for word, *values in key)


@index.outlined_by
def index_outline(x, *, key):
    return Outline(_indexed_shape(x.shape, key), x.scalar_type, x.device, STRIDED)


def _indexed_shape(shape, key):
    used = sum(word in ("int", "slice") for word, *_ in key)
    if used > len(shape) or sum(word == "rest" for word, *_ in key) > 1:
        raise IndexRangeError(
            f"index: {used} indices for {len(shape)} axes\n  x    {shape}\n  key  {thawed_key(key)}"
        )
    if not any(word == "rest" for word, *_ in key):
        key = (*key, ("rest",))
    sizes, axis = [], 0
    for word, *values in key:
        if word == "new":
            sizes.append(1)
        elif word == "rest":
            rest = len(shape) - used
            sizes.extend(shape[axis : axis + rest])
            axis += rest
        elif word == "slice":
            if values[2] == 0:
                raise SettingsError("index: a slice has step 0\n  write a step of 1 or more")
            sizes.append(len(range(*slice(*values).indices(shape[axis]))))
            axis += 1
        else:
            if not -shape[axis] <= values[0] < shape[axis]:
                raise IndexRangeError(
                    f"index: {values[0]} is out of range for axis {axis}\n"
                    f"  x  {shape}\n  write {-shape[axis]} to {shape[axis] - 1}"
                )
            axis += 1
    return tuple(sizes)


@index.kernel(NUMPY, CUPY, halves=True)
def index_arrays(x, *, key):
    whole = key if any(word == "rest" for word, *_ in key) else (*key, ("rest",))
    return x[thawed_key(whole)]  # with an ellipsis a single element is a view as well


@index.gradient("x", into=True)
def index_gradient(y, x, *, key):
    shape = x.shape

    def add_part(dy, so_far):
        if so_far is None:
            return index_dx(dy, shape=shape, key=key)
        index_accumulate(so_far, dy, key=key)
        return so_far

    return add_part


@index.sampled_by
def index_samples(rng):
    x = rng.normal(size=(4, 5, 3))
    yield (x,), {"key": (slice(1, None, 2), None, Ellipsis, -1)}
    yield (x,), {"key": (slice(None, None, -1), slice(4, 0, -2))}
    yield (x,), {"key": (2, 1, 0)}
    yield (x,), {"key": (slice(0, 0),)}


@index_dx.settings_by
def index_dx_settings(*, shape, key):
    return {"shape": tuple(shape), **index_settings(key=key)}


@index_dx.outlined_by
def index_dx_outline(dy, *, shape, key):
    return dy.like(shape=shape)


@index_dx.kernel(NUMPY, CUPY, halves=True)
def index_dx_arrays(dy, *, shape, key):
    dx = namespace(dy).zeros(shape, dy.dtype)
    dx[thawed_key(key)] = dy
    return dx


@index_dx.gradient("dy")
def index_dx_ddy(dx, dy, *, shape, key):
    return lambda ddx: index(ddx, key=key)


index_accumulate.settings_by(index_settings)


@index_accumulate.outlined_by
def index_accumulate_outline(x, dy, *, key):
    return ()


@index_accumulate.kernel(NUMPY, CUPY, halves=True)
def index_accumulate_arrays(x, dy, *, key):
    x[thawed_key(key)] += dy


@index_accumulate.sampled_by
def index_accumulate_samples(rng):
    yield (rng.normal(size=(3, 4)), rng.normal(size=(2, 4))), {"key": (slice(0, 2),)}


# -- assign ----------------------------------------------------------------------------


@assign.settings_by
def assign_settings(*, key=()):
    return index_settings(key=key)


@assign.outlined_by
def assign_outline(x, y, *, key):
    refuse_part("assign", x, _indexed_shape(x.shape, key), y)
    return ()


def refuse_part(op, x, part, y):
    """Refuse a y that does not broadcast to the part of x that it is written to."""
    try:
        fits = np.broadcast_shapes(part, y.shape) == part
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"{op}: y does not fit the part of x\n"
            f"  x     {x.shape}\n  part  {part}\n  y     {y.shape}"
        )


@assign.kernel(NUMPY, CUPY, halves=True)
def assign_arrays(x, y, *, key):
    write(x, thawed_key(key), y)


def write(x, key, y):
    """x[key] = y, refused where a number does not fit."""
    try:
        x[key] = y
    except OverflowError:
        raise ScalarTypeError(
            f"assign: {y} does not fit {ScalarType.of(x)}\n  cast the tensor first: x.cast('i64')"
        ) from None


@assign.sampled_by
def assign_samples(rng):
    yield (rng.normal(size=(3, 4)), rng.normal(size=(4,))), {"key": (slice(0, 2),)}


# -- index tensors ---------------------------------------------------------------------


def check_range(op, indices, size, what="index"):
    """Refuse indices outside -size..size-1, on the host where looking costs no wait."""
    indices = np.asarray(indices) if isinstance(indices, int) else indices
    if isinstance(indices, np.ndarray) and indices.size:
        wrong = (indices >= size) | (indices < -size)
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise IndexRangeError(
                f"{op}: {what} {indices[place]} at {place} is out of range\n"
                f"  write {-size} to {size - 1}"
            )


def refuse_float_indices(op, indices):
    """Refuse indices that are not whole numbers."""
    if indices.scalar_type.is_float or indices.scalar_type.kind == "bool":
        raise ScalarTypeError(
            f"{op}: indices are {indices.scalar_type}\n  write integers: indices.cast('i64')"
        )
