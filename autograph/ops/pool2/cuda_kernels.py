"""2-d pooling and its gradients on a CUDA device: x (N, C, H, W) -> y (N, C, P, Q)."""

from functools import cache
from pathlib import Path

import cupy

from ...backends import CUDA
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import Kernel, divide_up, offset_type
from . import index_type, max_pool2, max_pool2_dx, mean_pool2, mean_pool2_dx

_SOURCE = Path(__file__).with_name("pool2.cu")


def _floats(x, *rest, **settings):
    return x.scalar_type.is_float


@max_pool2.kernel(CUDA, when=_floats)
def max_pool2_cuda(x, *, filter, stride, padding):
    n, c, *size = x.shape
    outputs = _outputs(tuple(size), filter, stride, padding)
    y = cupy.empty((n, c, *outputs), x.dtype)
    index = cupy.empty(y.shape, index_type(filter).dtype)
    launch = _pool2("max_pool2", x.shape, outputs, x.dtype, filter, stride, padding)
    launch(x, y, index)
    return y, index


@max_pool2_dx.kernel(CUDA, when=_floats)
def max_pool2_dx_cuda(dy, index, *, size, filter, stride, padding):
    dx = cupy.empty((*dy.shape[:2], *size), dy.dtype)
    launch = _pool2("max_pool2_dx", dx.shape, dy.shape[2:], dy.dtype, filter, stride, padding)
    launch(dy, index, dx)
    return dx


@mean_pool2.kernel(CUDA, when=_floats)
def mean_pool2_cuda(x, *, filter, stride, padding):
    n, c, *size = x.shape
    outputs = _outputs(tuple(size), filter, stride, padding)
    y = cupy.empty((n, c, *outputs), x.dtype)
    launch = _pool2("mean_pool2", x.shape, outputs, x.dtype, filter, stride, padding)
    launch(x, y)
    return y


@mean_pool2_dx.kernel(CUDA, when=_floats)
def mean_pool2_dx_cuda(dy, *, size, filter, stride, padding):
    dx = cupy.empty((*dy.shape[:2], *size), dy.dtype)
    launch = _pool2("mean_pool2_dx", dx.shape, dy.shape[2:], dy.dtype, filter, stride, padding)
    launch(dy, dx)
    return dx


@cache
def _outputs(size, filter, stride, padding):
    return tuple((size[i] + 2 * padding[i] - filter[i]) // stride[i] + 1 for i in (0, 1))


@cache
def _pool2(name, x_shape, outputs, dtype, filter, stride, padding):
    """A kernel with its blocks and size: one thread an output, or an input on the way back."""
    n, c, h, w = x_shape
    size = n * c * (h * w if name.endswith("_dx") else outputs[0] * outputs[1])
    offset = offset_type(n * c * max(h * w, outputs[0] * outputs[1]))
    kernel = Kernel(_SOURCE, name, {
        "Scalar": c_type(dtype), "Index": c_type(index_type(filter).dtype),
        "Offset": c_type(offset),
        "H": h, "W": w, "P": outputs[0], "Q": outputs[1], "R": filter[0], "S": filter[1],
        "stride_h": stride[0], "stride_w": stride[1],
        "padding_h": padding[0], "padding_w": padding[1],
    })  # fmt: skip
    blocks, last = divide_up(size, 256), offset.type(size)
    return lambda *arrays: kernel(blocks, *arrays, last)
