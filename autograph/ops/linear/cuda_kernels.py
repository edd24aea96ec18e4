"""Matrix products and linear maps on a CUDA device.

Small products run in a kernel of our own, large ones in cublasLt.
"""

from functools import cache
from math import prod
from pathlib import Path

import cupy
import numpy as np

from ...backends import CUDA
from ...backends.cuda import lt
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import NULL, Kernel, divide_up, number
from ...backends.cuda.tile import is_thin, shares_of, tile_of
from ..matmul import matmul
from ..reduce.cuda_kernels import sum_shares
from . import cuda_few as cuda_few  # before the kernels that take any outputs
from . import linear

_SOURCE = Path(__file__).with_name("product.cu")


def _floats(x, *rest):
    return x.scalar_type.is_float


@linear.kernel(CUDA, when=_floats, strided=True, made=True)
def linear_cuda(inputs, outputs):
    x, weight, bias = inputs
    rows, (i, o), shape = prod(x.shape[:-1]), weight.shape, outputs[0].shape
    run = _bound((rows, i), (i, o), x.scalar_type.dtype, *inputs)
    if run is None:

        def run_any(x, weight, bias):
            y = product_cuda(x.reshape(rows, i), weight, bias)
            return y.reshape(shape)

        return run_any
    return run if x.ndim == 2 else lambda x, weight, bias: run(x, weight, bias).reshape(shape)


@matmul.kernel(CUDA, when=_floats, strided=True, made=True)
def matmul_cuda(inputs, outputs):
    a, b = inputs
    run = None
    if a.ndim == b.ndim == 2:
        run = _bound(a.shape, b.shape, a.scalar_type.dtype, a, b, None)
    if run is not None:
        return lambda a, b: run(a, b, None)
    rows, columns, shape = a.ndim > 1, b.ndim > 1, outputs[0].shape

    def run_any(a, b):
        y = product_cuda(a if rows else a[None], b if columns else b[:, None])
        return y if rows and columns else y.reshape(shape)

    return run_any


def _bound(a_shape, b_shape, dtype, *operands):
    """The launch for contiguous operands that no library multiplies faster."""
    if any(each is not None and not each.is_contiguous for each in operands):
        return None
    rows, inner = a_shape
    if lt.is_faster(rows, inner, b_shape[1], dtype):
        return None
    size = dtype.itemsize
    a_strides, b_strides = ((shape[1] * size, size) for shape in (a_shape, b_shape))
    return _matrices(a_shape, a_strides, b_shape, b_strides, dtype, operands[2] is not None)


def product_cuda(a, b, bias=None):
    """(..., M, K) @ (..., K, N) -> (..., M, N); leading axes broadcast, strides may be any.

    `bias` (N,) is added to every row.
    """
    m, k = a.shape[-2:]
    if lt.is_faster(m, k, b.shape[-1], a.dtype):
        y = lt.matmul(a, b, bias)
        if y is not None:
            return y
    if a.ndim == b.ndim == 2:
        run = _matrices(a.shape, a.strides, b.shape, b.strides, a.dtype, bias is not None)
        return run(a, b, bias)
    n = b.shape[-1]
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    batch = prod(lead)
    a, a_batch = _batched(a, lead)
    b, b_batch = _batched(b, lead)
    size = a.dtype.itemsize
    a_row, a_column = a.strides[-2] // size, a.strides[-1] // size
    b_row, b_column = b.strides[-2] // size, b.strides[-1] // size
    kernel, blocks, shares, partial, sizes = _product(
        m, n, k, batch, a.dtype, a_column == 1 or a_row != 1, b_row == 1 and b_column != 1,
        bias is not None,
    )  # fmt: skip
    strides = np.array([a_row, a_column, a_batch, b_row, b_column, b_batch], np.int64)
    y = cupy.empty((*lead, m, n), a.dtype) if shares == 1 else cupy.empty(*partial)
    kernel(blocks, a, b, NULL if bias is None else bias, y, *sizes[:4], *strides, sizes[4])
    return y if shares == 1 else sum_shares(y, a.dtype).reshape(*lead, m, n)


@cache
def _matrices(a_shape, a_strides, b_shape, b_strides, dtype, has_bias):
    """The launches of one product, as a function."""
    (m, k), n, size = a_shape, b_shape[1], dtype.itemsize
    (a_row, a_column), (b_row, b_column) = (
        [each // size for each in strides] for strides in (a_strides, b_strides)
    )
    kernel, blocks, shares, partial, sizes = _product(
        m, n, k, 1, dtype, a_column == 1 or a_row != 1, b_row == 1 and b_column != 1, has_bias
    )
    strides = [np.int64(each) for each in (a_row, a_column, 0, b_row, b_column, 0)]
    place = ((m, n), dtype) if shares == 1 else partial
    rest, empty = (*sizes[:4], *strides, sizes[4]), cupy.empty

    def run(a, b, bias):
        y = empty(*place)
        kernel(blocks, a, b, NULL if bias is None else bias, y, *rest)
        return y if shares == 1 else sum_shares(y, dtype).reshape(m, n)

    return run


def _batched(array, lead):
    """The array, or a copy, and how far apart the matrices of the batch are in it."""
    if array.ndim == 2 or prod(lead) == 1:
        return array, 0
    if array.shape[:-2] == lead:
        if len(lead) == 1:
            return array, array.strides[0] // array.dtype.itemsize
        if array.flags.c_contiguous:
            return array, array.shape[-2] * array.shape[-1]
    whole = cupy.ascontiguousarray(cupy.broadcast_to(array, (*lead, *array.shape[-2:])))
    return whole, whole.shape[-2] * whole.shape[-1]


@cache
def _product(m, n, k, batch, dtype, a_along_k, b_along_k, has_bias):
    rows, columns = tile_of(m, n, batch)
    blocks = divide_up(m, 8 * rows) * divide_up(n, 32 * columns) * batch
    shares = 1 if has_bias else shares_of(blocks, k, 256)
    length = divide_up(k, shares)
    wide = np.dtype("f8" if dtype.itemsize == 8 else "f4")
    kernel = Kernel(_SOURCE, "product", {
        "Scalar": c_type(dtype), "Result": c_type(dtype if shares == 1 else wide),
        "rows": rows, "columns": columns, "thin": is_thin(length, dtype.itemsize),
        "a_along_k": a_along_k, "b_along_k": b_along_k,
        "has_bias": has_bias, "has_relu": False,
    })  # fmt: skip
    partial = ((shares, batch * m * n), wide)
    sizes = tuple(number(each) for each in (m, n, k, batch, length))
    return kernel, (blocks * shares,), shares, partial, sizes
