"""2-d convolution and its gradients on a CUDA device: any stride, padding, dilation and groups.

x (N, C, H, W), weight (O, C/groups, R, S), y (N, O, P, Q); the same bits every run.
"""

from pathlib import Path

import numpy as np
from cupy import empty

from ...backends import CUDA
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import NULL, Kernel, divide_up, number
from ...backends.cuda.tile import shares_of, tile_of
from ..reduce.cuda_kernels import sum_shares
from . import conv2, conv2_dweight, conv2_dx

_SOURCE = Path(__file__).with_name("conv2.cu")


def _floats(x, *rest, **settings):
    return x.scalar_type.is_float


@conv2.kernel(CUDA, when=_floats, made=True)
def conv2_cuda(inputs, outputs, *, stride, padding, dilation, groups):
    x, weight, bias = inputs
    (n, o, p, q), dtype = outputs[0].shape, x.scalar_type.dtype
    rows, columns = tile_of(o // groups, n * p * q, groups)
    kernel = Kernel(_SOURCE, "conv2", {
        **_constants(x, weight, outputs[0], stride, padding, dilation, groups),
        "has_bias": bias is not None, "rows": rows, "columns": columns,
    })  # fmt: skip
    blocks = divide_up(n * p * q, 32 * columns), divide_up(o // groups, 8 * rows), groups
    shape, pixels = (n, o, p, q), number(n * p * q)

    def run(x, weight, bias):
        y = empty(shape, dtype)
        kernel(blocks, x, weight, NULL if bias is None else bias, y, pixels)
        return y

    return run


@conv2_dx.kernel(CUDA, when=_floats, made=True)
def conv2_dx_cuda(inputs, outputs, *, size, stride, padding, dilation, groups):
    dy, weight = inputs
    shape, dtype = outputs[0].shape, dy.scalar_type.dtype
    n, c, h, w = shape
    rows, columns = tile_of(c // groups, n * h * w, groups)
    kernel = Kernel(_SOURCE, "conv2_dx", {
        **_constants(outputs[0], weight, dy, stride, padding, dilation, groups),
        "rows": rows, "columns": columns,
    })  # fmt: skip
    blocks = divide_up(n * h * w, 32 * columns), divide_up(c // groups, 8 * rows), groups
    pixels = number(n * h * w)

    def run(dy, weight):
        dx = empty(shape, dtype)
        kernel(blocks, dy, weight, dx, pixels)
        return dx

    return run


@conv2_dweight.kernel(CUDA, when=_floats, made=True)
def conv2_dweight_cuda(inputs, outputs, *, filter, stride, padding, dilation, groups):
    dy, x = inputs
    shape, dtype = outputs[0].shape, dy.scalar_type.dtype
    (n, o, p, q), c = dy.shape, x.shape[1]
    width, count = c // groups * filter[0] * filter[1], n * p * q
    rows = 4 if o // groups > 16 else 2 if o // groups > 8 else 1
    columns = 2 if width > 32 else 1
    across, down = divide_up(width, 32 * columns), divide_up(o // groups, 8 * rows)
    shares = shares_of(across * down * groups, count, 256)
    pixels, length = number(count), number(divide_up(count, shares))
    wide = np.dtype("f8" if dtype.itemsize == 8 else "f4")
    kernel = Kernel(_SOURCE, "conv2_dweight", {
        **_constants(x, outputs[0], dy, stride, padding, dilation, groups),
        "Result": c_type(dtype if shares == 1 else wide), "rows": rows, "columns": columns,
    })  # fmt: skip
    blocks = across, down, groups * shares
    place = (shape, dtype) if shares == 1 else ((shares, o * width), wide)

    def run(dy, x):
        sums = empty(*place)
        kernel(blocks, dy, x, sums, pixels, length)
        return sums if shares == 1 else sum_shares(sums, dtype).reshape(shape)

    return run


def _constants(x, weight, y, stride, padding, dilation, groups):
    (_, c, h, w), (o, _, r, s), (_, _, p, q) = x.shape, weight.shape, y.shape
    return {
        "Scalar": c_type(x.scalar_type.dtype),
        "C": c, "H": h, "W": w, "O": o, "R": r, "S": s, "P": p, "Q": q,
        "stride_h": stride[0], "stride_w": stride[1],
        "padding_h": padding[0], "padding_w": padding[1],
        "dilation_h": dilation[0], "dilation_w": dilation[1],
        "groups": groups,
    }  # fmt: skip
