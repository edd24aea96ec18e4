"""2-d pooling in NumPy's language, one slice of the image for each position in the window."""

import numpy as np

from ...backends import CUPY, NUMPY, REFERENCE, namespace
from . import (
    index_type,
    max_pool2,
    max_pool2_dx,
    max_pool2_pick,
    mean_pool2,
    mean_pool2_dx,
    pooled_size,
)  # fmt: skip


def bordered(x, padding, value):
    """x with a border of one value."""
    ph, pw = padding
    if not (ph or pw):
        return x
    n, c, h, w = x.shape
    wide = namespace(x).full((n, c, h + 2 * ph, w + 2 * pw), value, x.dtype)
    wide[:, :, ph : ph + h, pw : pw + w] = x
    return wide


def window_slices(filter, stride, out):
    """(position, slice of rows, slice of columns) for each position in the window."""
    (r, s), (sh, sw), (p, q) = filter, stride, out
    for i in range(r):
        for j in range(s):
            rows, columns = slice(i, i + sh * p, sh), slice(j, j + sw * q, sw)
            yield i * s + j, rows, columns


def _lowest(dtype):
    return -np.inf if dtype.kind == "f" else False if dtype.kind == "b" else np.iinfo(dtype).min


@max_pool2.kernel(NUMPY, CUPY)
def max_pool2_arrays(x, *, filter, stride, padding):
    """The first of equal maxima wins, and the last NaN wins over all, as in torch."""
    xp, size = namespace(x), pooled_size(x, filter, stride, padding)
    wide = bordered(x, padding, _lowest(x.dtype))
    (r, s), (sh, sw), (p, q) = filter, stride, size
    tall = wide[:, :, : sh * p : sh]
    for i in range(1, r):  # rows first, which lie side by side
        tall = xp.maximum(tall, wide[:, :, i : i + sh * p : sh])
    y = tall[:, :, :, : sw * q : sw]
    for j in range(1, s):
        y = xp.maximum(y, tall[:, :, :, j : j + sw * q : sw])
    y = y.copy("K") if s == 1 else y  # else it would be a view
    index = xp.zeros_like(y, index_type(filter).dtype)
    places = list(window_slices(filter, stride, size))
    for position, rows, columns in reversed(places):
        xp.copyto(index, index.dtype.type(position), where=wide[:, :, rows, columns] == y)
    if y.dtype.kind == "f" and bool((y != y).any()):
        for position, rows, columns in places:
            part = wide[:, :, rows, columns]
            xp.copyto(index, index.dtype.type(position), where=part != part)
    if padding != (0, 0):
        _leave_border(xp, x, y, index, filter, stride, padding)
    return y, index


def _leave_border(xp, x, y, index, filter, stride, padding):
    """Where a window holds nothing above the lowest value, the first real position wins."""
    s, (sh, sw), (ph, pw) = filter[1], stride, padding
    p, q = y.shape[2:]
    top = xp.maximum(ph - xp.arange(p) * sh, 0)
    left = xp.maximum(pw - xp.arange(q) * sw, 0)
    first = (top[:, None] * s + left[None, :]).astype(index.dtype)
    lowest = y == _lowest(x.dtype)
    xp.copyto(index, xp.broadcast_to(first, index.shape), where=lowest)


@max_pool2_dx.kernel(NUMPY, CUPY)
def max_pool2_dx_arrays(dy, index, *, size, filter, stride, padding):
    xp, (ph, pw), (h, w) = namespace(dy), padding, size
    n, c, p, q = dy.shape
    tall = max(h + 2 * ph, (p - 1) * stride[0] + filter[0])
    wide = max(w + 2 * pw, (q - 1) * stride[1] + filter[1])
    dx = xp.zeros((n, tall, wide, c), dy.dtype)
    dy, index = (xp.ascontiguousarray(each.transpose(0, 2, 3, 1)) for each in (dy, index))
    overlap = stride[0] < filter[0] or stride[1] < filter[1]
    for position, rows, columns in window_slices(filter, stride, (p, q)):
        here = index == position
        if overlap:
            dx[:, rows, columns] += xp.where(here, dy, dy.dtype.type(0))
        else:
            xp.copyto(dx[:, rows, columns], dy, where=here)
    return xp.ascontiguousarray(dx[:, ph : ph + h, pw : pw + w]).transpose(0, 3, 1, 2)


@max_pool2_pick.kernel(NUMPY, CUPY)
def max_pool2_pick_arrays(x, index, *, filter, stride, padding):
    xp = namespace(x)
    wide = bordered(x, padding, 0)
    y = xp.zeros(index.shape, x.dtype)
    for position, rows, columns in window_slices(filter, stride, index.shape[2:]):
        xp.copyto(y, wide[:, :, rows, columns], where=index == position)
    return y


@mean_pool2.kernel(NUMPY, CUPY)
def mean_pool2_arrays(x, *, filter, stride, padding):
    size, wide = pooled_size(x, filter, stride, padding), bordered(x, padding, 0)
    y = namespace(x).zeros((*x.shape[:2], *size), x.dtype)
    for _, rows, columns in window_slices(filter, stride, size):
        y += wide[:, :, rows, columns]
    return y / (filter[0] * filter[1])


@mean_pool2_dx.kernel(NUMPY, CUPY)
def mean_pool2_dx_arrays(dy, *, size, filter, stride, padding):
    xp, (ph, pw), (h, w) = namespace(dy), padding, size
    share = dy / (filter[0] * filter[1])
    dx = xp.zeros((*dy.shape[:2], h + 2 * ph, w + 2 * pw), dy.dtype)
    for _, rows, columns in window_slices(filter, stride, dy.shape[2:]):
        dx[:, :, rows, columns] += share
    return xp.ascontiguousarray(dx[:, :, ph : ph + h, pw : pw + w])


# -- the reference: the definition, window by window ------------------------------------


def _windows(x, filter, stride, padding, out):
    """((n, c, p, q), {(row, column): position}) for each window, border left out."""
    h, w = x.shape[2:]
    for at in np.ndindex(*x.shape[:2], *out):
        cells = {}
        for i, j in np.ndindex(*filter):
            row, column = at[2] * stride[0] + i - padding[0], at[3] * stride[1] + j - padding[1]
            if 0 <= row < h and 0 <= column < w:
                cells[row, column] = i * filter[1] + j
        yield at, cells


@max_pool2.kernel(REFERENCE)
def max_pool2_reference(x, *, filter, stride, padding):
    out = pooled_size(x, filter, stride, padding)
    y = np.zeros((*x.shape[:2], *out), x.dtype)
    index = np.zeros(y.shape, index_type(filter).dtype)
    for at, cells in _windows(x, filter, stride, padding, out):
        best = None
        for cell, position in cells.items():
            value = x[at[:2] + cell]
            if best is None or value > best or value != value:
                best, y[at], index[at] = value, value, position
    return y, index


@mean_pool2.kernel(REFERENCE)
def mean_pool2_reference(x, *, filter, stride, padding):
    out = pooled_size(x, filter, stride, padding)
    y = np.zeros((*x.shape[:2], *out), x.dtype)
    for at, cells in _windows(x, filter, stride, padding, out):
        y[at] = sum(x[at[:2] + cell] for cell in cells) / (filter[0] * filter[1])
    return y
