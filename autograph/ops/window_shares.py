"""Means of windows weighed anew: by how many of their places count.

Shapes: x (N, C, P, ...), means over whole filters, y the same.
"""

from functools import lru_cache

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..op import Op

window_shares = Op("window_shares", "x", floats=True)


@window_shares.outlined_by
def window_shares_outline(x, *, sizes, filter, stride, padding, counted):
    """x times the size of the filter, divided by the places that each window has in the image; in
    the image with its padding where that is `counted`. One size, and so on, for each axis."""
    return x.like()


@lru_cache(maxsize=64)
def shares(xp, device, dtype, windows, counted):
    """What the mean of each window is multiplied by: (P, ...)."""
    share = np.ones(())
    for count, size, filter, stride, padding in windows:
        first = np.arange(count) * stride - padding
        low, high = (-padding, size + padding) if counted else (0, size)
        places = np.minimum(first + filter, high) - np.maximum(first, low)
        share = share[..., None] * (filter / places)
    return xp.asarray(share.astype(dtype))


@window_shares.kernel(NUMPY, CUPY)
def window_shares_arrays(x, *, sizes, filter, stride, padding, counted):
    windows = zip(x.shape[2:], sizes, filter, stride, padding, strict=True)
    return x * shares(namespace(x), str(x.device), x.dtype, tuple(windows), counted)


@window_shares.gradient("x")
def window_shares_dx(y, x, **settings):
    return lambda dy: window_shares(dy, **settings)


@window_shares.sampled_by
def window_shares_samples(rng):
    two = {"filter": (3, 2), "stride": (2, 2), "padding": (1, 1)}
    for counted in (False, True):
        yield (rng.normal(size=(2, 3, 3, 3)),), {"sizes": (5, 4), "counted": counted, **two}
    one = {"sizes": (4,), "filter": (2,), "stride": (1,), "padding": (1,), "counted": False}
    yield (rng.normal(size=(1, 2, 5)),), one
