"""Keyed random words on a CUDA device: Philox 4x32-10."""

from functools import cache
from pathlib import Path

import numpy as np
from cupy import empty

from ...backends import CUDA
from ...backends.cuda.launch import Kernel, divide_up
from . import random_words

_SOURCE = Path(__file__).with_name("random.cu")


@random_words.kernel(CUDA, made=True)
def random_words_cuda(inputs, outputs, *, key, size):
    """`size` words of uint32 from a 64-bit key; counter (2,) uint64: the first, and the stream."""
    kernel, blocks = _random_words(), (divide_up(size, 1024),)
    word, count = np.uint64(key), np.int64(size)

    def run(counter):
        y = empty(size, np.uint32)
        kernel(blocks, y, word, counter, count)
        return y

    return run


@cache
def _random_words():
    return Kernel(_SOURCE, "random_words", {})
