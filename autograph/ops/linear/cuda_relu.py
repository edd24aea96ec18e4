"""Dense layer and relu on a CUDA device: one launch forward and one back, where that is faster than
a library's product with launches around it."""

from math import prod
from pathlib import Path

import numpy as np

from ...backends import CUDA
from ...backends.cuda import lt
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import NULL, Kernel, divide_up, number
from ...backends.cuda.pointwise import pointwise_kernel
from ...backends.cuda.tile import is_thin, tile_of
from ..elementwise import relu
from .relu import linear_relu, linear_relu_back, linear_relu_dweight

_FORWARD = Path(__file__).with_name("product.cu")
_BACK = Path(__file__).with_name("relu.cu")
_SMALL = 2**26  # multiply-adds of one product below which one launch back is faster
_ROWS = 4096  # samples that one block still sums over


def _rows(x):
    return prod(x.shape[:-1])


def _takes(x, weight, bias):
    return x.scalar_type.is_float and _rows(x) * prod(weight.shape) > 0


@linear_relu.kernel(CUDA, when=_takes, made=True)
def linear_relu_cuda(inputs, outputs):
    from cupy import empty

    x, weight, bias = inputs
    m, (k, n) = _rows(x), weight.shape
    library = lt.is_faster(m, k, n, x.scalar_type.dtype)
    rows, columns = tile_of(m, n)
    kernel = Kernel(_FORWARD, "product", {
        "Scalar": c_type(x.scalar_type.dtype), "Result": c_type(x.scalar_type.dtype),
        "rows": rows, "columns": columns, "thin": is_thin(k, x.scalar_type.dtype.itemsize),
        "a_along_k": True, "b_along_k": False,
        "has_bias": bias is not None, "has_relu": True,
    })  # fmt: skip
    blocks = (divide_up(m, 8 * rows) * divide_up(n, 32 * columns),)
    sizes = [number(each) for each in (m, n, k, 1)]
    strides = [np.int64(each) for each in (k, 1, 0, n, 1, 0)]
    relu_of = pointwise_kernel(relu.program, [x.scalar_type.dtype], [(m, n)], x.scalar_type.dtype)
    shape, dtype, length = outputs[0].shape, x.scalar_type.dtype, sizes[2]

    def run(x, weight, bias):
        if library:
            y = lt.matmul(x.reshape(m, k), weight, bias)
            if y is not None:
                return relu_of(y).reshape(shape)  # the library's own relu would hide NaN
        y = empty(shape, dtype)
        kernel(blocks, x, weight, NULL if bias is None else bias, y, *sizes, *strides, length)
        return y

    return run


def _takes_back(dy, y, x, weight):
    return x.scalar_type.is_float and (
        0 < _rows(x) * prod(weight.shape) <= _SMALL and _rows(x) <= _ROWS
    )


def _made_back(inputs, has_dx):
    from cupy import empty

    _, _, x, weight = inputs
    n, (i, o) = _rows(x), weight.shape
    dx_rows, dx_columns = tile_of(n, i)
    rows, columns = tile_of(i + 1, o)
    dx_blocks = divide_up(n, 8 * dx_rows) * divide_up(i, 32 * dx_columns) if has_dx else 0
    blocks = (dx_blocks + divide_up(i + 1, 8 * rows) * divide_up(o, 32 * columns),)
    kernel = Kernel(_BACK, "linear_relu_back", {
        "Scalar": c_type(x.scalar_type.dtype), "has_dx": has_dx, "dx_rows": dx_rows,
        "dx_columns": dx_columns, "dx_thin": is_thin(o, x.scalar_type.dtype.itemsize),
        "rows": rows, "columns": columns, "thin": is_thin(n, x.scalar_type.dtype.itemsize),
    })  # fmt: skip
    x_shape, shape, outputs, dtype = x.shape, weight.shape, weight.shape[1:], x.scalar_type.dtype
    sizes = [number(each) for each in (n, i, o, dx_blocks)]

    def run(dy, y, x, weight):
        dx = empty(x_shape, dtype) if has_dx else None
        dweight, dbias = empty(shape, dtype), empty(outputs, dtype)
        kernel(blocks, dy, y, x, weight, NULL if dx is None else dx, dweight, dbias, *sizes)
        return (dx, dweight, dbias) if has_dx else (dweight, dbias)

    return run


@linear_relu_back.kernel(CUDA, when=_takes_back, made=True)
def linear_relu_back_cuda(inputs, outputs):
    return _made_back(inputs, True)


@linear_relu_dweight.kernel(CUDA, when=_takes_back, made=True)
def linear_relu_dweight_cuda(inputs, outputs):
    return _made_back(inputs, False)
