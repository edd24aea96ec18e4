"""Convolution and pooling in float64, written down as plainly as they go."""

from __future__ import annotations

import numpy as np


def taps(x, filter, stride, padding, dilation, size):
    """The padded image, and for each tap of the filter the slices of it that outputs see."""
    padded = np.pad(x, [(0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2])
    for r in range(filter[0]):
        for s in range(filter[1]):
            first = r * dilation[0], s * dilation[1]
            yield (
                r,
                s,
                padded,
                tuple(
                    slice(f, f + (n - 1) * t + 1, t)
                    for f, n, t in zip(first, size, stride, strict=True)
                ),
            )


def conv2_reference(x, weight, dy, stride, padding, dilation, groups):
    """y, dx, dweight in float64."""
    (n, c, h, w), (o, cg, *filter) = x.shape, weight.shape
    p, q = dy.shape[2:]
    grouped = weight.reshape(groups, o // groups, cg, *filter)
    slopes = dy.reshape(n, groups, o // groups, p, q)
    y, dweight = np.zeros((n, groups, o // groups, p, q)), np.zeros(grouped.shape)
    dpadded = np.zeros((n, c, h + 2 * padding[0], w + 2 * padding[1]))
    for r, s, padded, (rows, columns) in taps(x, filter, stride, padding, dilation, (p, q)):
        seen = padded[:, :, rows, columns].reshape(n, groups, cg, p, q)
        y += np.einsum("ngcpq,goc->ngopq", seen, grouped[..., r, s])
        dweight[..., r, s] = np.einsum("ngcpq,ngopq->goc", seen, slopes)
        dseen = np.einsum("ngopq,goc->ngcpq", slopes, grouped[..., r, s])
        dpadded[:, :, rows, columns] += dseen.reshape(n, c, p, q)
    dx = dpadded[:, :, padding[0] : padding[0] + h, padding[1] : padding[1] + w]
    return y.reshape(n, o, p, q), dx, dweight.reshape(weight.shape)


def max_pool2_reference(x, dy, filter, stride, padding):
    n, c, h, w = x.shape
    size, dilation = dy.shape[2:], (1, 1)
    lowest = np.pad(
        x, [(0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2], constant_values=-np.inf
    )
    windows = np.stack([
        lowest[:, :, rows, columns]
        for _, _, _, (rows, columns) in taps(x, filter, stride, padding, dilation, size)
    ])  # fmt: skip
    index = windows.argmax(axis=0)
    y = np.take_along_axis(windows, index[None], axis=0)[0]
    dpadded = np.zeros(lowest.shape)
    for r, s, _, (rows, columns) in taps(x, filter, stride, padding, dilation, size):
        dpadded[:, :, rows, columns] += np.where(index == r * filter[1] + s, dy, 0)
    return y, index, dpadded[:, :, padding[0] : padding[0] + h, padding[1] : padding[1] + w]


def mean_pool2_reference(x, dy, filter, stride, padding):
    n, c, h, w = x.shape
    size, places = dy.shape[2:], filter[0] * filter[1]
    y, dpadded = np.zeros(dy.shape), np.zeros((n, c, h + 2 * padding[0], w + 2 * padding[1]))
    for _, _, padded, (rows, columns) in taps(x, filter, stride, padding, (1, 1), size):
        y += padded[:, :, rows, columns] / places
        dpadded[:, :, rows, columns] += dy / places
    return y, dpadded[:, :, padding[0] : padding[0] + h, padding[1] : padding[1] + w]
