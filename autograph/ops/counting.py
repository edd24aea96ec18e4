"""What values occur, where, and how often."""

from typing import Any

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..errors import IndexRangeError, SettingsError, ShapeError
from ..op import Op
from ..scalar_type import I64, ScalarType
from .broadcast import broadcast_to
from .elementwise import floor_divide, remainder
from .index import refuse_float_indices
from .shape import reshape
from .take import take

unique_all = Op("unique_all", "x", outputs="values inverse counts", dynamic=True)
nonzero_flat = Op("nonzero_flat", "x", dynamic=True)
bincount = Op("bincount", "x weights?", promotes="weights", dynamic=True)
histogram = Op("histogram", "x", outputs="counts edges", floats=True)
one_hot = Op("one_hot", "x")

# -- unique ----------------------------------------------------------------------------


@unique_all.outlined_by
def unique_all_outline(x):
    """The different values in rising order, which of them each element is, how many it has."""
    values = x.like(shape=(x.size,))
    return values, x.like(scalar_type=I64), values.like(scalar_type=I64)


@unique_all.kernel(NUMPY, CUPY)
def unique_all_arrays(x):
    xp = namespace(x)
    settings = {"equal_nan": False} if xp is np else {}
    values, inverse, counts = xp.unique(x, return_inverse=True, return_counts=True, **settings)
    return values, inverse.reshape(x.shape), counts


@unique_all.sampled_by
def unique_all_samples(rng):
    yield (rng.integers(0, 4, size=(3, 5)).astype(float),), {}
    yield (np.array(2.0),), {}


def unique(x: Any, *, inverse: bool = False, counts: bool = False) -> Any:
    """The different values of x in rising order; with `inverse` which of them each element is,
    with `counts` how often each occurs. Every NaN is a value of its own.

    >>> unique(np.array([3, 1, 3]), counts=True)
    (array([1, 3]), array([1, 2]))
    """
    values, which, many = unique_all(x)
    rest = ((which,) if inverse else ()) + ((many,) if counts else ())
    return (values, *rest) if rest else values


# -- nonzero ---------------------------------------------------------------------------


@nonzero_flat.outlined_by
def nonzero_flat_outline(x):
    """Where the elements that are not 0 stand in the flat array (i64)."""
    return x.like(shape=(x.size,), scalar_type=I64)


@nonzero_flat.kernel(NUMPY, CUPY)
def nonzero_flat_arrays(x):
    return namespace(x).flatnonzero(x)


@nonzero_flat.sampled_by
def nonzero_flat_samples(rng):
    yield (rng.integers(0, 2, size=(3, 5)) > 0,), {}
    yield (np.array([0.0, 2.0, -0.0, np.inf]),), {}


def nonzero(x: Any) -> tuple[Any, ...]:
    """The indices of the elements that are not 0, one tensor for each axis."""
    if not x.shape:
        raise ShapeError("nonzero: x has no axes\n  write  x != 0")
    flat, found = nonzero_flat(x), []
    for size in reversed(x.shape[1:]):
        size = size or 1  # where an axis is empty there is nothing to find
        found.append(remainder(flat, size))
        flat = floor_divide(flat, size)
    return (flat, *reversed(found))


def masked_select(x: Any, mask: Any) -> Any:
    """The elements of x where the mask, which broadcasts with it, is true, in a row."""
    try:
        shape = np.broadcast_shapes(x.shape, mask.shape)
    except ValueError:
        raise ShapeError(
            f"masked_select: the mask does not broadcast with x\n"
            f"  x     {x.shape}\n  mask  {mask.shape}"
        ) from None
    x, mask = (broadcast_to(each, shape=shape) for each in (x, mask))
    return take(reshape(x, shape=-1), nonzero_flat(mask), axis=0)


# -- bincount --------------------------------------------------------------------------


@bincount.outlined_by
def bincount_outline(x, weights, *, minlength=0):
    """How often each whole number from 0 on occurs in x (N,), or the sum of its weights (N,)."""
    refuse_float_indices("bincount", x)
    if x.ndim != 1 or (weights is not None and weights.shape != x.shape):
        sides = "" if weights is None else f"\n  weights  {weights.shape}"
        raise ShapeError(
            f"bincount: x is one row, with a weight for each\n  x        {x.shape}{sides}"
        )
    scalar_type = I64 if weights is None else weights.scalar_type
    return x.like(shape=(max(x.size, minlength),), scalar_type=scalar_type)


@bincount.kernel(NUMPY, CUPY)
def bincount_arrays(x, weights, *, minlength):
    x = x.astype("int64")
    if isinstance(x, np.ndarray) and x.size and not 0 <= x.min() <= x.max() < 2**63 - 1:
        # of the largest i64 NumPy makes no counts, and writes anywhere
        raise IndexRangeError(f"bincount: x holds {x.min()} to {x.max()}\n  write 0 or more")
    return namespace(x).bincount(x, weights, minlength=minlength)


@bincount.gradient("weights")
def bincount_dweights(y, x, weights, *, minlength):
    return lambda dy: take(dy, x, axis=0)


@bincount.sampled_by
def bincount_samples(rng):
    x = rng.integers(0, 5, size=8)
    yield (x, None), {}
    yield (x, rng.normal(size=8)), {"minlength": 7}
    yield (x[:1], rng.normal(size=1)), {}


# -- histogram -------------------------------------------------------------------------


@histogram.outlined_by
def histogram_outline(x, *, bins=10, range=None):
    """Counts (i64) in bins of equal width, and their edges; without a range from the least
    element to the largest."""
    if bins < 1 or (range is not None and range[0] > range[1]):
        raise SettingsError(
            f"histogram: {bins} bins over {range}\n  write bins=10, range=(low, high)"
        )
    return x.like(shape=(bins,), scalar_type=I64), x.like(shape=(bins + 1,))


@histogram.kernel(NUMPY, CUPY)
def histogram_arrays(x, *, bins, range):
    return namespace(x).histogram(x.reshape(-1), bins=bins, range=range)


@histogram.sampled_by
def histogram_samples(rng):
    yield (rng.integers(0, 8, size=(3, 5)) + 0.25,), {"bins": 4, "range": (0.0, 8.0)}


# -- one_hot ---------------------------------------------------------------------------


@one_hot.settings_by
def one_hot_settings(*, classes, scalar_type=I64):
    return {"classes": classes, "scalar_type": ScalarType(scalar_type)}


@one_hot.outlined_by
def one_hot_outline(x, *, classes, scalar_type):
    """1 at the index and 0 elsewhere: (...) -> (..., classes)."""
    refuse_float_indices("one_hot", x)
    return x.like(shape=(*x.shape, classes), scalar_type=scalar_type)


@one_hot.kernel(NUMPY, CUPY, halves=True)
def one_hot_arrays(x, *, classes, scalar_type):
    xp = namespace(x)
    if isinstance(x, np.ndarray) and x.size and (x.min() < 0 or x.max() >= classes):
        raise IndexRangeError(
            f"one_hot: x holds {x.min()} to {x.max()}\n  there are {classes} classes"
        )
    return (x[..., None] == xp.arange(classes)).astype(scalar_type.dtype)


@one_hot.sampled_by
def one_hot_samples(rng):
    yield (rng.integers(0, 5, size=(2, 3)),), {"classes": 5, "scalar_type": "f32"}
    yield (np.array(1),), {"classes": 3}
