"""The affine map of dense layers and its gradients by the host engine."""

from ...backends import NATIVE
from ...backends.host.buffers import empty
from ...backends.host.jit import kernel
from ...backends.host.language import array, bits, f32, from_bits, i32
from ...backends.host.product import product, scalar_of
from ...scalar_type import BF16, F32
from ..matmul import matmul
from . import linear
from .relu import linear_relu, linear_relu_back, linear_relu_dweight

COLUMNS = 64  # of a task


@kernel
def mask_and_sum(task, n: int, o: int, dy: "T", y: "T", out: "T", sums: "T"):
    """out = dy where relu let y through; sums[j] = the sum of out[i, j], in order of rows."""
    first, last = task * COLUMNS, min(o, (task + 1) * COLUMNS)
    total = array(f32, COLUMNS)
    for j in range(COLUMNS):
        total[j] = 0.0
    for i in range(n):
        start = i * o + first
        here, beside, there = dy + start, y + start, out + start
        for j in range(last - first):
            value = from_bits(i32(0) if beside[j] <= 0.0 else bits(here[j]))
            there[j] = value
            total[j] += value
    for j in range(last - first):
        sums[first + j] = total[j]


def takes(x, weight, bias=None):
    """Whether inputs are of a scalar type that the engine computes with, and weight a matrix."""
    return x.ndim > 0 and weight.ndim == 2 and weight.size > 0 and x.scalar_type in (F32, BF16)


@linear.kernel(NATIVE, when=takes, halves=True)
def linear_native(x, weight, bias, *, relu=False):
    rows = x.reshape(-1, weight.shape[0])
    return product(rows, weight, bias, relu=relu).reshape(*x.shape[:-1], weight.shape[1])


@matmul.kernel(NATIVE, when=lambda a, b: a.ndim == 2 and takes(a, b), strided=True, halves=True)
def matmul_native(a, b):
    return product(a, b)


@linear_relu.kernel(NATIVE, when=takes, halves=True)
def linear_relu_native(x, weight, bias):
    return linear_native(x, weight, bias, relu=True)


def takes_back(dy, y, x, weight):
    return takes(x, weight)


@linear_relu_dweight.kernel(NATIVE, when=takes_back, halves=True)
def linear_relu_dweight_native(dy, y, x, weight):
    """The gradients of weight and bias."""
    deltas, dbias = _masked(dy, y)
    return product(_rows(x).T, deltas), dbias


@linear_relu_back.kernel(NATIVE, when=takes_back, halves=True)
def linear_relu_back_native(dy, y, x, weight):
    """The gradients of x, weight and bias."""
    deltas, dbias = _masked(dy, y)
    return product(deltas, weight.T).reshape(x.shape), product(_rows(x).T, deltas), dbias


def _rows(x):
    return x.reshape(-1, x.shape[-1])


def _masked(dy, y):
    """What of dy relu let through, as rows, and the sum of the rows."""
    o = dy.shape[-1]
    deltas, dbias = empty((dy.size // o, o), dy.dtype), empty((o,), dy.dtype)
    mask_and_sum.of(T=scalar_of(dy))(-(-o // COLUMNS), len(deltas), o, dy, y, deltas, dbias)
    return deltas, dbias
