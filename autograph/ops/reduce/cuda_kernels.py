"""Reductions along axes on a CUDA device: sum, mean, product, max, min, argmax, any and more."""

from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import cupy
import numpy as np

from ...backends import CUDA
from ...backends.cuda.arrange import arranged
from ...backends.cuda.compile import c_type
from ...backends.cuda.indexing import decode
from ...backends.cuda.launch import Kernel, divide_up, offset_type
from ...outline import CHANNELS_LAST
from ..axes import axes_of, axis_of
from ..broadcast import stretched, sum_to
from . import argmax, argmin, mean
from . import max as max_op
from . import min as min_op
from . import sum as sum_op

_SOURCE = Path(__file__).with_name("reduce.cu")
_LEAST = 16  # numbers a thread reads before a sum is cut into shares
_STATE_BYTES = {"Sum": 1, "Mean": 1, "Product": 1}  # in numbers; the others carry an index


def _made(op, name, reduction, **when):
    """Register the launches of a reduction of the op along `axis`."""

    @op.kernel(CUDA, made=True, strided=CHANNELS_LAST, **when)
    def made(inputs, outputs, *, axis, keepdims):
        (x,) = inputs
        axes: tuple[int, ...] = ()
        if x.ndim and name.startswith("arg"):
            axes = tuple(range(x.ndim)) if axis is None else (axis_of(name, x.ndim, axis),)
        elif x.ndim:
            axes = axes_of(name, x.ndim, axis)
        dtype, result = x.scalar_type.dtype, outputs[0].scalar_type.dtype
        if x.layout != CHANNELS_LAST:
            return _reduce(x.shape, dtype, reduction, axes, keepdims, result)
        if (1 not in axes and not {2, 3} <= set(axes)) or name.startswith("arg"):
            run = _reduce(x.shape, dtype, reduction, axes, keepdims, result)
            return lambda x: run(arranged(x))
        n, c, h, w = x.shape  # what is left stands in the same order in memory
        place = {0: 0, 1: 3, 2: 1, 3: 2}
        there = tuple(sorted(place[each] for each in axes))
        run, shape = _reduce((n, h, w, c), dtype, reduction, there, False, result), outputs[0].shape
        return lambda x: run(x.transpose(0, 2, 3, 1)).reshape(shape)


_made(sum_op, "sum", "Sum")
_made(mean, "mean", "Mean", when=lambda x, **settings: x.scalar_type.is_float)
_made(max_op, "max", "Max")
_made(min_op, "min", "Min")
_made(argmax, "argmax", "ArgMax")
_made(argmin, "argmin", "ArgMin")


@sum_to.kernel(CUDA, made=True)
def sum_to_cuda(inputs, outputs, *, shape):
    (x,) = inputs
    dtype = x.scalar_type.dtype
    run = _reduce(x.shape, dtype, "Sum", stretched(x.shape, shape), False, dtype)
    return lambda x: run(x).reshape(shape)


def reduce_cuda(x, reduction, axes, keepdims=False, dtype=None):
    """`reduction` ("Sum", "Mean", "Product", "Max", "Min", "ArgMax", "ArgMin", "Any", "All")
    of a contiguous x along `axes` (a tuple, not negative), in `dtype` (that of x)."""
    return _reduce(x.shape, x.dtype, reduction, axes, keepdims, np.dtype(dtype or x.dtype))(x)


def sum_shares(shares, dtype):
    """(shares, size) -> (size,): the sum of what the shares of a product came to."""
    return reduce_cuda(shares, "Sum", (0,), dtype=dtype)


def number_type(dtype):
    """What a reduction computes in."""
    if dtype.kind in "biu":
        return np.dtype("u8" if dtype.kind == "u" and dtype.itemsize == 8 else "i8")
    return np.dtype("f8" if dtype.itemsize == 8 else "f4")


@cache
def _reduce(shape, dtype, reduction, axes, keepdims, result):
    """The launches for arrays of this shape, as one function."""
    kept, reduced = _collapse(shape, axes)
    outputs, depth = prod(n for n, _ in kept), prod(n for n, _ in reduced)
    inner_reduced = bool(reduced) and (not kept or reduced[-1][1] == 1)
    a_block = _outputs_a_block(depth, kept[-1][0] if kept else 1, inner_reduced)
    lanes, blocks = 256 // a_block, divide_up(outputs, a_block)
    shares = max(1, min(divide_up(256, blocks), depth // (lanes * _LEAST), 256))
    length = divide_up(depth, shares)

    offset = offset_type(max(prod(shape), 1))
    number = result if reduction in ("Sum", "Product") and dtype.kind in "biu" else dtype
    number = number_type(number)
    constants = {
        "Scalar": c_type(dtype), "Number": c_type(number), "Result": c_type(result),
        "Offset": c_type(offset),
        "Reduction": f"template <class S> using Reduction = {reduction}<S>;",
        "kept": decode("kept", kept, c_type(offset)),
        "reduced": decode("reduced", reduced, c_type(offset)),
    }  # fmt: skip
    final_shape = tuple(
        1 if i in axes else n for i, n in enumerate(shape) if keepdims or i not in axes
    )

    first = Kernel(_SOURCE, "reduce", constants | {
        "outputs_a_block": a_block, "along_depth": inner_reduced, "finishes": shares == 1,
    })  # fmt: skip
    sizes = offset.type(outputs), offset.type(depth), offset.type(length)
    if shares == 1:

        def run(x):
            y = cupy.empty(final_shape, result)
            first(blocks, x, y, *sizes)
            return y

        return run

    few = outputs < 32
    second_block = max(1, 256 // _power(shares)) if few else 32
    second = Kernel(_SOURCE, "reduce_shares", constants | {
        "outputs_a_block": second_block, "along_depth": few, "finishes": True,
    })  # fmt: skip
    state_bytes = number.itemsize if reduction in _STATE_BYTES else 16

    def run_shares(x):
        states = cupy.empty(shares * outputs * state_bytes, "u1")
        first((blocks, shares), x, states, *sizes)
        y = cupy.empty(final_shape, result)
        second(divide_up(outputs, second_block), states, y, sizes[0], sizes[1], np.int32(shares))
        return y

    return run_shares


def _collapse(shape, axes):
    """The (size, stride) of kept and of reduced dimensions, neighbours of a kind as one."""
    dims: list[Any] = []
    stride = 1
    for axis in reversed(range(len(shape))):
        is_reduced = axis in axes
        if shape[axis] != 1:
            if dims and dims[-1][0] == is_reduced:
                dims[-1][1] *= shape[axis]
            else:
                dims.append([is_reduced, shape[axis], stride])
        stride *= shape[axis]
    dims.reverse()
    return tuple(
        tuple((size, step) for is_reduced, size, step in dims if is_reduced is wanted)
        for wanted in (False, True)
    )


def _outputs_a_block(depth, inner_kept, inner_reduced):
    """How many outputs the 256 threads of a block share out among them."""
    if inner_reduced:
        return 256 // min(256, max(1, _power(depth) // 4))
    return max(256 // min(256, _power(max(1, depth // 16))), min(32, _power(inner_kept)))


def _power(n):
    """The least power of two that is not below n."""
    return 1 << max(0, n - 1).bit_length()
