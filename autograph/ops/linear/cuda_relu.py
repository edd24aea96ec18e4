"""Dense layer with relu or gelu on a CUDA device: in one launch of our own or of the library, or in
two."""

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
from .cuda_kernels import product_cuda
from .gelu import linear_gelu_tanh
from .relu import linear_relu

_SOURCE, SUMS = (Path(__file__).with_name(name) for name in ("product.cu", "sums.cu"))


def _takes(x, weight, bias):
    return x.scalar_type.is_float and x.size * weight.size > 0


@linear_relu.kernel(CUDA, when=_takes, made=True)
def linear_relu_cuda(inputs, outputs):
    from cupy import empty

    x, weight, bias = inputs
    m, (k, n) = prod(x.shape[:-1]), weight.shape
    library = lt.is_faster(m, k, n, x.scalar_type.dtype)
    rows, columns = tile_of(m, n)
    kernel = Kernel(_SOURCE, "product", {
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
            x = x.reshape(m, k)
            y = lt.matmul(x, weight, bias, relu=True)
            if y is None:
                y = lt.matmul(x, weight, bias)
                y = None if y is None else relu_of(y)
            if y is not None:
                return y.reshape(shape)
        y = empty(shape, dtype)
        kernel(blocks, x, weight, NULL if bias is None else bias, y, *sizes, *strides, length)
        return y

    return run


def sum_constants(dtype, behind=""):
    """The constants of the kernels of `sums.cu`; behind a relu, a gelu or nothing."""
    return {
        "Scalar": c_type(dtype), "pack": 16 // dtype.itemsize, "has_relu": behind == "relu",
        "has_gelu": behind == "gelu",
    }  # fmt: skip


def _takes_gelu(x, weight, bias):
    rows, (inner, width), scalar_type = prod(x.shape[:-1]), weight.shape, x.scalar_type
    fits = scalar_type.is_float and rows * width % (16 // scalar_type.dtype.itemsize) == 0
    return fits and rows > 0 and lt.is_faster(rows, inner, width, scalar_type.dtype)


@linear_gelu_tanh.kernel(CUDA, when=_takes_gelu, made=True)
def linear_gelu_tanh_cuda(inputs, outputs):
    from cupy import empty

    x, weight, _ = inputs
    rows, inner, shape = prod(x.shape[:-1]), weight.shape[0], outputs[0].shape
    dtype, size = x.scalar_type.dtype, outputs[0].size
    constants = sum_constants(dtype)
    kernel, blocks = Kernel(SUMS, "gelu", constants), divide_up(size, 1024 * constants["pack"])

    def run(x, weight, bias):
        before = product_cuda(x.reshape(rows, inner), weight, bias).reshape(shape)
        y = empty(shape, dtype)
        kernel(blocks, before, y, np.int64(size))
        return y, before

    return run
