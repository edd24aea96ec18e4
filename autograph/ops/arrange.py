"""Rearrangements made of views: axes moved and joined, arrays stacked, cut, turned, repeated,
channels laid out as pixels."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ..device import Device
from ..errors import SettingsError, ShapeError
from ..op import PLANS
from .axes import axes_of, axis_of
from .broadcast import broadcast_to
from .index import index
from .shape import concat, permute_dims, reshape
from .take import take

# -- axes ------------------------------------------------------------------------------


def flatten(x: Any, *, start: int = 0, end: int = -1) -> Any:
    """The axes from `start` to `end` as one."""
    return _flattening(tuple(x.shape), start, end)(x)


@lru_cache(PLANS)
def _flattening(shape: tuple[int, ...], start: int, end: int) -> Callable[..., Any]:
    sizes = shape or (1,)
    first, last = (axis_of("flatten", len(sizes), each) for each in (start, end))
    if first > last:
        raise SettingsError(f"flatten: start {start} comes after end {end}\n  x  {shape}")
    return reshape.fixed(shape=(*sizes[:first], prod(sizes[first : last + 1]), *sizes[last + 1 :]))


def unflatten(x: Any, *, axis: int, shape: Sequence[int]) -> Any:
    """One axis as several, of which one size may be -1.

    >>> unflatten(np.zeros((2, 12)), axis=1, shape=(3, -1)).shape
    (2, 3, 4)
    """
    at = axis_of("unflatten", len(x.shape), axis)
    sizes = list(shape)
    known = prod(size for size in sizes if size != -1)
    if sizes.count(-1) == 1 and known and x.shape[at] % known == 0:
        sizes[sizes.index(-1)] = x.shape[at] // known
    if prod(sizes) != x.shape[at] or min(sizes, default=0) < 0:
        raise ShapeError(
            f"unflatten: axis {axis} does not fill the shape\n  x      {x.shape}\n  shape  {shape}"
        )
    return reshape(x, shape=(*x.shape[:at], *sizes, *x.shape[at + 1 :]))


def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """Axes moved to other places, the rest in their order."""
    both = [
        tuple(each) if isinstance(each, tuple | list) else (each,) for each in (source, destination)
    ]
    ndim = len(x.shape)
    before, after = ([axis_of("moveaxis", ndim, each) for each in axes] for axes in both)
    if len(before) != len(after) or len({*before}) < len(before) or len({*after}) < len(after):
        raise SettingsError(
            f"moveaxis: {source} cannot go to {destination}\n  write as many axes, each once"
        )
    order = [i for i in range(ndim) if i not in before]
    for to, each in sorted(zip(after, before, strict=True)):
        order.insert(to, each)
    return permute_dims(x, axes=tuple(order))


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """`permute_dims`, by NumPy's name; reversed if no axes are given."""
    return permute_dims(x, axes=None if axes is None else tuple(axes))


def swapaxes(x: Any, first: int, second: int) -> Any:
    """Two axes exchanged."""
    order = list(range(len(x.shape)))
    a, b = (axis_of("swapaxes", len(order), each) for each in (first, second))
    if order:
        order[a], order[b] = b, a
    return permute_dims(x, axes=tuple(order))


def squeeze(x: Any, *, axis: int | tuple[int, ...] | None = None) -> Any:
    """Without axes of size 1: all of them, or those named, which must be of size 1."""
    if axis is None:
        return reshape(x, shape=tuple(size for size in x.shape if size != 1))
    axes = axes_of("squeeze", len(x.shape), axis) if x.shape else ()
    wrong = [i for i in axes if x.shape[i] != 1]
    if wrong:
        raise ShapeError(f"squeeze: axis {wrong[0]} has size {x.shape[wrong[0]]}\n  x  {x.shape}")
    return reshape(x, shape=tuple(size for i, size in enumerate(x.shape) if i not in axes))


def expand_dims(x: Any, *, axis: int | tuple[int, ...] = 0) -> Any:
    """With axes of size 1 at these places of the result."""
    count = len(axis) if isinstance(axis, tuple | list) else 1
    axes = axes_of("expand_dims", len(x.shape) + count, axis)
    sizes = iter(x.shape)
    shape = tuple(1 if i in axes else next(sizes) for i in range(len(x.shape) + count))
    return reshape(x, shape=shape)


# -- joining and cutting ---------------------------------------------------------------


def stack(arrays: Sequence[Any], *, axis: int = 0) -> Any:
    """Arrays of one shape along a new axis."""
    if not arrays:
        raise ShapeError("stack: there is nothing to join\n  write  stack([a, b], axis=0)")
    if any(each.shape != arrays[0].shape for each in arrays):
        sides = "\n".join(f"  arrays[{i}]  {each.shape}" for i, each in enumerate(arrays))
        raise ShapeError(f"stack: shapes differ\n{sides}")
    at = axis_of("stack", len(arrays[0].shape) + 1, axis)
    return concat(*(expand_dims(each, axis=at) for each in arrays), axis=at)


def _axis_to_cut(op: str, x: Any, axis: int) -> int:
    if not x.shape:
        raise ShapeError(f"{op}: x has no axis to cut\n  x  ()")
    return axis_of(op, len(x.shape), axis)


def _part(x: Any, axis: int, *bounds: int | None) -> Any:
    return index(x, key=((slice(None),) * axis + (slice(*bounds),)))


def split(x: Any, parts: int | Sequence[int], *, axis: int = 0) -> tuple[Any, ...]:
    """Views of x cut along an axis: into equal parts, or before these indices (as in NumPy).

    >>> [each.shape for each in split(np.zeros(10), [2, 5])]
    [(2,), (3,), (5,)]
    """
    at = _axis_to_cut("split", x, axis)
    size = x.shape[at]
    if isinstance(parts, int | np.integer):
        if parts < 1 or size % parts:
            raise ShapeError(
                f"split: axis {axis} of size {size} has no {parts} equal parts\n"
                f"  write  chunk(x, {parts}, axis={axis}), or the indices to cut before"
            )
        parts = [i * (size // int(parts)) for i in range(1, parts)]
    return tuple(_part(x, at, low, high) for low, high in pairwise([None, *parts, None]))


def chunk(x: Any, parts: int, *, axis: int = 0) -> tuple[Any, ...]:
    """At most so many views of x along an axis, equal but for the last."""
    if parts < 1:
        raise SettingsError(f"chunk: {parts} parts\n  write 1 or more")
    at = _axis_to_cut("chunk", x, axis)
    step = max(1, -(-x.shape[at] // parts))
    return tuple(_part(x, at, i, i + step) for i in range(0, max(1, x.shape[at]), step))


def unbind(x: Any, *, axis: int = 0) -> tuple[Any, ...]:
    """The views of x at each index of an axis."""
    at = _axis_to_cut("unbind", x, axis)
    return tuple(index(x, key=((slice(None),) * at + (i,))) for i in range(x.shape[at]))


# -- turning and repeating -------------------------------------------------------------


def flip(x: Any, *, axis: int | tuple[int, ...] | None = None) -> Any:
    """A view that runs backwards along axes (all by default)."""
    axes = axes_of("flip", len(x.shape), axis) if x.shape else ()
    turned = slice(None, None, -1)
    return index(x, key=tuple(turned if i in axes else slice(None) for i in range(len(x.shape))))


def roll(x: Any, shift: int | Sequence[int], *, axis: int | Sequence[int] | None = None) -> Any:
    """Elements moved along axes, those that leave at one end coming in at the other; without
    an axis along the flat array."""
    if axis is None:
        if isinstance(shift, tuple | list):
            raise SettingsError("roll: several shifts want as many axes\n  write  axis=(0, 1)")
        return reshape(roll(reshape(x, shape=(-1,)), shift, axis=0), shape=x.shape)
    shifts, axes = (
        tuple(each) if isinstance(each, tuple | list) else (each,) for each in (shift, axis)
    )
    shifts = shifts * len(axes) if len(shifts) == 1 else shifts
    if len(shifts) != len(axes):
        raise SettingsError(f"roll: {len(shifts)} shifts for {len(axes)} axes")
    for by, each in zip(shifts, axes, strict=True):
        at = axis_of("roll", len(x.shape), each)
        cut = -by.__index__() % x.shape[at] if x.shape and x.shape[at] else 0
        if cut:
            x = concat(_part(x, at, cut, None), _part(x, at, None, cut), axis=at)
    return x


def tile(x: Any, repeats: int | Sequence[int]) -> Any:
    """The whole array repeated along each axis: `tile(x, (2, 3))`."""
    given = repeats if isinstance(repeats, tuple | list) else (repeats,)
    times = tuple(each.__index__() for each in given)  # NumPy's ints would overflow
    shape = (1,) * (len(times) - len(x.shape)) + tuple(x.shape)
    times = (1,) * (len(shape) - len(times)) + times
    between = [size for pair in zip(times, shape, strict=True) for size in pair]
    ones = [size for each in shape for size in (1, each)]
    repeated = broadcast_to(reshape(x, shape=tuple(ones)), shape=tuple(between))
    return reshape(repeated, shape=tuple(a * b for a, b in zip(times, shape, strict=True)))


def repeat(x: Any, repeats: int | Sequence[int], *, axis: int | None = None) -> Any:
    """Each element repeated in its place along an axis (or in the flat array).

    >>> repeat(np.array([1, 2]), 2)
    array([1, 1, 2, 2])
    """
    if axis is None:
        x, axis = reshape(x, shape=(-1,)), 0
    at = axis_of("repeat", len(x.shape), axis)
    size = x.shape[at]
    if not isinstance(repeats, int | np.integer):
        if len(repeats) != size:
            raise ShapeError(
                f"repeat: {len(repeats)} numbers for an axis of {size}\n  x  {x.shape}"
            )
        places = [i for i, times in enumerate(repeats) for _ in range(times)]
        indices = np.array(places, np.int64)
        device = x.device if hasattr(x, "outline") else Device.of(x)
        return take(x, device.put(indices), axis=at)
    repeats = repeats.__index__()
    wide = (*x.shape[: at + 1], repeats, *x.shape[at + 1 :])
    repeated = broadcast_to(expand_dims(x, axis=at + 1), shape=wide)
    return reshape(repeated, shape=(*x.shape[:at], size * repeats, *x.shape[at + 1 :]))


def meshgrid(*arrays: Any, indexing: str = "xy") -> tuple[Any, ...]:
    """Views of rows (N,), (M,), ... as the coordinates of a grid: (M, N) each with "xy", the
    first row along the second axis; (N, M) with "ij"."""
    if indexing not in ("xy", "ij") or any(len(each.shape) != 1 for each in arrays):
        raise SettingsError('meshgrid: give 1-d arrays, and indexing="xy" or "ij"')
    order = list(range(len(arrays)))
    if indexing == "xy" and len(arrays) > 1:
        order[:2] = 1, 0
    shape = [0] * len(arrays)
    for at, each in zip(order, arrays, strict=True):
        shape[at] = each.shape[0]
    rows = [
        reshape(each, shape=tuple(size if i == at else 1 for i, size in enumerate(shape)))
        for at, each in zip(order, arrays, strict=True)
    ]
    return tuple(broadcast_to(row, shape=tuple(shape)) for row in rows)


# -- channels as pixels ----------------------------------------------------------------


def pixel_shuffle(x: Any, *, factor: int) -> Any:
    """(N, C * factor², H, W) -> (N, C, H * factor, W * factor): channels laid out as pixels of a
    finer image (Shi and others, 2016)."""
    if len(x.shape) != 4 or x.shape[1] % (factor * factor):
        raise ShapeError(
            f"pixel_shuffle: the channels are not divided by factor²\n"
            f"  x       {tuple(x.shape)}  N C H W\n  factor  {factor}"
        )
    n, c, h, w = x.shape
    c //= factor * factor
    y = permute_dims(reshape(x, shape=(n, c, factor, factor, h, w)), axes=(0, 1, 4, 2, 5, 3))
    return reshape(y, shape=(n, c, h * factor, w * factor))


def pixel_unshuffle(x: Any, *, factor: int) -> Any:
    """(N, C, H * factor, W * factor) -> (N, C * factor², H, W): `pixel_shuffle` undone."""
    if len(x.shape) != 4 or x.shape[2] % factor or x.shape[3] % factor:
        raise ShapeError(
            f"pixel_unshuffle: height and width are not divided by the factor\n"
            f"  x       {tuple(x.shape)}  N C H W\n  factor  {factor}"
        )
    n, c, h, w = x.shape
    h, w = h // factor, w // factor
    y = permute_dims(reshape(x, shape=(n, c, h, factor, w, factor)), axes=(0, 1, 3, 5, 2, 4))
    return reshape(y, shape=(n, c * factor * factor, h, w))
