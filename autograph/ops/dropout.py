"""Dropout: each value kept, and made larger for it, or set to zero, by a keyed throw
(Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, 2014).

Shapes: x (N, ...), y the same; counter (2,) u64. The same key and counter throw the same. Each
sample begins a block of words of its own: the part of a batch that begins at another sample
gets the same throws from a counter that begins at that sample's block.
"""

import numpy as np

from ..backends import CUPY, NUMPY
from ..errors import SettingsError, ShapeError
from ..op import Op
from ..scalar_type import BOOL
from .declare import asked
from .random import check_counter, random_words

dropout = Op("dropout", "x counter", saves="mask", promotes="x", floats=True)
dropout_dx = Op("dropout_dx", "dy mask", promotes="dy")


@dropout.outlined_by
def dropout_outline(x, counter, *, key, rate=0.5):
    if not 0 <= rate <= 1:
        raise SettingsError(f"dropout: rate is {rate!r}\n  write a number from 0 to 1")
    check_counter("dropout", counter)
    return x.like(), x.like(scalar_type=BOOL)


@dropout.kernel(NUMPY, CUPY)
def dropout_arrays(x, counter, *, key, rate):
    """y = x * mask / (1 - rate)."""
    samples = x.shape[0] if x.ndim else 1
    each = x.size // samples
    room = each + -each % 4  # whole blocks of words for each sample
    words = random_words(counter, key=key, size=samples * room).reshape(samples, room)[:, :each]
    limit = round(rate * 2**32)
    mask = (words >= np.uint32(limit) if limit < 2**32 else words != words).reshape(x.shape)
    return dropout_dx_arrays(x, mask, rate=rate), mask


@dropout.gradient("x")
def dropout_gradient(y, x, counter, *, mask, key, rate):
    return lambda dy: dropout_dx(dy, mask, rate=rate)


@dropout.sampled_by
def dropout_samples(rng):
    counter = np.array([0, 3], np.uint64)
    yield (rng.normal(size=(3, 5)), counter), {"key": (1, 2)}
    yield (rng.normal(size=(2, 3, 4)), counter), {"key": (1, 3), "rate": 0.1}
    yield (rng.normal(size=()), counter), {"key": (1, 4), "rate": 1.0}
    yield (rng.normal(size=(0, 2)), counter), {"key": (1, 4)}


@dropout_dx.outlined_by
def dropout_dx_outline(dy, mask, *, rate):
    if dy.shape != mask.shape:
        raise ShapeError(f"dropout_dx: not of one dropout\n  dy    {dy}\n  mask  {mask}")
    return dy.like()


@dropout_dx.kernel(NUMPY, CUPY)
def dropout_dx_arrays(dy, mask, *, rate):
    dx = dy * mask
    if rate < 1:
        dx *= dx.dtype.type(1 / (1 - rate))
    return dx


@dropout_dx.gradient("dy")
def dropout_dx_ddy(dx, dy, mask, *, rate):
    return lambda ddx: dropout_dx(ddx, mask, rate=rate)


asked(dropout_dx, dropout)
