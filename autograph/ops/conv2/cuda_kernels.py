"""2-d convolution and its gradients on a CUDA device: any stride, padding, dilation and groups.

x (N, C, H, W), weight (O, C/groups, R, S), y (N, O, P, Q); the same bits every run.
"""

from functools import cache
from pathlib import Path

import cupy
import numpy as np

from ...backends import CUDA
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import NULL, Kernel, divide_up, number
from ...backends.cuda.tile import shares_of, tile_of
from ..reduce.cuda_kernels import sum_shares
from . import conv2, conv2_dweight, conv2_dx

_SOURCE = Path(__file__).with_name("conv2.cu")


def _floats(x, *rest, **settings):
    return x.scalar_type.is_float


@conv2.kernel(CUDA, when=_floats)
def conv2_cuda(x, weight, bias, *, stride, padding, dilation, groups):
    kernel, blocks, shape, columns = _conv2(
        x.shape, weight.shape, x.dtype, bias is not None, stride, padding, dilation, groups
    )
    y = cupy.empty(shape, x.dtype)
    kernel(blocks, x, weight, NULL if bias is None else bias, y, columns)
    return y


@conv2_dx.kernel(CUDA, when=_floats)
def conv2_dx_cuda(dy, weight, *, size, stride, padding, dilation, groups):
    kernel, blocks, shape, columns = _conv2_dx(
        dy.shape, weight.shape, dy.dtype, size, stride, padding, dilation, groups
    )
    dx = cupy.empty(shape, dy.dtype)
    kernel(blocks, dy, weight, dx, columns)
    return dx


@conv2_dweight.kernel(CUDA, when=_floats)
def conv2_dweight_cuda(dy, x, *, filter, stride, padding, dilation, groups):
    kernel, blocks, shape, partial, pixels, length = _conv2_dweight(
        dy.shape, x.shape, dy.dtype, filter, stride, padding, dilation, groups
    )
    if partial is None:
        dweight = cupy.empty(shape, dy.dtype)
        kernel(blocks, dy, x, dweight, pixels, length)
        return dweight
    shares = cupy.empty(*partial)
    kernel(blocks, dy, x, shares, pixels, length)
    return sum_shares(shares, dy.dtype).reshape(shape)


# -- Plans: what depends on shapes alone ------------------------------------------------


def _constants(dtype, x_shape, weight_shape, size, stride, padding, dilation, groups):
    (_, c, h, w), (o, _, r, s), (p, q) = x_shape, weight_shape, size
    return {
        "Scalar": c_type(dtype),
        "C": c, "H": h, "W": w, "O": o, "R": r, "S": s, "P": p, "Q": q,
        "stride_h": stride[0], "stride_w": stride[1],
        "padding_h": padding[0], "padding_w": padding[1],
        "dilation_h": dilation[0], "dilation_w": dilation[1],
        "groups": groups,
    }  # fmt: skip


@cache
def _conv2(x_shape, weight_shape, dtype, has_bias, stride, padding, dilation, groups):
    (n, _, h, w), (o, _, r, s) = x_shape, weight_shape
    p = (h + 2 * padding[0] - dilation[0] * (r - 1) - 1) // stride[0] + 1
    q = (w + 2 * padding[1] - dilation[1] * (s - 1) - 1) // stride[1] + 1
    constants = _constants(
        dtype, x_shape, weight_shape, (p, q), stride, padding, dilation, groups
    )
    rows, columns = tile_of(o // groups, n * p * q, groups)
    constants |= {"has_bias": has_bias, "rows": rows, "columns": columns}
    blocks = (divide_up(n * p * q, 32 * columns), divide_up(o // groups, 8 * rows), groups)
    return Kernel(_SOURCE, "conv2", constants), blocks, (n, o, p, q), number(n * p * q)


@cache
def _conv2_dx(dy_shape, weight_shape, dtype, size, stride, padding, dilation, groups):
    (n, _, p, q), c, (h, w) = dy_shape, weight_shape[1] * groups, size
    x_shape = (n, c, h, w)
    constants = _constants(
        dtype, x_shape, weight_shape, (p, q), stride, padding, dilation, groups
    )
    rows, columns = tile_of(c // groups, n * h * w, groups)
    constants |= {"rows": rows, "columns": columns}
    blocks = (divide_up(n * h * w, 32 * columns), divide_up(c // groups, 8 * rows), groups)
    return Kernel(_SOURCE, "conv2_dx", constants), blocks, x_shape, number(n * h * w)


@cache
def _conv2_dweight(dy_shape, x_shape, dtype, filter, stride, padding, dilation, groups):
    (n, o, p, q), c = dy_shape, x_shape[1]
    weight_shape = (o, c // groups, *filter)
    constants = _constants(
        dtype, x_shape, weight_shape, (p, q), stride, padding, dilation, groups
    )
    width, pixels = c // groups * filter[0] * filter[1], n * p * q
    rows = 4 if o // groups > 16 else 2 if o // groups > 8 else 1
    columns = 2 if width > 32 else 1
    blocks = divide_up(width, 32 * columns) * divide_up(o // groups, 8 * rows) * groups
    shares = shares_of(blocks, pixels, 256)
    length = divide_up(pixels, shares)
    wide = np.dtype("f8" if dtype.itemsize == 8 else "f4")
    constants |= {
        "Result": c_type(dtype if shares == 1 else wide), "rows": rows, "columns": columns,
    }  # fmt: skip
    grid = (divide_up(width, 32 * columns), divide_up(o // groups, 8 * rows), groups * shares)
    partial = None if shares == 1 else ((shares, o * width), wide)
    kernel = Kernel(_SOURCE, "conv2_dweight", constants)
    return kernel, grid, weight_shape, partial, number(pixels), number(length)
