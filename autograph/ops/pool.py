"""Pooling over sequences, volumes, and whatever the size is, by way of 2-d pooling.

Shapes: x (N, C, L) or (N, C, D, H, W); adaptive pools take any number of axes after N and C and
give the size that is asked for: position i of P sees i * L // P to ceil((i + 1) * L / P).
"""

from __future__ import annotations

from math import prod
from typing import Any

from ..errors import SettingsError, ShapeError
from .cast import rounded_once
from .pool2 import max_pool2, mean_pool2
from .reduce import max, mean
from .resample import resample, widest
from .shape import reshape
from .windows import triple


def max_pool1(x: Any, *, filter: int, stride: int | None = None, padding: int = 0) -> Any:
    """The largest of each window: (N, C, L) -> (N, C, P)."""
    return _pool1("max_pool1", max_pool2, x, filter, stride, padding)


def mean_pool1(x: Any, *, filter: int, stride: int | None = None, padding: int = 0) -> Any:
    """The mean of each window, the zeros of the padding counted: (N, C, L) -> (N, C, P)."""
    return _pool1("mean_pool1", mean_pool2, x, filter, stride, padding)


def max_pool3(x: Any, *, filter: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The largest of each window: (N, C, D, H, W) -> (N, C, M, P, Q)."""
    return _pool3("max_pool3", max_pool2, x, filter, stride, padding)


def mean_pool3(x: Any, *, filter: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The mean of each window, the zeros of the padding counted: (N, C, D, H, W) -> ..."""
    settings = filter, stride, padding
    return rounded_once(lambda x: _pool3("mean_pool3", mean_pool2, x, *settings), x)


def _pool1(op, pool, x, filter, stride, padding):
    if len(x.shape) != 3:
        raise ShapeError(f"{op}: x has 3 axes\n  x  {tuple(x.shape)}  N C L")
    y = pool(
        reshape(x, shape=(*x.shape[:2], 1, x.shape[2])),
        filter=(1, filter),
        stride=(1, filter if stride is None else stride),
        padding=(0, padding),
    )
    return reshape(y, shape=(*y.shape[:2], y.shape[3]))


def _pool3(op, pool, x, filter, stride, padding):
    """Slice by slice, then in depth: the largest of the largest, the mean of the means."""
    if len(x.shape) != 5:
        raise ShapeError(f"{op}: x has 5 axes\n  x  {tuple(x.shape)}  N C D H W")
    k, *filter = triple(op, "filter", filter)
    sd, *stride = (k, *filter) if stride is None else triple(op, "stride", stride)
    pd, *padding = triple(op, "padding", padding, least=0)
    n, c, d, h, w = x.shape
    y = pool(
        reshape(x, shape=(n, c * d, h, w)),
        filter=tuple(filter),
        stride=tuple(stride),
        padding=tuple(padding),
    )
    p, q = y.shape[2:]
    y = pool(
        reshape(y, shape=(n, c, d, p * q)), filter=(k, 1), stride=(sd, 1), padding=(pd, 0)
    )
    return reshape(y, shape=(n, c, y.shape[2], p, q))


# -- whatever the size is ----------------------------------------------------------------


def global_max_pool(x: Any) -> Any:
    """The largest of each channel: (N, C, ...) -> (N, C); equal ones share the gradient."""
    return max(x, axis=tuple(range(2, len(x.shape))))


def global_mean_pool(x: Any) -> Any:
    """The mean of each channel: (N, C, ...) -> (N, C)."""
    return mean(x, axis=tuple(range(2, len(x.shape))))


def adaptive_mean_pool(x: Any, *, size: Any) -> Any:
    """The means of windows chosen so that (N, C, *size) comes out."""

    def means(x):
        for axis, wanted in _axes("adaptive_mean_pool", x, size):
            x = resample(x, axis=axis, size=wanted, mode="area")
        return x

    return rounded_once(means, x)


def adaptive_max_pool(x: Any, *, size: Any) -> Any:
    """The largest of windows chosen so that (N, C, *size) comes out; the first of equals."""
    for axis, wanted in reversed(_axes("adaptive_max_pool", x, size)):  # the last axis first
        length = x.shape[axis]
        width = widest(length, wanted)
        if length % wanted:
            x = resample(x, axis=axis, size=wanted * width, mode="cover", step=wanted)
        before, after = x.shape[:axis], x.shape[axis + 1 :]
        flat = reshape(x, shape=(prod(before), 1, wanted * width, prod(after)))
        x = reshape(max_pool2(flat, filter=(width, 1)), shape=(*before, wanted, *after))
    return x


def _axes(op, x, size):
    """(axis, wanted size) of each axis after N and C; None leaves one as it is."""
    count = len(x.shape) - 2
    sizes = (size,) * count if isinstance(size, int) or size is None else tuple(size)
    if count < 1 or len(sizes) != count:
        raise SettingsError(
            f"{op}: size does not fit the axes after N and C\n"
            f"  x     {tuple(x.shape)}\n  size  {size}"
        )
    return [
        (axis, wanted)
        for axis, wanted in enumerate(sizes, 2)
        if wanted is not None and wanted != x.shape[axis]
    ]
