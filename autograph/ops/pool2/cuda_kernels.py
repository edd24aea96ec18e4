"""2-d pooling and its gradients on a CUDA device: x (N, C, H, W) -> y (N, C, P, Q)."""

from functools import cache
from pathlib import Path

import cupy
import numpy as np

from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import Kernel, divide_up, offset_type

_SOURCE = Path(__file__).with_name("pool2.cu")
_BYTE_PLACES = 254  # windows of more places keep their index in int32


def max_pool2_cuda(x, *, filter, stride, padding, dilation=(1, 1)):
    n, c, *size = x.shape
    outputs = _outputs(tuple(size), filter, stride, padding, dilation)
    y = cupy.empty((n, c, *outputs), x.dtype)
    index = cupy.empty(y.shape, _index_type(filter))
    launch = _pool2("max_pool2", x.shape, outputs, x.dtype, filter, stride, padding, dilation)
    launch(x, y, index)
    return y, index


def max_pool2_dx_cuda(dy, index, *, size, filter, stride, padding, dilation=(1, 1)):
    dx = cupy.empty((*dy.shape[:2], *size), dy.dtype)
    launch = _pool2(
        "max_pool2_dx", dx.shape, dy.shape[2:], dy.dtype, filter, stride, padding, dilation
    )
    launch(dy, index, dx)
    return dx


def mean_pool2_cuda(x, *, filter, stride, padding, counts_padding=True):
    n, c, *size = x.shape
    outputs = _outputs(tuple(size), filter, stride, padding, (1, 1))
    y = cupy.empty((n, c, *outputs), x.dtype)
    launch = _pool2(
        "mean_pool2", x.shape, outputs, x.dtype, filter, stride, padding, (1, 1), counts_padding
    )
    launch(x, y)
    return y


def mean_pool2_dx_cuda(dy, *, size, filter, stride, padding, counts_padding=True):
    dx = cupy.empty((*dy.shape[:2], *size), dy.dtype)
    launch = _pool2(
        "mean_pool2_dx", dx.shape, dy.shape[2:], dy.dtype, filter, stride, padding, (1, 1),
        counts_padding,
    )  # fmt: skip
    launch(dy, dx)
    return dx


@cache
def _outputs(size, filter, stride, padding, dilation):
    return tuple(
        (size[i] + 2 * padding[i] - dilation[i] * (filter[i] - 1) - 1) // stride[i] + 1
        for i in (0, 1)
    )


@cache
def _index_type(filter):
    return np.dtype("u1" if filter[0] * filter[1] <= _BYTE_PLACES else "i4")


@cache
def _pool2(name, x_shape, outputs, dtype, filter, stride, padding, dilation, counts_padding=True):
    """A kernel with its blocks and size: one thread an output, or an input on the way back."""
    n, c, h, w = x_shape
    size = n * c * (h * w if name.endswith("_dx") else outputs[0] * outputs[1])
    offset = offset_type(n * c * max(h * w, outputs[0] * outputs[1]))
    kernel = Kernel(_SOURCE, name, {
        "Scalar": c_type(dtype), "Index": c_type(_index_type(filter)), "Offset": c_type(offset),
        "H": h, "W": w, "P": outputs[0], "Q": outputs[1], "R": filter[0], "S": filter[1],
        "stride_h": stride[0], "stride_w": stride[1],
        "padding_h": padding[0], "padding_w": padding[1],
        "dilation_h": dilation[0], "dilation_w": dilation[1],
        "counts_padding": counts_padding,
    })  # fmt: skip
    blocks, last = divide_up(size, 256), offset.type(size)
    return lambda *arrays: kernel(blocks, *arrays, last)
