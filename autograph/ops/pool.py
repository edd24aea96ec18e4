"""Pooling over sequences, volumes, and whatever the size is, by way of 2-d pooling.

Shapes: x (N, C, L) or (N, C, D, H, W); adaptive pools take any number of axes after N and C and
give the size that is asked for: position i of P sees i * L // P to ceil((i + 1) * L / P).
"""

import builtins
from math import inf, prod
from typing import Any

from numpy import iinfo

from ..errors import SettingsError, ShapeError
from ..scalar_type import ScalarType
from .axes import each_axis
from .cast import rounded_once
from .elementwise import multiply
from .pad import pad_constant
from .pool2 import max_pool2, mean_pool2
from .reduce import max, mean
from .resample import resample, widest
from .shape import reshape
from .window_shares import window_shares
from .windows import windows


def max_pool1(x: Any, *, filter: int, stride: int | None = None, padding: int = 0) -> Any:
    """The largest of each window: (N, C, L) -> (N, C, P)."""
    return _pooled("max_pool1", max_pool2, x, filter, stride, padding, axes=3)


def mean_pool1(x: Any, *, filter: int, stride: int | None = None, padding: int = 0) -> Any:
    """The mean of each window, the zeros of the padding counted: (N, C, L) -> (N, C, P)."""
    return _pooled("mean_pool1", mean_pool2, x, filter, stride, padding, axes=3)


def max_pool3(x: Any, *, filter: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The largest of each window: (N, C, D, H, W) -> (N, C, M, P, Q)."""
    return _pooled("max_pool3", max_pool2, x, filter, stride, padding, axes=5)


def mean_pool3(x: Any, *, filter: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The mean of each window, the zeros of the padding counted: (N, C, D, H, W) -> ..."""
    settings = filter, stride, padding
    return rounded_once(lambda x: _pooled("mean_pool3", mean_pool2, x, *settings, axes=5), x)


def _pooled(op, pool, x, filter, stride, padding, axes=None):
    """Sequences as images of height 1; volumes slice by slice, then in depth: the largest of the
    largest, the mean of the means."""
    if axes not in (None, len(x.shape)):
        letters = "N C L" if axes == 3 else "N C D H W"
        raise ShapeError(f"{op}: x has {axes} axes\n  x  {tuple(x.shape)}  {letters}")
    filter, stride, padding = _sizes(op, x, filter, stride, padding)
    n, c, *image = x.shape
    if len(image) == 2:
        return pool(x, filter=filter, stride=stride, padding=padding)
    if len(image) == 1:
        x = reshape(x, shape=(n, c, 1, *image))
        y = pool(x, filter=(1, *filter), stride=(1, *stride), padding=(0, *padding))
        return reshape(y, shape=(n, c, y.shape[3]))
    d, h, w = image
    x = reshape(x, shape=(n, c * d, h, w))
    y = pool(x, filter=filter[1:], stride=stride[1:], padding=padding[1:])
    p, q = y.shape[2:]
    y = reshape(y, shape=(n, c, d, p * q))
    y = pool(y, filter=(filter[0], 1), stride=(stride[0], 1), padding=(padding[0], 0))
    return reshape(y, shape=(n, c, y.shape[2], p, q))


# -- windows that leave the image ----------------------------------------------------------


def max_pool(
    x: Any,
    *,
    filter: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil: bool = False,
) -> Any:
    """The largest of each window along one, two or three axes after N and C.

    P = (H + 2 * padding - dilation * (R - 1) - 1) / stride + 1, rounded down; or up with `ceil`,
    as long as the last window begins within the image or the padding before it.
    """
    filter, stride, padding = _sizes("max_pool", x, filter, stride, padding)
    dilation = each_axis("max_pool", "dilation", dilation, len(filter))
    wide = tuple(d * (r - 1) + 1 for r, d in zip(filter, dilation, strict=True))
    if ceil:
        x = _lengthened(x, wide, stride, padding, _lowest(ScalarType.of(x)))
    if wide == filter:
        return _pooled("max_pool", max_pool2, x, filter, stride, padding)
    if any(2 * p > w for p, w in zip(padding, wide, strict=True)):
        raise SettingsError(
            f"max_pool: padding is more than half of the dilated filter\n"
            f"  filter   {wide}\n  padding  {padding}"
        )
    around = ((0, 0), (0, 0), *((p, p) for p in padding))
    x = pad_constant(x, widths=around, value=_lowest(ScalarType.of(x)))
    for axis, (r, s, d) in enumerate(zip(filter, stride, dilation, strict=True), 2):
        x = windows(x, axis=axis, filter=r, stride=s, dilation=d)  # (N, C, P, ..., R, ...)
    shape = x.shape[: len(filter) + 2]
    flat = reshape(x, shape=(prod(shape), 1, 1, prod(filter)))
    return reshape(max_pool2(flat, filter=(1, prod(filter))), shape=shape)


def mean_pool(
    x: Any,
    *,
    filter: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil: bool = False,
    count_padding: bool = True,
    divisor: int | None = None,
) -> Any:
    """The mean of each window along one, two or three axes after N and C; `ceil` as in `max_pool`.

    The zeros of the padding count unless `count_padding` is False; what lies beyond it never does.
    A `divisor` divides the sums in place of how many count.
    """
    filter, stride, padding = _sizes("mean_pool", x, filter, stride, padding)
    settings = {"filter": filter, "stride": stride, "padding": padding}

    def means(x):
        longer = _lengthened(x, filter, stride, padding, 0) if ceil else x
        y = _pooled("mean_pool", mean_pool2, longer, **settings)
        if divisor is not None:
            return multiply(y, prod(filter) / divisor)
        if not ceil and (count_padding or not any(padding)):
            return y
        return window_shares(y, sizes=tuple(x.shape[2:]), counted=count_padding, **settings)

    return rounded_once(means, x)


def _sizes(op, x, filter, stride, padding):
    """Filter, stride and padding, each for every axis after N and C."""
    axes = len(x.shape) - 2
    if axes not in (1, 2, 3):
        raise ShapeError(f"{op}: x has 3, 4 or 5 axes\n  x  {tuple(x.shape)}  N C ...")
    filter = each_axis(op, "filter", filter, axes)
    stride = filter if stride is None else each_axis(op, "stride", stride, axes)
    return filter, stride, each_axis(op, "padding", padding, axes, least=0)


def _lengthened(x, filter, stride, padding, value):
    """x with as much of a value behind it as the last windows, which begin within it, need."""
    widths = [(0, 0), (0, 0)]
    for size, r, s, p in zip(x.shape[2:], filter, stride, padding, strict=True):
        last = -(-(size + 2 * p - r) // s)  # where it begins, in strides
        last -= last * s >= size + p
        widths.append((0, builtins.max(0, last * s + r - size - 2 * p)))
    return pad_constant(x, widths=tuple(widths), value=value) if any(map(any, widths)) else x


def _lowest(scalar_type):
    """What no value is below."""
    if scalar_type.is_float:
        return -inf
    return False if scalar_type.kind == "bool" else int(iinfo(scalar_type.dtype).min)


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
