"""The affine map of dense layers and its gradients by the host engine."""

import numpy as np

from ...backends import NATIVE
from ...backends.host.buffers import empty
from ...backends.host.jit import kernel
from ...backends.host.language import array, f32
from ...backends.host.product import product, scalar_of, shares
from ...scalar_type import BF16, F32
from ..matmul import matmul
from . import linear

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


def linear_back_native(dy, x, weight, y=None, *, needs_dx=True, needs_dbias=True):
    """The gradients of x, weight and bias; of dy what relu let through, where its output y is given."""
    n, o = dy.shape
    if y is not None:
        masked = empty(dy.shape, dy.dtype)
        tasks = shares(n, dy.size)
        mask.of(T=scalar_of(dy))(tasks, tasks, dy.size, dy, y, masked)
        dy = masked
    dx = product(dy, weight.T) if needs_dx else None
    dweight = product(x.T, dy)
    dbias = None
    if needs_dbias:
        dbias = empty((o,), dy.dtype)
        sum_rows.of(T=scalar_of(dy))(-(-o // COLUMNS), n, o, dy, dbias)
    return dx, dweight, dbias
