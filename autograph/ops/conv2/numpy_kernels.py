"""2-d convolution in NumPy's language: windows of images as the rows of one large product, channels
innermost in memory; and the naive reference that every kernel is tested against."""

import numpy as np

from ...backends import CUPY, NUMPY, REFERENCE, namespace
from . import conv2, conv2_dweight, conv2_dx, output_size


def rows_of(x, filter, stride, padding, dilation, groups):
    """x (N, C, H, W) -> (G, N * P * Q, R * S * C / G): what each element of the output meets."""
    xp = namespace(x)
    (r, s), (sh, sw), (ph, pw), (dh, dw) = filter, stride, padding, dilation
    n, c, h, w = x.shape
    p, q = output_size((h, w), filter, stride, padding, dilation)
    images = x.transpose(0, 2, 3, 1)
    if ph or pw:
        wide = xp.zeros((n, h + 2 * ph, w + 2 * pw, c), x.dtype)
        wide[:, ph : ph + h, pw : pw + w] = images
        images = wide
    else:
        images = xp.ascontiguousarray(images)
    bn, bh, bw, bc = images.strides
    windows = xp.lib.stride_tricks.as_strided(
        images,
        (groups, n, p, q, r, s, c // groups),
        (c // groups * bc, bn, bh * sh, bw * sw, bh * dh, bw * dw, bc),
    )
    return windows.reshape(groups, n * p * q, r * s * (c // groups))


def deltas_of(dy, groups):
    """dy (N, O, P, Q) -> (G, N * P * Q, O / G)."""
    n, outputs, p, q = dy.shape
    rows = dy.transpose(0, 2, 3, 1).reshape(n * p * q, groups, outputs // groups)
    return rows.swapaxes(0, 1)


@conv2.kernel(NUMPY, CUPY)
def conv2_arrays(x, weight, bias, *, stride, padding, dilation, groups):
    outputs, channels, r, s = weight.shape
    p, q = output_size(x.shape[2:], (r, s), stride, padding, dilation)
    parts = weight.reshape(groups, outputs // groups, channels, r, s).transpose(0, 3, 4, 2, 1)
    parts = parts.reshape(groups, r * s * channels, outputs // groups)
    rows = rows_of(x, (r, s), stride, padding, dilation, groups)
    y = namespace(x).matmul(rows, parts).swapaxes(0, 1).reshape(x.shape[0], p, q, outputs)
    if bias is not None:
        y += bias
    return y.transpose(0, 3, 1, 2)


@conv2_dx.kernel(NUMPY, CUPY)
def conv2_dx_arrays(dy, weight, *, size, stride, padding, dilation, groups):
    """One product for each element of the filter, added where that element lay."""
    xp = namespace(dy)
    (h, w), (sh, sw), (ph, pw), (dh, dw) = size, stride, padding, dilation
    n, outputs, p, q = dy.shape
    _, channels, r, s = weight.shape
    deltas = xp.ascontiguousarray(deltas_of(dy, groups))
    parts = weight.reshape(groups, outputs // groups, channels, r, s).transpose(3, 4, 0, 1, 2)
    parts = xp.ascontiguousarray(parts)
    dx = xp.zeros((n, h + 2 * ph, w + 2 * pw, groups, channels), dy.dtype)
    for i in range(r):
        for j in range(s):
            i0, j0 = i * dh, j * dw
            part = xp.matmul(deltas, parts[i, j]).reshape(groups, n, p, q, channels)
            dx[:, i0 : i0 + sh * p : sh, j0 : j0 + sw * q : sw] += part.transpose(1, 2, 3, 0, 4)
    inside = dx.reshape(*dx.shape[:3], groups * channels)[:, ph : ph + h, pw : pw + w]
    return xp.ascontiguousarray(inside).transpose(0, 3, 1, 2)


@conv2_dweight.kernel(NUMPY, CUPY)
def conv2_dweight_arrays(dy, x, *, filter, stride, padding, dilation, groups):
    xp = namespace(dy)
    outputs, (r, s), channels = dy.shape[1], filter, x.shape[1] // groups
    rows = rows_of(x, filter, stride, padding, dilation, groups)
    dweight = xp.matmul(rows.swapaxes(1, 2), deltas_of(dy, groups))
    dweight = dweight.reshape(groups, r, s, channels, outputs // groups).transpose(0, 4, 3, 1, 2)
    return xp.ascontiguousarray(dweight).reshape(outputs, channels, r, s)


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
