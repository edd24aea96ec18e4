"""Random words in NumPy's language, 64 bits wide where products need them."""

import numpy as np

from ...backends import CUPY, NUMPY, namespace
from ...philox import _BUMP, _HALF, _LOW, _MULTIPLY
from . import advance, random_words


@random_words.kernel(NUMPY, CUPY)
def random_words_arrays(counter, *, key, size):
    blocks = namespace(counter).arange((size + 3) // 4, dtype=np.uint64)
    return words_at(counter, blocks, key).reshape(-1)[:size]


def words_at(counter, blocks, key):
    """The four words (..., 4) of each block (...), counted from the counter's first."""
    xp = namespace(counter)
    a = counter[0] + blocks
    a, b = a & _LOW, a >> _HALF
    c, d = xp.full_like(a, 1) * (counter[1] & _LOW), xp.full_like(a, 1) * (counter[1] >> _HALF)
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p, q = a * _MULTIPLY[0], c * _MULTIPLY[1]
        a, b = (q >> _HALF) ^ b ^ np.uint64(k0), q & _LOW
        c, d = (p >> _HALF) ^ d ^ np.uint64(k1), p & _LOW
        k0, k1 = (k0 + _BUMP[0]) & 0xFFFFFFFF, (k1 + _BUMP[1]) & 0xFFFFFFFF
    return xp.stack([a, b, c, d], axis=-1).astype(np.uint32)


@advance.kernel(NUMPY, CUPY)
def advance_arrays(counter):
    counter[1] += np.uint64(1)
