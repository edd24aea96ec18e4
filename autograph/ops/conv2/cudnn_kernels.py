"""2-d convolution and its gradients by cuDNN: images with their channels last in memory.

Letters as in the op; weights are (O, R, S, C) in memory while cuDNN reads them. In halves, channels
are filled up with zeros to whole accesses of 16 bytes, which tensor cores want.
"""

from functools import cache
from typing import Any

from ...backends import CUDNN
from ...backends.cuda.arrange import arranged, channels_first, channels_last
from ...backends.cuda.cudnn import Graph, refused, type_of, usable
from ...backends.precision import current_precision
from ...outline import CHANNELS_LAST
from ...scalar_type import F32, F64
from . import conv2, conv2_dweight, conv2_dx
from .cuda_kernels import conv2_cuda, conv2_dweight_cuda, conv2_dx_cuda
from .read import was_read

_WORTH = 2**25  # multiply-adds from which the library is faster than our own kernels
_IN_PARTS = "eng1"  # which adds long sums up in parts: float32 is off by 1e-6, not by 1e-5


def _takes(images, work, groups):
    fits = images.scalar_type.is_float and images.scalar_type is not F64 and groups == 1
    return fits and work >= _WORTH and usable()


def _takes_conv2(x, weight, bias, *, groups, stride, **settings):
    work = x.size // (stride[0] * stride[1]) * weight.size // weight.shape[1]
    return _takes(x, work, groups)


def _takes_dx(dy, weight, *, groups, **settings):
    return _takes(dy, dy.size * weight.size // weight.shape[0], groups)


def _takes_dweight(dy, x, *, filter, groups, **settings):
    return _takes(dy, dy.size * x.shape[1] * filter[0] * filter[1], groups)


def _fill(channels, dtype):
    """How many channels there are with those that fill an access of halves up."""
    return channels if dtype.itemsize == 4 else -(-channels // 8) * 8


def _tensor(graph, shape, dtype):
    """An image or a weight (N, C, H, W) with its channels last."""
    _, c, h, w = shape
    return graph.tensor(dim=list(shape), stride=[h * w * c, 1, w * c, c], data_type=type_of(dtype))


def _answer(tensor, shape, dtype):
    _, c, h, w = shape
    tensor.set_dim(list(shape)).set_stride([h * w * c, 1, w * c, c])
    return tensor.set_output(True).set_data_type(type_of(dtype))


def _geometry(settings):
    return {name: list(settings[name]) for name in ("stride", "padding", "dilation")}


def _graph_of(op, inputs, outputs, settings, build, engine=""):
    """The graph for the precision that holds when it is asked for, of this engine if exact."""
    device, dtype = outputs[0].device, outputs[0].scalar_type.dtype
    key = f"{op.name} {inputs} {outputs} {settings}"

    @cache
    def made(exact):
        return Graph(device.index, build, exact=exact, engine=engine, key=key)

    single = dtype.itemsize == 4
    return lambda: made(single and current_precision() != "tf32")


def _or_else(graph_of, own, inputs, outputs, settings, run):
    """`run(graph, *arrays)`; our own kernel where cuDNN has none."""
    ours: list[Any] = []

    def call(*arrays):
        if not ours:
            try:
                graph = graph_of()
            except (RuntimeError, refused()):  # where no plan does it
                ours.append(own(inputs, outputs, **settings))
            else:
                return run(graph, *arrays)
        plain = (
            each if each is None or each.flags.c_contiguous else arranged(each) for each in arrays
        )
        return ours[0](*plain)

    return call


@conv2.kernel(CUDNN, when=_takes_conv2, strided=CHANNELS_LAST, made=True)
def conv2_cudnn(inputs, outputs, **settings):
    from cupy import empty

    x, weight, bias = inputs
    (n, o, p, q), (_, _, r, s), dtype = outputs[0].shape, weight.shape, x.scalar_type.dtype
    c, geometry = _fill(x.shape[1], dtype), _geometry(settings)

    def build(graph):
        image = _tensor(graph, (n, c, *x.shape[2:]), dtype)
        filters = _tensor(graph, (o, c, r, s), dtype)
        y, given = graph.conv_fprop(image=image, weight=filters, **geometry), [image, filters]
        if bias is not None:
            y.set_data_type(type_of(F32.dtype))  # it is rounded once, after the bias
            given.append(_tensor(graph, (1, o, 1, 1), dtype))
            y = graph.bias(name="bias", input=y, bias=given[-1])
        return [*given, _answer(y, (n, o, p, q), dtype)]

    def run(graph, x, weight, bias):
        y = empty((n, p, q, o), dtype)
        filters = channels_last(weight, c)
        given = [channels_last(x, c), filters, *([] if bias is None else [bias])]
        graph(*[each.data.ptr for each in given], y.data.ptr)
        y = y.transpose(0, 3, 1, 2)
        if c == weight.shape[1]:
            was_read(y, filters.transpose(0, 3, 1, 2))
        return y

    graph_of = _graph_of(conv2, inputs, outputs, settings, build)
    return _or_else(graph_of, conv2_cuda, inputs, outputs, settings, run)


@conv2_dx.kernel(CUDNN, when=_takes_dx, strided=CHANNELS_LAST, made=True)
def conv2_dx_cudnn(inputs, outputs, *, size, **settings):
    from cupy import empty

    dy, weight = inputs
    (n, real, h, w), (o, _, r, s), dtype = outputs[0].shape, weight.shape, dy.scalar_type.dtype
    c = _fill(real, dtype)
    geometry = _geometry(settings)

    def build(graph):
        slope, filters = _tensor(graph, dy.shape, dtype), _tensor(graph, (o, c, r, s), dtype)
        dx = graph.conv_dgrad(loss=slope, filter=filters, **geometry)
        return [slope, filters, _answer(dx, (n, c, h, w), dtype)]

    def run(graph, dy, weight):
        dx = empty((n, h, w, c), dtype)
        slope, filters = channels_last(dy), channels_last(weight, c)
        graph(slope.data.ptr, filters.data.ptr, dx.data.ptr)
        return dx.transpose(0, 3, 1, 2) if c == real else channels_first(dx, real)

    settings = {"size": size, **settings}
    graph_of = _graph_of(conv2_dx, inputs, outputs, settings, build)
    return _or_else(graph_of, conv2_dx_cuda, inputs, outputs, settings, run)


@conv2_dweight.kernel(CUDNN, when=_takes_dweight, strided=CHANNELS_LAST, made=True)
def conv2_dweight_cudnn(inputs, outputs, *, filter, **settings):
    from cupy import empty

    dy, x = inputs
    (o, real, r, s), dtype = outputs[0].shape, dy.scalar_type.dtype
    n, c, geometry = x.shape[0], _fill(real, dtype), _geometry(settings)

    def build(graph):
        slope = _tensor(graph, dy.shape, dtype)
        image = _tensor(graph, (n, c, *x.shape[2:]), dtype)
        dweight = graph.conv_wgrad(image=image, loss=slope, **geometry)
        return [slope, image, _answer(dweight, (o, c, r, s), dtype)]

    def run(graph, dy, x):
        dweight = empty((o, r, s, c), dtype)
        slope, image = channels_last(dy), channels_last(x, c)
        graph(slope.data.ptr, image.data.ptr, dweight.data.ptr)
        return channels_first(dweight, real)

    settings = {"filter": filter, **settings}
    graph_of = _graph_of(conv2_dweight, inputs, outputs, settings, build, _IN_PARTS)
    return _or_else(graph_of, conv2_dweight_cuda, inputs, outputs, settings, run)
