"""2-d convolution in NumPy's language: patches as a view, products by BLAS; and the naive
reference that every kernel is tested against."""

from __future__ import annotations

import numpy as np

from ...backends import CUPY, NUMPY, REFERENCE, namespace
from . import conv2, conv2_dweight, conv2_dx, output_size


def padded(x, padding):
    """x with a border of zeros."""
    (ph, pw) = padding
    if not (ph or pw):
        return x
    n, c, h, w = x.shape
    wide = namespace(x).zeros((n, c, h + 2 * ph, w + 2 * pw), x.dtype)
    wide[:, :, ph : ph + h, pw : pw + w] = x
    return wide


def patches_of(x, filter, stride, dilation):
    """(N, C, H, W) -> (N, C, R, S, P, Q): a view of what each filter element meets."""
    (r, s), (sh, sw), (dh, dw) = filter, stride, dilation
    n, c, h, w = x.shape
    p, q = (h - dh * (r - 1) - 1) // sh + 1, (w - dw * (s - 1) - 1) // sw + 1
    bn, bc, bh, bw = x.strides
    return namespace(x).lib.stride_tricks.as_strided(
        x, (n, c, r, s, p, q), (bn, bc, bh * dh, bw * dw, bh * sh, bw * sw)
    )


@conv2.kernel(NUMPY, CUPY)
def conv2_arrays(x, weight, bias, *, stride, padding, dilation, groups):
    xp = namespace(x)
    n = x.shape[0]
    outputs, channels, r, s = weight.shape
    patches = patches_of(padded(x, padding), (r, s), stride, dilation)
    p, q = patches.shape[4:]
    columns = patches.reshape(n, groups, channels * r * s, p * q)
    rows = weight.reshape(groups, outputs // groups, channels * r * s)
    y = xp.matmul(rows, columns).reshape(n, outputs, p, q)
    if bias is not None:
        y += bias[:, None, None]
    return y


@conv2_dx.kernel(NUMPY, CUPY)
def conv2_dx_arrays(dy, weight, *, size, stride, padding, dilation, groups):
    xp = namespace(dy)
    (h, w), (sh, sw), (ph, pw), (dh, dw) = size, stride, padding, dilation
    n, outputs, p, q = dy.shape
    _, channels, r, s = weight.shape
    rows = weight.reshape(groups, outputs // groups, channels * r * s).swapaxes(1, 2)
    columns = xp.matmul(rows, dy.reshape(n, groups, outputs // groups, p * q))
    columns = columns.reshape(n, groups * channels, r, s, p, q)
    dx = xp.zeros((n, groups * channels, h + 2 * ph, w + 2 * pw), dy.dtype)
    for i in range(r):
        for j in range(s):
            i0, j0 = i * dh, j * dw
            dx[:, :, i0 : i0 + sh * p : sh, j0 : j0 + sw * q : sw] += columns[:, :, i, j]
    return xp.ascontiguousarray(dx[:, :, ph : ph + h, pw : pw + w])


@conv2_dweight.kernel(NUMPY, CUPY)
def conv2_dweight_arrays(dy, x, *, filter, stride, padding, dilation, groups):
    xp = namespace(dy)
    n, outputs, p, q = dy.shape
    r, s = filter
    channels = x.shape[1] // groups
    patches = patches_of(padded(x, padding), filter, stride, dilation)[..., :p, :q]
    columns = patches.reshape(n, groups, channels * r * s, p * q)
    deltas = dy.reshape(n, groups, outputs // groups, p * q)
    dweight = xp.matmul(deltas, columns.swapaxes(2, 3)).sum(axis=0, dtype=dy.dtype)
    return dweight.reshape(outputs, channels, r, s)


# -- the reference: the definition, element by element ---------------------------------


def _terms(n, channels, outputs, size, out, filter, stride, padding, dilation, groups):
    """Every (image, output, channel, ...) that multiplies, as index tuples of y, x and weight."""
    for o, c, p, q, i, j in np.ndindex(outputs, channels, *out, *filter):
        row = p * stride[0] + i * dilation[0] - padding[0]
        column = q * stride[1] + j * dilation[1] - padding[1]
        if 0 <= row < size[0] and 0 <= column < size[1]:
            source = o // (outputs // groups) * channels + c
            yield (slice(n), o, p, q), (slice(n), source, row, column), (o, c, i, j)


@conv2.kernel(REFERENCE)
def conv2_reference(x, weight, bias, **settings):
    outputs, channels, *filter = weight.shape
    geometry = (settings[name] for name in ("stride", "padding", "dilation"))
    out = output_size(x.shape[2:], filter, *geometry)
    y = np.zeros((x.shape[0], outputs, *out), x.dtype)
    for at, source, w in _terms(
        x.shape[0], channels, outputs, x.shape[2:], out, filter, **settings
    ):
        y[at] += x[source] * weight[w]
    return y if bias is None else y + bias[:, None, None]


@conv2_dx.kernel(REFERENCE)
def conv2_dx_reference(dy, weight, *, size, **settings):
    outputs, channels, *filter = weight.shape
    dx = np.zeros((dy.shape[0], channels * settings["groups"], *size), dy.dtype)
    for at, source, w in _terms(
        dy.shape[0], channels, outputs, size, dy.shape[2:], filter, **settings
    ):
        dx[source] += dy[at] * weight[w]
    return dx


@conv2_dweight.kernel(REFERENCE)
def conv2_dweight_reference(dy, x, *, filter, **settings):
    channels, outputs = x.shape[1] // settings["groups"], dy.shape[1]
    dweight = np.zeros((outputs, channels, *filter), dy.dtype)
    for at, source, w in _terms(
        dy.shape[0], channels, outputs, x.shape[2:], dy.shape[2:], filter, **settings
    ):
        dweight[w] += (dy[at] * x[source]).sum()
    return dweight
