"""Attention and its gradients by cuDNN, which never stores the matrix of all scores; with heads of
halves, and without a mask."""

from functools import cache
from math import sqrt

from ..backends import CUDNN
from ..backends.cuda.cudnn import Graph, type_of, usable
from ..backends.cuda.launch import aligned
from ..scalar_type import F32
from .attention import attention_back, scaled_dot_product_attention
from .packed_attention import packed_attention, packed_attention_back

_WIDEST = 128  # features of a head


def _fits(x, *heads):
    whole = all(size % 8 == 0 and 0 < size <= _WIDEST for size in heads)
    return x.scalar_type.is_half and x.size > 0 and whole and usable()


def _takes(q, k, v, mask, counter, *, rate, **settings):
    plain = mask is None and not rate and q.shape == k.shape == v.shape and q.ndim == 4
    return plain and _fits(q, q.shape[-1])


@cache
def _forward(device, dtype, shape, given, answer, causal, scale):
    """The graph over q, k, v, y and the normaliser; `given` and `answer` are strides."""
    n, heads, length, _ = shape

    def build(graph):
        q, k, v = (
            graph.tensor(dim=list(shape), stride=list(given), data_type=type_of(dtype))
            for _ in range(3)
        )
        y, normaliser = graph.sdpa(
            name="attention", q=q, k=k, v=v, is_inference=False, attn_scale=scale,
            use_causal_mask=causal,
        )  # fmt: skip
        y.set_output(True).set_dim(list(shape)).set_stride(list(answer))
        y.set_data_type(type_of(dtype))
        normaliser.set_output(True).set_data_type(type_of(F32.dtype))
        return q, k, v, y, normaliser

    return Graph(device.index, build)


@cache
def _backward(device, dtype, shape, given, answer, causal, scale):
    """The graph over q, k, v, y, dy, the normaliser, dq, dk and dv."""
    n, heads, length, _ = shape

    def build(graph):
        def tensor(stride):
            return graph.tensor(dim=list(shape), stride=list(stride), data_type=type_of(dtype))

        q, k, v, y, dy = (tensor(stride) for stride in (given, given, given, answer, answer))
        normaliser = graph.tensor(
            dim=[n, heads, length, 1], stride=[heads * length, length, 1, 1],
            data_type=type_of(F32.dtype),
        )  # fmt: skip
        found = graph.sdpa_backward(
            name="attention_back", q=q, k=k, v=v, o=y, dO=dy, stats=normaliser,
            attn_scale=scale, use_causal_mask=causal, use_deterministic_algorithm=True,
        )  # fmt: skip
        for each in found:
            each.set_output(True).set_dim(list(shape)).set_stride(list(given))
            each.set_data_type(type_of(dtype))
        return q, k, v, y, dy, normaliser, *found

    return Graph(device.index, build)


def _plain(shape):
    n, heads, length, size = shape
    return heads * length * size, length * size, size, 1


def _scale(scale, size):
    return 1 / sqrt(size) if scale is None else float(scale)


@scaled_dot_product_attention.kernel(CUDNN, when=_takes, made=True)
def attention_cudnn(inputs, outputs, *, causal, scale, **dropout):
    from cupy import empty

    q, (y, normaliser) = inputs[0], outputs
    dtype, wide, strides = q.scalar_type.dtype, F32.dtype, _plain(q.shape)
    key = q.device, dtype, q.shape, strides, strides, causal, _scale(scale, q.shape[-1])
    shape, saved = y.shape, normaliser.shape

    def run(q, k, v, mask, counter):
        given = [aligned(each) for each in (q, k, v)]
        found = empty(shape, dtype), empty(saved, wide)
        _forward(*key)(*[each.data.ptr for each in (*given, *found)])
        return found

    return run


@attention_back.kernel(
    CUDNN, when=lambda dy, y, q, k, v, normaliser, *rest, **settings: _takes(
        q, k, v, *rest, **settings) and normaliser.scalar_type is F32, made=True,
)  # fmt: skip
def attention_back_cudnn(inputs, outputs, *, causal, scale, **dropout):
    from cupy import empty

    q = inputs[2]
    dtype, shape, strides = q.scalar_type.dtype, q.shape, _plain(q.shape)
    key = q.device, dtype, shape, strides, strides, causal, _scale(scale, shape[-1])

    def run(dy, y, q, k, v, normaliser, mask, counter):
        given = [aligned(each) for each in (q, k, v, y, dy, normaliser)]
        found = tuple(empty(shape, dtype) for _ in range(3))
        _backward(*key)(*[each.data.ptr for each in (*given, *found)])
        return found

    return run


# -- side by side ----------------------------------------------------------------------


def _packed(x, heads, causal, scale):
    """The key of a graph, and how many bytes q, k and v are apart."""
    n, length, width = x.shape
    size = width // (3 * heads)
    shape = n, heads, length, size
    given = length * width, size, width, 1
    answer = length * heads * size, size, heads * size, 1
    dtype = x.scalar_type.dtype
    key = x.device, dtype, shape, given, answer, causal, _scale(scale, size)
    return key, heads * size * dtype.itemsize


def _takes_packed(x, *, heads, **settings):
    return _fits(x, x.shape[2] // (3 * heads))


@packed_attention.kernel(CUDNN, when=_takes_packed, made=True)
def packed_attention_cudnn(inputs, outputs, *, heads, causal, scale):
    from cupy import empty

    key, step = _packed(inputs[0], heads, causal, scale)
    (y, normaliser), dtype, wide = outputs, inputs[0].scalar_type.dtype, F32.dtype
    shape, saved = y.shape, normaliser.shape

    def run(x):
        x, y, normaliser = aligned(x), empty(shape, dtype), empty(saved, wide)
        q = x.data.ptr
        _forward(*key)(q, q + step, q + 2 * step, y.data.ptr, normaliser.data.ptr)
        return y, normaliser

    return run


@packed_attention_back.kernel(
    CUDNN, when=lambda dy, y, x, normaliser, **settings: _takes_packed(x, **settings)
    and normaliser.scalar_type is F32, made=True,
)  # fmt: skip
def packed_attention_back_cudnn(inputs, outputs, *, heads, causal, scale):
    from cupy import empty

    key, step = _packed(inputs[2], heads, causal, scale)
    shape, dtype = inputs[2].shape, inputs[2].scalar_type.dtype

    def run(dy, y, x, normaliser):
        x, dx = aligned(x), empty(shape, dtype)
        places = [at + i * step for at in (x.data.ptr, dx.data.ptr) for i in range(3)]
        between = [aligned(each) for each in (y, dy, normaliser)]
        _backward(*key)(*places[:3], *[each.data.ptr for each in between], *places[3:])
        return dx

    return run
