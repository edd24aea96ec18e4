"""Windows that slide along an axis, and their sum back into place, each the gradient of the other.

Shapes: x (..., L, ...), windows (..., P, ..., R): at each position P, which takes the axis' place,
what a filter of R meets, as a new last axis; a view of x where there is no padding.
P = (L + 2 * padding - dilation * (R - 1) - 1) // stride + 1.
"""

from typing import Any

from ..backends import CUPY, NUMPY, namespace
from ..errors import SettingsError, ShapeError
from ..op import Op
from ..outline import STRIDED, Outline
from .axes import axis_of, pair
from .declare import REQUIRED, asked, taking
from .shape import permute_dims, reshape

windows = Op("windows", "x", view=True)
from_windows = Op("from_windows", "x")


def window_count(size, filter, stride, dilation, padding):
    """P."""
    return (size + 2 * padding - dilation * (filter - 1) - 1) // stride + 1


def _settings(op, *first):
    """Settings of windows, and before them sizes by these names."""

    @op.settings_by
    @taking(**dict.fromkeys(first, REQUIRED))
    def settings(*, axis, filter, stride=1, dilation=1, padding=0, **sizes):
        numbers = {"filter": filter, "stride": stride, "dilation": dilation}
        for name, each in numbers.items():
            if not isinstance(each, int) or each < 1:
                raise SettingsError(f"{op.name}: {name} is {each!r}\n  write an int of at least 1")
        return {**sizes, "axis": axis, **numbers, "padding": padding}


_settings(windows)
_settings(from_windows, "size")

# -- windows -----------------------------------------------------------------------------


@windows.outlined_by
def windows_outline(x, *, axis, filter, stride, dilation, padding):
    at = axis_of("windows", x.ndim, axis)
    count = window_count(x.shape[at], filter, stride, dilation, padding)
    if count < 1:
        raise ShapeError(
            f"windows: the filter is longer than the padded axis\n"
            f"  x       {x.shape}, axis {axis}\n  filter  {filter}, dilation {dilation}"
        )
    shape = (*x.shape[:at], count, *x.shape[at + 1 :], filter)
    return Outline(shape, x.scalar_type, x.device, STRIDED)


@windows.kernel(NUMPY, CUPY, halves=True)
def windows_arrays(x, *, axis, filter, stride, dilation, padding):
    xp, at = namespace(x), axis % x.ndim
    count = window_count(x.shape[at], filter, stride, dilation, padding)
    if padding:
        wide = xp.zeros((*x.shape[:at], x.shape[at] + 2 * padding, *x.shape[at + 1 :]), x.dtype)
        wide[(*[slice(None)] * at, slice(padding, padding + x.shape[at]))] = x
        x = wide
    shape = (*x.shape[:at], count, *x.shape[at + 1 :], filter)
    apart = x.strides[at]
    strides = (*x.strides[:at], apart * stride, *x.strides[at + 1 :], apart * dilation)
    return xp.lib.stride_tricks.as_strided(x, shape, strides)


@windows.gradient("x")
def windows_dx(y, x, *, axis, **settings):
    size = x.shape[axis]
    return lambda dy: from_windows(dy, size=size, axis=axis, **settings)


# -- from_windows ------------------------------------------------------------------------


@from_windows.outlined_by
def from_windows_outline(x, *, size, axis, filter, stride, dilation, padding):
    at = axis_of("from_windows", x.ndim - 1, axis)
    count = window_count(size, filter, stride, dilation, padding)
    if (x.shape[at], x.shape[-1]) != (count, filter):
        raise ShapeError(
            f"from_windows: these are not the windows of an axis of {size}\n"
            f"  x       {x.shape}, axis {axis}\n  wanted  {count} windows of {filter}"
        )
    return x.like(shape=(*x.shape[:at], size, *x.shape[at + 1 : -1]))


@from_windows.kernel(NUMPY, CUPY)
def from_windows_arrays(x, *, size, axis, filter, stride, dilation, padding):
    """What several windows share adds up."""
    at, count = axis % (x.ndim - 1), x.shape[axis % (x.ndim - 1)]
    before = (slice(None),) * at
    shape = (*x.shape[:at], size + 2 * padding, *x.shape[at + 1 : -1])
    y = namespace(x).zeros(shape, x.dtype)
    for i in range(filter):
        start = i * dilation
        y[(*before, slice(start, start + stride * (count - 1) + 1, stride))] += x[..., i]
    y = y[(*before, slice(padding, padding + size))]
    return y if padding == 0 else y.copy()


@from_windows.gradient("x")
def from_windows_dx(y, x, *, size, **settings):
    return lambda dy: windows(dy, **settings)


@windows.sampled_by
def windows_samples(rng):
    yield (rng.normal(size=(2, 7)),), {"axis": 1, "filter": 3}
    yield (rng.normal(size=(2, 8, 3)),), {"axis": 1, "filter": 3, "stride": 2, "padding": 1}
    wide = {"axis": 2, "filter": 2, "stride": 3, "dilation": 3, "padding": 2}
    yield (rng.normal(size=(2, 3, 9, 2)),), wide


asked(from_windows, windows)


# -- columns of images -------------------------------------------------------------------


def unfold(x: Any, *, filter: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Any:
    """The patches of images as columns: (N, C, H, W) -> (N, C * R * S, P * Q)."""
    rows, columns = _both("unfold", filter, stride, padding, dilation)
    y = windows(windows(x, axis=2, **rows), axis=3, **columns)  # (N, C, P, Q, R, S)
    n, c, p, q, r, s = y.shape
    return reshape(permute_dims(y, axes=(0, 1, 4, 5, 2, 3)), shape=(n, c * r * s, p * q))


def fold(
    x: Any, *, size: Any, filter: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> Any:
    """Columns added back into images of a size: (N, C * R * S, P * Q) -> (N, C, H, W)."""
    rows, columns = _both("fold", filter, stride, padding, dilation)
    h, w = pair("fold", "size", size)
    p, q = window_count(h, **rows), window_count(w, **columns)
    r, s = rows["filter"], columns["filter"]
    if len(x.shape) != 3 or x.shape[1] % (r * s) or x.shape[2] != p * q:
        raise ShapeError(
            f"fold: these are not the patches of images of {(h, w)}\n"
            f"  x       {x.shape}  N C * R * S P * Q\n  filter  {(r, s)}\n  patches {(p, q)}"
        )
    y = reshape(x, shape=(x.shape[0], x.shape[1] // (r * s), r, s, p, q))
    y = from_windows(permute_dims(y, axes=(0, 1, 4, 5, 2, 3)), size=w, axis=3, **columns)
    return from_windows(y, size=h, axis=2, **rows)


def _both(op, filter, stride, padding, dilation):
    """Settings along height and along width."""
    pairs = {
        "filter": pair(op, "filter", filter),
        "stride": pair(op, "stride", stride),
        "dilation": pair(op, "dilation", dilation),
        "padding": pair(op, "padding", padding, least=0),
    }
    return tuple({name: each[i] for name, each in pairs.items()} for i in range(2))
