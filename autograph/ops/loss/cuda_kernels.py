"""Softmax cross entropy, its gradient, and the tally of a batch on a CUDA device."""

from functools import cache
from pathlib import Path
from typing import Any

import cupy

from ...backends import CUDA
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import Kernel, divide_up, number
from ...backends.cuda.words import words
from ...scalar_type import ScalarType
from . import cross_entropy_loss, cross_entropy_loss_dx, tally

_SOURCE = Path(__file__).with_name("loss.cu")
_WARP_CLASSES = 1024  # rows of more classes take a whole block


@cross_entropy_loss.kernel(CUDA)
def cross_entropy_loss_cuda(x, target):
    kernel, blocks, n, c = _rows("cross_entropy_loss", x.shape, x.dtype, target.dtype)
    wide = ScalarType.of(x).accumulator.dtype
    loss, probability = cupy.empty((), x.dtype), cupy.empty(x.shape, wide)
    losses, shared = cupy.empty(x.shape[0], wide), words()
    kernel(blocks, x, target, loss, probability, losses, shared.finished, shared.fault, n, c)
    return loss, probability


@cross_entropy_loss_dx.kernel(CUDA)
def cross_entropy_loss_dx_cuda(dy, probability, target):
    kernel, blocks, n, c = _rows(
        "cross_entropy_loss_dx", probability.shape, dy.dtype, target.dtype,
        Probability=c_type(probability.dtype),
    )  # fmt: skip
    dx = cupy.empty(probability.shape, dy.dtype)
    kernel(blocks, dy, probability, target, dx, n, c)
    return dx


@tally.kernel(CUDA, when=lambda sums, loss, scores, target: scores.scalar_type.is_float)
def tally_cuda(sums, loss, scores, target):
    kernel, blocks, n, c = _rows(
        "tally", scores.shape, scores.dtype, target.dtype, Loss=c_type(loss.dtype)
    )
    shared = words()
    kernel(blocks, sums, loss, scores, target, shared.finished, shared.hits, n, c)


@cache
def _rows(name, shape, dtype, target, **types):
    n, c = shape
    lanes = 32 if c <= _WARP_CLASSES or name == "tally" else 256
    constants: dict[str, Any] = {"Scalar": c_type(dtype), "Target": c_type(target), "lanes": lanes} | types
    return Kernel(_SOURCE, name, constants), divide_up(n, 256 // lanes), number(n), number(c)
