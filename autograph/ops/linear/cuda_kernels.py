"""Matrix products and linear maps on a CUDA device.

Small products run in a kernel of our own, large ones in cublasLt.
"""

from functools import cache
from math import prod
from pathlib import Path

import cupy
import numpy as np

from ...backends.cuda import lt
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import NULL, Kernel, divide_up, number
from ...backends.cuda.tile import shares_of, tile_of
from ..reduce.cuda_kernels import reduce_cuda, sum_shares

_SOURCE = Path(__file__).with_name("product.cu")
_SMALL = 2**26  # multiply-adds of one product below which launches matter more than rates


def linear_cuda(x, weight, bias=None):
    """x (N, I), weight (I, O), bias (O,) -> (N, O)."""
    return matmul_cuda(x, weight, bias)


def linear_dx_cuda(dy, weight):
    """dy (N, O), weight (I, O) -> (N, I)."""
    return matmul_cuda(dy, weight.T)


def linear_dweight_cuda(x, dy):
    """x (N, I), dy (N, O) -> (I, O)."""
    return matmul_cuda(x.T, dy)


def linear_dbias_cuda(dy):
    """dy (N, O) -> (O,)."""
    return reduce_cuda(dy, "Sum", (0,))


def matmul_cuda(a, b, bias=None):
    """(..., M, K) @ (..., K, N) -> (..., M, N); leading axes broadcast, strides may be any.

    `bias` (N,) is added to every row.
    """
    *a_lead, m, k = a.shape
    n = b.shape[-1]
    if k == 0 or not _is_small(m, n, k, a.dtype):
        y = lt.matmul(a, b, bias)
        if y is not None:
            return y
    lead = np.broadcast_shapes(tuple(a_lead), b.shape[:-2])
    batch = prod(lead)
    a_batch = _batch_stride(a, lead)
    b_batch = _batch_stride(b, lead)
    if a_batch is None:
        a, a_batch = cupy.ascontiguousarray(cupy.broadcast_to(a, (*lead, m, k))), m * k
    if b_batch is None:
        b, b_batch = cupy.ascontiguousarray(cupy.broadcast_to(b, (*lead, k, n))), k * n
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


def _is_small(m, n, k, dtype):
    return m * n * k <= _SMALL or dtype.name not in lt.TYPES


def _batch_stride(array, lead):
    """How far apart the matrices of a batch are, if they are evenly so."""
    if prod(lead) == 1 or array.ndim == 2:
        return 0
    if array.shape[:-2] == lead and array.flags.c_contiguous:
        return array.shape[-1] * array.shape[-2]
    return array.strides[0] // array.dtype.itemsize if array.shape[:-2] == lead == lead[:1] else None


@cache
def _product(m, n, k, batch, dtype, a_along_k, b_along_k, has_bias):
    rows, columns = tile_of(m, n, batch)
    blocks = divide_up(m, 8 * rows) * divide_up(n, 32 * columns) * batch
    shares = 1 if has_bias else shares_of(blocks, k, 256)
    length = divide_up(k, shares)
    wide = np.dtype("f8" if dtype.itemsize == 8 else "f4")
    kernel = Kernel(_SOURCE, "product", {
        "Scalar": c_type(dtype), "Result": c_type(dtype if shares == 1 else wide),
        "rows": rows, "columns": columns, "a_along_k": a_along_k, "b_along_k": b_along_k,
        "has_bias": has_bias,
    })  # fmt: skip
    partial = ((shares, batch * m * n), wide)
    sizes = tuple(number(each) for each in (m, n, k, batch, length))
    return kernel, blocks * shares, shares, partial, sizes
