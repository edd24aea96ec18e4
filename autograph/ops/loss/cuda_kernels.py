"""Softmax cross entropy, its gradient, and the tally of a batch on a CUDA device."""

from pathlib import Path
from typing import Any

from cupy import empty

from ...backends import CUDA
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import Kernel, aligned, divide_up, number
from ...backends.cuda.words import words
from . import cross_entropy_loss, cross_entropy_loss_dx, tally

_SOURCE = Path(__file__).with_name("loss.cu")
_WARP_CLASSES = 1024  # rows of more classes take a whole block
_HELD = 128  # bytes of a row that a thread holds at once, as they are computed with
_SHORT = 64  # bytes of the rows that a thread has alone, where one block has all of them
_BLOCK = 1024  # threads of that block, at most, which have up to two rows each


@cross_entropy_loss.kernel(CUDA, when=lambda x, target: x.size > 0, made=True)
def cross_entropy_loss_cuda(inputs, outputs):
    (x, target), (loss, rows) = inputs, outputs
    if x.shape[0] <= 2 * _BLOCK and x.shape[1] * rows.scalar_type.dtype.itemsize <= _SHORT:
        return _short(x, target, loss, rows)
    kernel, blocks, _, n, c = _rows("cross_entropy_loss", x, target)
    shape, dtype, wide = rows.shape, loss.scalar_type.dtype, rows.scalar_type.dtype

    def run(x, target):
        loss, rows, losses = empty((), dtype), empty(shape, wide), empty(shape[1], wide)
        shared = words()
        kernel(blocks, aligned(x), target, loss, rows, losses, shared.finished, shared.fault, n, c)
        return loss, rows

    return run


def _short(x, target, loss, rows):
    shape, dtype, wide = rows.shape, loss.scalar_type.dtype, rows.scalar_type.dtype
    (n, c), threads = x.shape, 128
    while threads < min(n, _BLOCK):
        threads *= 2
    pack = _pack(c, x.scalar_type.dtype)
    constants = _constants(x, target, 1, pack, c // pack, True)
    kernel = Kernel(
        _SOURCE, "cross_entropy_loss_short", {**constants, "threads": threads}, threads=threads
    )
    size = number(n)

    def run(x, target):
        loss, rows = empty((), dtype), empty(shape, wide)
        kernel(1, aligned(x), target, loss, rows, words().fault, size)
        return loss, rows

    return run


@cross_entropy_loss_dx.kernel(CUDA, when=lambda dy, x, *rest: x.size > 0, made=True)
def cross_entropy_loss_dx_cuda(inputs, outputs):
    _, x, target, rows = inputs
    shape, dtype = x.shape, x.scalar_type.dtype
    kernel, blocks, parts, n, c = _rows(
        "cross_entropy_loss_dx", x, target, Rows=c_type(rows.scalar_type.dtype)
    )

    def run(dy, x, target, rows):
        dx = empty(shape, dtype)
        kernel((blocks, parts), dy, aligned(x), target, rows, dx, n, c)
        return dx

    return run


def _takes_tally(sums, loss, scores, target):
    return scores.scalar_type.is_float and scores.size > 0


@tally.kernel(CUDA, when=_takes_tally, made=True)
def tally_cuda(inputs, outputs):
    _, loss, scores, target = inputs
    (n, c), types = scores.shape, [each.scalar_type.dtype for each in (loss, scores, target)]
    constants = zip(("Loss", "Scalar", "Target"), map(c_type, types), strict=True)
    kernel, blocks = Kernel(_SOURCE, "tally", dict(constants)), divide_up(n, 8)
    sizes = number(n), number(c)

    def run(sums, loss, scores, target):
        shared = words()
        kernel(blocks, sums, loss, scores, target, shared.finished, shared.hits, *sizes)

    return run


def _rows(name, x, target, **types):
    """The kernel of one row a warp or a block, its blocks, the parts of a row, and the sizes."""
    (n, c), dtype = x.shape, x.scalar_type.dtype
    lanes, pack = 32 if c <= _WARP_CLASSES else 256, _pack(c, dtype)
    held = _HELD // x.scalar_type.accumulator.dtype.itemsize
    packs = min(held // pack, divide_up(c, lanes * pack))
    parts, rest = divmod(c, lanes * pack * packs)
    constants = _constants(x, target, lanes, pack, packs, not rest)
    kernel = Kernel(_SOURCE, name, constants | types)
    return kernel, divide_up(n, 256 // lanes), parts + bool(rest), number(n), number(c)


def _pack(c, dtype):
    """Neighbours of a row that are read at once."""
    pack = 16 // dtype.itemsize
    while c % pack:
        pack //= 2
    return pack


def _constants(x, target, lanes, pack, packs, whole) -> dict[str, Any]:
    return {
        "Scalar": c_type(x.scalar_type.dtype), "Target": c_type(target.scalar_type.dtype),
        "lanes": lanes, "pack": pack, "packs": packs, "whole": whole,
    }  # fmt: skip
