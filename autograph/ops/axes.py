"""Axes and pairs as users write them, in the one form that rules see."""

from operator import index
from typing import Any

from ..errors import IndexRangeError, SettingsError

LARGE = 1 << 31  # sizes are smaller


def axes_of(op: str, ndim: int, axis: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """Every axis that `axis` names, not negative, in rising order."""
    given = range(ndim) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
    found = sorted(axis_of(op, ndim, each) for each in given)
    if len(set(found)) < len(found):
        raise SettingsError(f"{op}: axis {axis} names an axis twice\n  write each axis once")
    return tuple(found)


def axis_of(op: str, ndim: int, axis: int) -> int:
    """One axis, not negative; a 0-d array has axis 0 and -1, as in torch."""
    limit = max(ndim, 1)
    given: Any = None if isinstance(axis, bool) else axis  # NumPy's ints are ints too
    try:
        axis = index(given)
    except TypeError:
        raise SettingsError(
            f"{op}: axis is {axis!r}\n  write an int, a tuple of ints or None"
        ) from None
    if not -limit <= axis < limit:
        raise IndexRangeError(
            f"{op}: axis {axis} is out of range\n  x has {ndim} axes: write {-limit} to {limit - 1}"
        )
    return axis % limit


def pair(op: str, name: str, value: int | tuple[int, int], least: int = 1) -> tuple[int, int]:
    """Height and width from one number or two."""
    height, width = each_axis(op, name, value, 2, least)
    return height, width


def each_axis(
    op: str, name: str, value: int | tuple[int, ...], count: int, least: int = 1
) -> tuple[int, ...]:
    """A number for each of so many axes, from one or from as many."""
    try:
        found = tuple(map(index, value if isinstance(value, tuple | list) else (value,) * count))
    except TypeError:
        found = ()
    if len(found) != count or not all(least <= each < LARGE for each in found):
        more = {2: ", or a pair of them", 3: ", or three of them"}.get(count, "")
        raise SettingsError(f"{op}: {name} is {value!r}\n  write an int of at least {least}{more}")
    return found
