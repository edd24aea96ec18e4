"""Keyed random words: Philox 4x32-10, a function of a key and a counter.

`counter` (2,) u64 says the first block of four words and the stream; it is data, so that a
captured step that is replayed draws on.
"""

import numpy as np

from ...backends import CUDA, CUPY, NUMPY
from ...errors import ShapeError
from ...op import Op
from ...scalar_type import ScalarType

random_words = Op("random_words", "counter", promotes="")
advance = Op("advance", "counter", writes="counter", outputs="", promotes="")

for _op in (random_words, advance):
    for _backend in (NUMPY, CUPY):
        _op.kernels_from(_backend, ".numpy_kernels")
random_words.kernels_from(CUDA, ".cuda_kernels")


@random_words.settings_by
def random_words_settings(*, key, size):
    """The key as one number of 64 bits, also from the two words of `philox.stream`."""
    return {"key": key_of(key), "size": size}


def key_of(key):
    """A key as one number of 64 bits."""
    return key if isinstance(key, int) else key[0] | key[1] << 32


@random_words.outlined_by
def random_words_outline(counter, *, key, size):
    check_counter("random_words", counter)
    return counter.like(shape=(size,), scalar_type=ScalarType.U32)


def check_counter(op, counter):
    """Refuse what is no counter."""
    if counter.shape != (2,) or counter.scalar_type is not ScalarType.U64:
        raise ShapeError(f"{op}: a counter is two u64\n  counter  {counter}")


@random_words.sampled_by
def random_words_samples(rng):
    yield (np.array([0, 0], np.uint64),), {"key": (7, 9), "size": 6}
    yield (np.array([2**32 - 1, 2**40], np.uint64),), {"key": 2**63 + 5, "size": 9}


@advance.outlined_by
def advance_outline(counter):
    """counter[1] = counter[1] + 1: on to the next stream."""
    check_counter("advance", counter)
    return ()


@advance.sampled_by
def advance_samples(rng):
    yield (np.array([3, 4], np.uint64),), {}
