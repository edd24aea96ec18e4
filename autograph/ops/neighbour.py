"""The next value that a scalar type holds, in the direction of another."""

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..op import Op
from ..plan import broadcast_outline
from ..scalar_type import ScalarType
from .broadcast import sum_to
from .elementwise import multiply

nextafter = Op("nextafter", "a b", floats=True)


@nextafter.outlined_by
def nextafter_outline(a, b):
    """The neighbour of a on the way to b, broadcast; b itself where they are equal."""
    return broadcast_outline(nextafter, (a, b))


@nextafter.kernel(NUMPY, CUPY, halves=True)
def nextafter_arrays(a, b):
    """Neighbours have neighbouring bits: one more is away from 0, one less towards it."""
    array = a if hasattr(a, "dtype") else b  # the other may be a number
    xp, dtype = namespace(array), array.dtype
    a, b = (xp.asarray(each, dtype) for each in (a, b))
    whole = np.dtype(f"i{dtype.itemsize}")
    wide = ScalarType(dtype).accumulator.dtype
    x, to = (each.astype(wide) for each in (a, b))
    bits = xp.ascontiguousarray(a).view(whole).reshape(a.shape)
    away = (to > x) == (x > 0)
    bits = xp.where(away, bits + whole.type(1), bits - whole.type(1))
    smallest = xp.where(to > x, whole.type(1), whole.type(np.iinfo(whole).min + 1))
    bits = xp.where(x == 0, smallest, bits)
    y = xp.where((x < to) | (x > to), bits.astype(whole).view(dtype), b)
    return xp.where(x != x, a, y)


@nextafter.gradient("a")
def nextafter_da(y, a, b):
    shape = a.shape
    return lambda dy: sum_to(dy, shape=shape)


@nextafter.gradient("b")
def nextafter_db(y, a, b):
    """0: a step to the neighbour is as small however far b is."""
    shape = b.shape
    return lambda dy: sum_to(multiply(dy, 0.0), shape=shape)


@nextafter.sampled_by
def nextafter_samples(rng):
    yield (rng.normal(size=(3, 4)), rng.normal(size=4)), {}
    yield (np.array([0.0, -0.0, 1.0, -1.0]), np.array([2.0, -2.0, 1.0, np.inf])), {}
    yield (rng.normal(size=()), 5.0), {}
    yield (rng.normal(size=(0, 2)), rng.normal(size=2)), {}
