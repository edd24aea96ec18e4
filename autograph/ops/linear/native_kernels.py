"""The affine map of dense layers and its gradients by the host engine."""

from ...backends import NATIVE
from ...backends.host.buffers import empty
from ...backends.host.jit import kernel
from ...backends.host.language import array, f32
from ...backends.host.product import product, scalar_of, shares
from ...scalar_type import BF16, F32
from ..matmul import matmul
from . import linear
from .relu import linear_relu, linear_relu_back, linear_relu_dweight

COLUMNS = 64  # of a task


@kernel
def mask(task, tasks: int, size: int, dy: "T", y: "T", out: "T"):
    """out = dy where relu let y through."""
    for i in range(task * size // tasks, (task + 1) * size // tasks):
        out[i] = 0.0 if y[i] <= 0.0 else dy[i]


@kernel
def sum_rows(task, n: int, o: int, dy: "T", out: "T"):
    """out[j] = the sum of dy[i, j], in order of rows."""
    first, last = task * COLUMNS, min(o, (task + 1) * COLUMNS)
    sums = array(f32, COLUMNS)
    for j in range(COLUMNS):
        sums[j] = 0.0
    for i in range(n):
        here = dy + (i * o + first)
        for j in range(last - first):
            sums[j] += here[j]
    for j in range(last - first):
        out[first + j] = sums[j]


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
    return _dweight_and_dbias(_masked(dy, y), _rows(x))


@linear_relu_back.kernel(NATIVE, when=takes_back, halves=True)
def linear_relu_back_native(dy, y, x, weight):
    """The gradients of x, weight and bias."""
    deltas = _masked(dy, y)
    return product(deltas, weight.T).reshape(x.shape), *_dweight_and_dbias(deltas, _rows(x))


def _rows(x):
    return x.reshape(-1, x.shape[-1])


def _masked(dy, y):
    """What of dy relu let through, as rows."""
    masked = empty(dy.shape, dy.dtype)
    tasks = shares(dy.size // dy.shape[-1], dy.size)
    mask.of(T=scalar_of(dy))(tasks, tasks, dy.size, dy, y, masked)
    return _rows(masked)


def _dweight_and_dbias(deltas, rows):
    n, o = deltas.shape
    dbias = empty((o,), deltas.dtype)
    sum_rows.of(T=scalar_of(deltas))(-(-o // COLUMNS), n, o, deltas, dbias)
    return product(rows.T, deltas), dbias
