"""Resampling: an axis brought to another size, each new value a weighted sum of few old ones.

Modes: "nearest", "nearest_exact" (by the middles of the elements), "linear", "cubic" (Keys, 1981,
with a = -3/4), "area" (the mean of what a new value covers), and "cover" (all that each of `step`
areas covers, one area after the other, as wide as the widest: its last element comes again where
one is narrower). Positions are at the middles of elements, or with `corners` at the first and last
element of both; all as torch's interpolate.
"""

from functools import lru_cache
from math import floor
from typing import Any

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..errors import SettingsError
from ..op import Op
from .axes import axis_of
from .declare import asked

resample = Op("resample", "x", floats=True)
resample_dx = Op("resample_dx", "dy")

MODES = ("nearest", "nearest_exact", "linear", "cubic", "area", "cover")


def area(i, old, new):
    """Where what a new element covers begins and ends."""
    return i * old // new, -(-(i + 1) * old // new)


def widest(old, new):
    """How many elements the widest area covers."""
    return max(stop - start for start, stop in (area(i, old, new) for i in range(new)))


@lru_cache(maxsize=256)
def weights(old, new, mode, corners, step):
    """(new, old): how much each old element counts for each new one."""
    table = np.zeros((new, old))
    apart = (old - 1) / max(new - 1, 1) if corners else step or old / new
    for i in range(new):
        if mode in ("nearest", "nearest_exact"):
            place = i if mode == "nearest" else i + 0.5
            table[i, min(floor(place * apart), old - 1)] = 1
        elif mode == "area":
            start, stop = area(i, old, new)
            table[i, start:stop] = 1 / (stop - start)
        elif mode == "cover":
            start, stop = area(i * step // new, old, step)
            table[i, min(start + i % (new // step), stop - 1)] = 1
        else:
            place = i * apart if corners else (i + 0.5) * apart - 0.5
            place = max(place, 0.0) if mode == "linear" else place
            first = min(floor(place), old - 1)
            for j, share in _shares(mode, place - first):
                table[i, min(max(first + j, 0), old - 1)] += share
    return table


def _shares(mode, t):
    """(Steps from the element before a place, how much it counts), t beyond that element."""
    if mode == "linear":
        return (0, 1 - t), (1, t)
    a = -0.75
    near = [(a + 2) * u**3 - (a + 3) * u**2 + 1 for u in (t, 1 - t)]
    far = [a * u**3 - 5 * a * u**2 + 8 * a * u - 4 * a for u in (1 + t, 2 - t)]
    return (-1, far[0]), (0, near[0]), (1, near[1]), (2, far[1])


@lru_cache(maxsize=256)
def _taps(xp, dtype, transposed, *key):
    """The table row by row: [(positions, weights)] of the first, second, ... that count."""
    table = weights(*key).T if transposed else weights(*key)
    counts = (table != 0).sum(axis=1)
    order = np.argsort(table == 0, axis=1, kind="stable")  # those that count come first
    found = []
    for i in range(max(int(counts.max(initial=0)), 1)):
        at = order[:, i]
        share = np.take_along_axis(table, at[:, None], axis=1)[:, 0]
        found.append((xp.asarray(at), xp.asarray(share.astype(dtype)), bool((share == 0).any())))
    return found


def _summed(x, axis, transposed, *key):
    """The sum of taps along an axis; elements that do not count are not looked at."""
    xp, at = namespace(x), axis % x.ndim
    total: Any = None
    for positions, share, has_gaps in _taps(xp, x.dtype, transposed, *key):
        share = share.reshape(-1, *[1] * (x.ndim - at - 1))
        term = xp.take(x, positions, axis=at) * share
        if has_gaps:
            term = xp.where(share != 0, term, x.dtype.type(0))
        total = term if total is None else total + term
    return total


@resample.outlined_by
def resample_outline(x, *, axis, size, mode="linear", corners=False, step=None):
    """`step`: how far apart new elements lie, where it is not the ratio of the sizes."""
    at = axis_of("resample", x.ndim, axis)
    if mode not in MODES or size < 1 or x.shape[at] < 1:
        raise SettingsError(
            f"resample: an axis of {x.shape[at]} cannot be brought to {size} by {mode!r}\n"
            f"  modes  {', '.join(MODES)}"
        )
    return x.like(shape=(*x.shape[:at], size, *x.shape[at + 1 :]))


@resample.kernel(NUMPY, CUPY)
def resample_arrays(x, *, axis, size, mode, corners, step):
    return _summed(x, axis, False, x.shape[axis], size, mode, corners, step)


@resample.gradient("x")
def resample_gradient(y, x, *, axis, size, mode, corners, step):
    old = x.shape[axis]
    return lambda dy: resample_dx(dy, axis=axis, old=old, mode=mode, corners=corners, step=step)


@resample_dx.outlined_by
def resample_dx_outline(dy, *, axis, old, mode, corners, step):
    at = axis_of("resample_dx", dy.ndim, axis)
    dx = dy.like(shape=(*dy.shape[:at], old, *dy.shape[at + 1 :]))
    resample_outline(dx, axis=axis, size=dy.shape[at], mode=mode)
    return dx


@resample_dx.kernel(NUMPY, CUPY)
def resample_dx_arrays(dy, *, axis, old, mode, corners, step):
    return _summed(dy, axis, True, old, dy.shape[axis], mode, corners, step)


@resample_dx.gradient("dy")
def resample_dx_ddy(dx, dy, *, axis, old, mode, corners, step):
    new = dy.shape[axis]
    return lambda ddx: resample(ddx, axis=axis, size=new, mode=mode, corners=corners, step=step)


@resample.sampled_by
def resample_samples(rng):
    for shape, settings in (
        ((2, 5), {"axis": 1, "size": 8}),
        ((2, 5, 3), {"axis": 1, "size": 10, "mode": "nearest"}),
        ((3, 5), {"axis": -1, "size": 3, "mode": "nearest_exact"}),
        ((3, 6), {"axis": -1, "size": 4, "mode": "cubic", "corners": True}),
        ((7, 2), {"axis": 0, "size": 3, "mode": "area"}),
        ((4, 2), {"axis": 0, "size": 6, "step": 0.6}),
        ((7, 2), {"axis": 0, "size": 9, "mode": "cover", "step": 3}),
    ):
        yield (rng.normal(size=shape),), settings


asked(resample_dx, resample)


# -- images and their like ---------------------------------------------------------------


def upsample(
    x: Any, *, size: Any = None, scale: Any = None, mode: str = "nearest", corners: bool = False
) -> Any:
    """All axes after N and C brought to `size`, or `scale` times as long: (N, C, ...)."""
    count = len(x.shape) - 2
    given = size if scale is None else scale
    each = (given,) * count if isinstance(given, int | float) else tuple(given or ())
    if (size is None) == (scale is None) or len(each) != count or count < 1:
        raise SettingsError(
            f"upsample: give size or scale, one number or one for each axis after N and C\n"
            f"  x  {tuple(x.shape)}\n  size   {size}\n  scale  {scale}"
        )
    for axis, wanted in enumerate(each, 2):
        step = None if scale is None else 1 / wanted
        new = wanted if scale is None else floor(x.shape[axis] * wanted)
        x = resample(x, axis=axis, size=new, mode=mode, corners=corners, step=step)
    return x
