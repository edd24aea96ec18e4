"""Dense layer and relu on a CUDA device in one launch, where that is faster than a product of a
library with a launch behind it."""

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
from .relu import linear_relu

_SOURCE = Path(__file__).with_name("product.cu")


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
            y = lt.matmul(x.reshape(m, k), weight, bias)
            if y is not None:
                return relu_of(y).reshape(shape)  # the library's own relu would hide NaN
        y = empty(shape, dtype)
        kernel(blocks, x, weight, NULL if bias is None else bias, y, *sizes, *strides, length)
        return y

    return run
