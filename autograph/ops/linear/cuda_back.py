"""The gradients of dense layers on a CUDA device in one launch, where that is faster than products
of a library with launches around them."""

from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from ...backends import CUDA
from ...backends.cuda import lt
from ...backends.cuda.columns import COLUMN_THREADS, adding_threads, column_blocks
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import NULL, Kernel, aligned, divide_up, number
from ...backends.cuda.tile import is_thin, tile_of
from ..elementwise import relu
from ..reduce.cuda_kernels import reduce_cuda
from . import linear_back, linear_dweight
from .cuda_kernels import product_cuda
from .cuda_relu import SUMS, sum_constants
from .gelu import gelu_tanh_dx, linear_gelu_tanh_back
from .relu import linear_relu_back, linear_relu_dweight

_SOURCE = Path(__file__).with_name("back.cu")
masked: Any = relu.gradient_of("x")[0]  # of dy and y


def _is_faster(x, outputs, relu):
    """Whether one launch is: it sums the rows in one block, and multiplies without tensor cores."""
    rows, work = prod(x.shape[:-1]), x.size * outputs
    if x.scalar_type.is_half:
        return rows <= 128 and 0 < work <= (2**24 if relu else 2**22)
    return x.scalar_type.is_float and rows <= 512 and 0 < work <= 2**24


def _takes_relu(dy, y, x, weight):
    return _is_faster(x, weight.shape[1], True)


@linear_back.kernel(CUDA, when=lambda dy, x, w: _is_faster(x, w.shape[1], False), made=True)
def linear_back_cuda(inputs, outputs):
    run = _made(inputs[1], inputs[2], outputs, False)
    return lambda dy, x, weight: run(dy, NULL, x, weight)


@linear_dweight.kernel(CUDA, when=lambda dy, x: _is_faster(x, dy.shape[-1], False), made=True)
def linear_dweight_cuda(inputs, outputs):
    run = _made(inputs[1], None, outputs, False)
    return lambda dy, x: run(dy, NULL, x, NULL)


@linear_relu_back.kernel(CUDA, when=_takes_relu, made=True)
def linear_relu_back_cuda(inputs, outputs):
    return _made(inputs[2], inputs[3], outputs, True)


@linear_relu_dweight.kernel(CUDA, when=_takes_relu, made=True)
def linear_relu_dweight_cuda(inputs, outputs):
    return _made(inputs[2], None, outputs, True)


# -- large ones: products of a library, and one launch for relu and dbias ---------------------


def _is_large(x, outputs):
    return (
        x.scalar_type.is_float
        and x.size * outputs > 0
        and lt.is_faster(prod(x.shape[:-1]), x.shape[-1], outputs, x.scalar_type.dtype)
    )


def _matrix(x):
    return x.reshape(-1, x.shape[-1])


@linear_dweight.kernel(CUDA, when=lambda dy, x: _is_large(x, dy.shape[-1]))
def linear_dweight_large(dy, x):
    return product_cuda(_matrix(x).T, _matrix(dy)), column_sums(_matrix(dy))[1]


@linear_back.kernel(CUDA, when=lambda dy, x, weight: _is_large(x, weight.shape[1]))
def linear_back_large(dy, x, weight):
    return _all_back(column_sums(_matrix(dy)), x, weight)


@linear_relu_dweight.kernel(CUDA, when=lambda dy, y, x, weight: _is_large(x, weight.shape[1]))
def linear_relu_dweight_large(dy, y, x, weight):
    dy, dbias = column_sums(_matrix(dy), _matrix(y))
    return product_cuda(_matrix(x).T, dy), dbias


@linear_relu_back.kernel(CUDA, when=lambda dy, y, x, weight: _is_large(x, weight.shape[1]))
def linear_relu_back_large(dy, y, x, weight):
    return _all_back(column_sums(_matrix(dy), _matrix(y)), x, weight)


@linear_gelu_tanh_back.kernel(CUDA, when=lambda dy, before, x, w: _is_large(x, w.shape[1]))
def linear_gelu_tanh_back_large(dy, before, x, weight):
    return _all_back(column_sums(_matrix(dy), _matrix(before), "gelu"), x, weight)


def _all_back(summed, x, weight):
    dy, dbias = summed
    return product_cuda(dy, weight.T).reshape(x.shape), product_cuda(_matrix(x).T, dy), dbias


def column_sums(dy, seen=None, behind="relu"):
    """dy (N, O) and the sums of its columns; with what a relu has answered, or a gelu was given, of
    the gradient before that."""
    from cupy import empty

    pack, (rows, width), changes = 16 // dy.dtype.itemsize, dy.shape, seen is not None
    if width % pack:
        if changes:
            dy = (masked if behind == "relu" else gelu_tanh_dx)(dy, seen)
        return dy, reduce_cuda(dy, "Sum", (0,))
    share, total, blocks, place, sizes = _summing(dy.dtype, rows, width, changes and behind)
    dy, dbias, partial = aligned(dy), empty(width, dy.dtype), empty(*place)
    dx = empty(dy.shape, dy.dtype) if changes else dy
    share(blocks, dy, aligned(seen) if changes else NULL, dx, partial, *sizes)
    total(divide_up(width, 32), partial, dbias, number(blocks[0]), sizes[1])
    return dx, dbias


@cache
def _summing(dtype, rows, width, behind):
    blocks, partial, pack = column_blocks(rows, width, dtype)
    adders = adding_threads(blocks[0])
    constants = {**sum_constants(dtype, behind), "adders": adders}
    share = Kernel(SUMS, "column_shares", constants, threads=COLUMN_THREADS)
    total = Kernel(SUMS, "column_sums", constants, threads=adders)
    return share, total, blocks, partial, (number(rows), number(width))


def _made(x, weight, outputs, has_relu):
    """The launch for dy, y, x and weight; without the outline of weight, that without dx."""
    from cupy import empty

    has_dx, shape, dtype = weight is not None, outputs[-2].shape, x.scalar_type.dtype
    n, (i, o) = prod(x.shape[:-1]), shape
    dx_rows, dx_columns = tile_of(n, i)
    rows, columns = tile_of(i + 1, o)
    dx_blocks = divide_up(n, 8 * dx_rows) * divide_up(i, 32 * dx_columns) if has_dx else 0
    blocks = (dx_blocks + divide_up(i + 1, 8 * rows) * divide_up(o, 32 * columns),)
    kernel = Kernel(_SOURCE, "linear_back", {
        "Scalar": c_type(dtype), "has_dx": has_dx, "has_relu": has_relu, "dx_rows": dx_rows,
        "dx_columns": dx_columns, "dx_thin": is_thin(o, dtype.itemsize),
        "rows": rows, "columns": columns, "thin": is_thin(n, dtype.itemsize),
    })  # fmt: skip
    x_shape, width = x.shape, shape[1:]
    sizes = [number(each) for each in (n, i, o, dx_blocks)]

    def run(dy, y, x, weight):
        dx = empty(x_shape, dtype) if has_dx else NULL
        dweight, dbias = empty(shape, dtype), empty(width, dtype)
        kernel(blocks, dy, y, x, weight, dx, dweight, dbias, *sizes)
        return (dx, dweight, dbias) if has_dx else (dweight, dbias)

    return run
