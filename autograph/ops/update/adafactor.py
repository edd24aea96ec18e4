"""Adafactor's step: Adam's second moment kept as one row and one column of each matrix (Shazeer
and Stern, 2018)."""

from __future__ import annotations

from ...backends import CUPY, NUMPY, namespace
from .lamb import length_of
from .moving import finish, ready, update_op, update_samples

adafactor_update = update_op("adafactor_update", "rows? columns? squares?")


@adafactor_update.outlined_by
def adafactor_update_outline(
    *given, decay=-0.8, epsilon1=None, epsilon2=1e-3, clip=1.0, weight_decay=0.0, maximize=False
):
    return ()


@adafactor_update.kernel(NUMPY, CUPY, halves=True)
def adafactor_update_arrays(
    w, dw, step, rate, rows, columns, squares, master, *, decay, epsilon1, epsilon2, clip,
    weight_decay, maximize,
):  # fmt: skip
    """share = t ** decay;  rows and columns follow the means of dw² along an axis by share;
    way = dw / sqrt(rows @ columns / mean(rows)), no longer than clip * sqrt(size);
    w -= max(epsilon2, |w| / sqrt(size)) * min(rate, 1 / sqrt(t)) * way, t being step + 1."""
    xp = namespace(w)
    target, dw = ready(w, dw, master, maximize=maximize)
    dtype, t, root = target.dtype, (step + 1).astype(rate.dtype), w.size**0.5
    small = xp.finfo(dtype).eps if epsilon1 is None else epsilon1
    share = (t**decay).astype(dtype)
    length = xp.maximum(length_of(target) / root, epsilon2) * xp.minimum(rate, 1 / xp.sqrt(t))
    if weight_decay:
        target *= (1 - rate * weight_decay).astype(dtype)
    if rows is not None:
        rows += ((dw * dw).mean(axis=-1, keepdims=True) - rows) * share
        columns += ((dw * dw).mean(axis=-2, keepdims=True) - columns) * share
        variance = rows @ columns / xp.maximum(rows.mean(axis=-2, keepdims=True), small)
    else:
        squares += (dw * dw - squares) * share
        variance = squares
    way = dw / xp.sqrt(xp.maximum(variance, small * small))
    excess = xp.maximum(length_of(way) / (root * clip), 1.0)
    target -= (length / excess).astype(dtype) * way
    finish(w, master, step)


@adafactor_update.sampled_by
def adafactor_update_samples(rng):
    yield from update_samples((3, 1), (1, 4), "absent", settings=({}, {"weight_decay": 0.1}))(rng)
    yield from update_samples((2, 3, 1), (2, 1, 4), "absent", of=(2, 3, 4))(rng)
    yield from update_samples("absent", "absent", None)(rng)
