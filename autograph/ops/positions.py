"""Positional encoding: sines and cosines of rising wavelength added to the features of each place
(Vaswani and others, 2017).

Shapes: x (..., L, E), y the same.
"""

from functools import lru_cache

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..errors import ShapeError
from ..op import Op

positional_encoding = Op("positional_encoding", "x", floats=True)


@positional_encoding.outlined_by
def positional_encoding_outline(x, *, base=10000.0):
    if x.ndim < 2:
        raise ShapeError(f"positional_encoding: x has places and features\n  x  {x.shape}  ... L E")
    return x.like()


@lru_cache(maxsize=64)
def encoding(xp, device, dtype, length, size, base):
    """(L, E): sin(l / base ** (e / E)) where e is even, and the cosine of the same after it."""
    even = np.arange(0, size, 2)
    angles = np.arange(length)[:, None] / base ** (even / size)
    table = np.empty((length, size))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles[:, : size // 2])
    return xp.asarray(table.astype(dtype))


@positional_encoding.kernel(NUMPY, CUPY)
def positional_encoding_arrays(x, *, base):
    return x + encoding(namespace(x), str(x.device), x.dtype, *x.shape[-2:], base)


@positional_encoding.gradient("x")
def positional_encoding_dx(y, x, *, base):
    return lambda dy: dy


@positional_encoding.sampled_by
def positional_encoding_samples(rng):
    yield (rng.normal(size=(2, 4, 6)),), {}
    yield (rng.normal(size=(3, 5)),), {"base": 100.0}
