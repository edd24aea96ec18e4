"""Softmax cross entropy and its gradient on a CUDA device: scores (N, C), classes (N,)."""

from functools import cache
from pathlib import Path

import cupy
import numpy as np

from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import Kernel, divide_up, number
from ...backends.cuda.words import words

_SOURCE = Path(__file__).with_name("loss.cu")
_WARP_CLASSES = 1024  # rows of more classes take a whole block


def cross_entropy_cuda(x, target):
    """The mean loss (0-d) and, for the gradient, log(sum of exp) of every row (N,)."""
    kernel, blocks, n, c, wide = _cross_entropy("cross_entropy", x.shape, x.dtype, target.dtype)
    loss, log_sums = cupy.empty((), x.dtype), cupy.empty(x.shape[0], wide)
    losses, shared = cupy.empty(x.shape[0], wide), words()
    kernel(blocks, x, target, loss, log_sums, losses, shared.finished, shared.fault, n, c)
    return loss, log_sums


def cross_entropy_dx_cuda(dy, x, target, log_sums):
    kernel, blocks, n, c, _ = _cross_entropy("cross_entropy_dx", x.shape, x.dtype, target.dtype)
    dx = cupy.empty(x.shape, x.dtype)
    kernel(blocks, dy, x, target, log_sums, dx, n, c)
    return dx


@cache
def _cross_entropy(name, shape, dtype, target_dtype):
    n, c = shape
    lanes = 32 if c <= _WARP_CLASSES else 256
    kernel = Kernel(
        _SOURCE, name, {"Scalar": c_type(dtype), "Target": c_type(target_dtype), "lanes": lanes}
    )
    wide = np.dtype("f8" if dtype.itemsize == 8 else "f4")
    return kernel, divide_up(n, 256 // lanes), number(n), number(c), wide
