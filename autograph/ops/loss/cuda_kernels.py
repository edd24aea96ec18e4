"""Softmax cross entropy, its gradient, and the tally of a batch on a CUDA device."""

from pathlib import Path
from typing import Any

from cupy import empty

from ...backends import CUDA
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import Kernel, divide_up, number
from ...backends.cuda.words import words
from . import cross_entropy_loss, cross_entropy_loss_dx, tally

_SOURCE = Path(__file__).with_name("loss.cu")
_WARP_CLASSES = 1024  # rows of more classes take a whole block


@cross_entropy_loss.kernel(CUDA, when=lambda x, target: x.size > 0, made=True)
def cross_entropy_loss_cuda(inputs, outputs):
    x, target = inputs
    kernel, blocks, n, c = _rows("cross_entropy_loss", x, target)
    shape, dtype, wide = x.shape, x.scalar_type.dtype, x.scalar_type.accumulator.dtype

    def run(x, target):
        loss, probability, losses = empty((), dtype), empty(shape, wide), empty(shape[0], wide)
        shared = words()
        kernel(blocks, x, target, loss, probability, losses, shared.finished, shared.fault, n, c)
        return loss, probability

    return run


@cross_entropy_loss_dx.kernel(CUDA, made=True)
def cross_entropy_loss_dx_cuda(inputs, outputs):
    dy, probability, target = inputs
    shape, dtype = probability.shape, dy.scalar_type.dtype
    kernel, blocks, n, c = _rows(
        "cross_entropy_loss_dx", dy.like(shape=shape), target,
        Probability=c_type(probability.scalar_type.dtype),
    )  # fmt: skip

    def run(dy, probability, target):
        dx = empty(shape, dtype)
        kernel(blocks, dy, probability, target, dx, n, c)
        return dx

    return run


def _takes_tally(sums, loss, scores, target):
    return scores.scalar_type.is_float and scores.size > 0


@tally.kernel(CUDA, when=_takes_tally, made=True)
def tally_cuda(inputs, outputs):
    _, loss, scores, target = inputs
    kernel, blocks, n, c = _rows("tally", scores, target, Loss=c_type(loss.scalar_type.dtype))

    def run(sums, loss, scores, target):
        shared = words()
        kernel(blocks, sums, loss, scores, target, shared.finished, shared.hits, n, c)

    return run


def _rows(name, x, target, **types):
    """The kernel of one row a warp or a block, its blocks, and the sizes."""
    n, c = x.shape
    lanes = 32 if c <= _WARP_CLASSES or name == "tally" else 256
    constants: dict[str, Any] = {
        "Scalar": c_type(x.scalar_type.dtype), "Target": c_type(target.scalar_type.dtype),
        "lanes": lanes,
    }  # fmt: skip
    kernel = Kernel(_SOURCE, name, constants | types)
    return kernel, (divide_up(n, 256 // lanes),), number(n), number(c)
