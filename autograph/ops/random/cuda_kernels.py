"""Keyed random words on a CUDA device: Philox 4x32-10."""

from functools import cache
from pathlib import Path

import cupy
import numpy as np

from ...backends import CUDA
from ...backends.cuda.launch import Kernel, divide_up
from . import random_words

_SOURCE = Path(__file__).with_name("random.cu")


@random_words.kernel(CUDA)
def random_words_cuda(counter, *, key, size):
    """`size` words of uint32 from a 64-bit key; counter (2,) uint64: the first, and the stream."""
    y = cupy.empty(size, np.uint32)
    _random_words()(divide_up(size, 1024), y, np.uint64(key), counter, np.int64(size))
    return y


@cache
def _random_words():
    return Kernel(_SOURCE, "random_words", {})
