"""Elements put around an array: a constant, or its own values in one of three orders."""

from collections.abc import Sequence
from typing import Any

from ..backends import CUPY, NUMPY, namespace
from ..errors import SettingsError, ShapeError
from ..op import Op
from .broadcast import broadcast_to
from .index import index
from .shape import concat

MODES = "constant", "reflect", "replicate", "circular"

pad_constant = Op("pad_constant", "x")


@pad_constant.outlined_by
def pad_constant_outline(x, *, widths, value=0):
    """`value` around x, so many before and after along each axis."""
    return x.like(shape=tuple(a + size + b for (a, b), size in zip(widths, x.shape, strict=True)))


@pad_constant.kernel(NUMPY, CUPY, halves=True)
def pad_constant_arrays(x, *, widths, value):
    shape = tuple(a + size + b for (a, b), size in zip(widths, x.shape, strict=True))
    y = namespace(x).full(shape, value, x.dtype) if value else namespace(x).zeros(shape, x.dtype)
    y[_inside(x.shape, widths)] = x
    return y


def _inside(shape, widths):
    """The key of x in what was made of it."""
    return tuple(slice(a, a + size) for (a, _), size in zip(widths, shape, strict=True))


@pad_constant.gradient("x")
def pad_constant_dx(y, x, *, widths, value):
    inside = _inside(x.shape, widths)
    return lambda dy: index(dy, key=inside)


@pad_constant.sampled_by
def pad_constant_samples(rng):
    yield (rng.normal(size=(2, 3)),), {"widths": ((1, 0), (2, 3)), "value": 1.5}
    yield (rng.normal(size=(0, 2)),), {"widths": ((1, 1), (0, 0))}
    yield (rng.normal(size=()),), {"widths": ()}


def pad(
    x: Any,
    widths: int | Sequence[int | Sequence[int]],
    *,
    mode: str = "constant",
    value: float = 0,
) -> Any:
    """x with more elements around it.

    `widths` is for each axis (before, after) or one number for both; one number is for all axes.
    `mode`: "constant" (`value`), "reflect" (mirrored without the edge), "replicate" (the edge
    again) or "circular" (the other end).

    >>> import numpy as np
    >>> pad(np.array([1, 2, 3]), [(2, 1)], mode="reflect")
    array([3, 2, 1, 2, 3, 2])
    """
    ndim = len(x.shape)
    given = (widths,) * ndim if isinstance(widths, int) else widths
    pairs = tuple((each, each) if isinstance(each, int) else tuple(each) for each in given)
    if len(pairs) != ndim or any(len(each) != 2 or min(each) < 0 for each in pairs):
        raise SettingsError(
            f"pad: widths do not fit x\n  x       {x.shape}\n  widths  {widths}\n"
            f"  write (before, after) for each axis, 0 or more"
        )
    if mode not in MODES:
        raise SettingsError(f"pad: there is no mode {mode!r}\n  write one of  {', '.join(MODES)}")
    if mode == "constant":
        return pad_constant(x, widths=pairs, value=value)
    for axis, (before, after) in enumerate(pairs):
        if before or after:
            _refuse_widths(x.shape, axis, before, after, mode)
            parts = (_edge(x, axis, before, mode, 0), x, _edge(x, axis, after, mode, 1))
            x = concat(*(each for each in parts if each.shape[axis]), axis=axis)
    return x


def _refuse_widths(shape: tuple[int, ...], axis: int, before: int, after: int, mode: str) -> None:
    size = shape[axis]
    most = {"reflect": size - 1, "circular": size, "replicate": before + after if size else 0}[mode]
    if max(before, after) > most:
        raise ShapeError(
            f"pad: {mode} has no {max(before, after)} elements to put around axis {axis}\n"
            f"  x  {shape}\n  write {max(most, 0)} or less"
        )


def _edge(x: Any, axis: int, width: int, mode: str, end: int) -> Any:
    """What stands before (end 0) or after (end 1) x along an axis."""
    size, ahead = x.shape[axis], (slice(None),) * axis
    if mode == "replicate":
        last = index(x, key=(*ahead, slice(size - 1, size) if end else slice(0, 1)))
        return broadcast_to(last, shape=(*x.shape[:axis], width, *x.shape[axis + 1 :]))
    if mode == "circular":
        return index(x, key=(*ahead, slice(0, width) if end else slice(size - width, size)))
    part = slice(size - 1 - width, size - 1) if end else slice(1, width + 1)
    turned = index(x, key=(*ahead, part))
    return index(turned, key=(*ahead, slice(None, None, -1)))
