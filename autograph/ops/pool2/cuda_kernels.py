"""2-d pooling and its gradients on a CUDA device: x (N, C, H, W) -> y (N, C, P, Q)."""

from pathlib import Path

from cupy import empty

from ...backends import CUDA
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import Kernel, divide_up, offset_type
from . import index_type, max_pool2, max_pool2_dx, mean_pool2, mean_pool2_dx

_SOURCE = Path(__file__).with_name("pool2.cu")


def _floats(x, *rest, **settings):
    return x.scalar_type.is_float


@max_pool2.kernel(CUDA, when=_floats, made=True)
def max_pool2_cuda(inputs, outputs, **settings):
    launch = _made("max_pool2", inputs[0], outputs[0], **settings)
    shape, dtype = outputs[0].shape, inputs[0].scalar_type.dtype
    index_dtype = index_type(settings["filter"]).dtype

    def run(x):
        y, index = empty(shape, dtype), empty(shape, index_dtype)
        launch(x, y, index)
        return y, index

    return run


@max_pool2_dx.kernel(CUDA, when=_floats, made=True)
def max_pool2_dx_cuda(inputs, outputs, *, size, **settings):
    launch = _made("max_pool2_dx", outputs[0], inputs[0], **settings)
    shape, dtype = outputs[0].shape, inputs[0].scalar_type.dtype

    def run(dy, index):
        dx = empty(shape, dtype)
        launch(dy, index, dx)
        return dx

    return run


@mean_pool2.kernel(CUDA, when=_floats, made=True)
def mean_pool2_cuda(inputs, outputs, **settings):
    return _into(_made("mean_pool2", inputs[0], outputs[0], **settings), outputs[0])


@mean_pool2_dx.kernel(CUDA, when=_floats, made=True)
def mean_pool2_dx_cuda(inputs, outputs, *, size, **settings):
    return _into(_made("mean_pool2_dx", outputs[0], inputs[0], **settings), outputs[0])


def _into(launch, outline):
    """The launch from one array into a new one."""
    shape, dtype = outline.shape, outline.scalar_type.dtype

    def run(x):
        y = empty(shape, dtype)
        launch(x, y)
        return y

    return run


def _made(name, x, y, *, filter, stride, padding):
    """A kernel with its blocks and size: one thread an output, or an input on the way back."""
    (h, w), (p, q) = x.shape[2:], y.shape[2:]
    size = (x if name.endswith("_dx") else y).size
    offset = offset_type(max(x.size, y.size))
    kernel = Kernel(_SOURCE, name, {
        "Scalar": c_type(x.scalar_type.dtype), "Index": c_type(index_type(filter).dtype),
        "Offset": c_type(offset),
        "H": h, "W": w, "P": p, "Q": q, "R": filter[0], "S": filter[1],
        "stride_h": stride[0], "stride_w": stride[1],
        "padding_h": padding[0], "padding_w": padding[1],
    })  # fmt: skip
    blocks, last = (divide_up(size, 256),), offset.type(size)
    return lambda *arrays: kernel(blocks, *arrays, last)
