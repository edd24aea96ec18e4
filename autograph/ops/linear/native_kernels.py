"""The affine map of dense layers and its gradients by the host engine."""

import numpy as np

from ...backends import NATIVE
from ...backends.host import pool
from ...backends.host.buffers import empty
from ...backends.host.intrinsics import array, bits, from_bits
from ...backends.host.jit import kernel
from ...backends.host.product import SMALL, product, scalar_of
from ...backends.host.scalars import f32, i32
from ...backends.host.small_product import (
    back_of_linear_relu,
    is_small,
    multiply_small,
    room_of,
)  # fmt: skip
from ...backends.host.tiles import PANEL, addresses
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


def _linear(x, weight, relu):
    """The kernel of linear for these outlines."""
    (inputs, outputs), shape = weight.shape, (*x.shape[:-1], weight.shape[1])
    rows = x.size // inputs if inputs else 0
    if x.scalar_type is not F32 or not is_small(rows, outputs, inputs) or not rows:

        def run(x, weight, bias):
            y = product(x.reshape(-1, inputs), weight, bias, relu=relu)
            return y.reshape(shape)

        return run

    def run_small(x, weight, bias):
        m_blocks, n_blocks, tasks, room = room_of(rows, outputs, inputs)
        y = empty(shape, np.float32)
        multiply_small(
            tasks, m_blocks, n_blocks, rows, outputs, inputs, x, inputs, 1, weight, outputs, 1,
            bias, relu, y, addresses(), empty((room,), np.float32),
        )  # fmt: skip
        return y

    return run_small


@linear.kernel(NATIVE, when=takes, halves=True, made=True)
def linear_native(inputs, outputs):
    return _linear(*inputs[:2], 0)


@linear_relu.kernel(NATIVE, when=takes, halves=True, made=True)
def linear_relu_native(inputs, outputs):
    return _linear(*inputs[:2], 1)


@matmul.kernel(NATIVE, when=lambda a, b: a.ndim == 2 and takes(a, b), strided=True, halves=True)
def matmul_native(a, b):
    (m, k), n = a.shape, b.shape[1]
    if a.dtype != np.float32 or not is_small(m, n, k) or not m * n:
        return product(a, b)
    m_blocks, n_blocks, tasks, room = room_of(m, n, k)
    y = empty((m, n), np.float32)
    (a_row, a_k), (b_k, b_j) = a.strides, b.strides
    multiply_small(
        tasks, m_blocks, n_blocks, m, n, k, a, a_row // 4, a_k // 4, b, b_k // 4, b_j // 4, None, 0,
        y, addresses(), empty((room,), np.float32),
    )  # fmt: skip
    return y


def takes_back(dy, y, x, weight):
    return takes(x, weight)


@linear_relu_dweight.kernel(NATIVE, when=takes_back, halves=True, made=True)
def linear_relu_dweight_native(inputs, outputs):
    """The gradients of weight and bias."""
    run = _back(*inputs, False)
    return lambda *operands: run(*operands)[1:]


@linear_relu_back.kernel(NATIVE, when=takes_back, halves=True, made=True)
def linear_relu_back_native(inputs, outputs):
    """The gradients of x, weight and bias."""
    return _back(*inputs, True)


def _back(dy, y, x, weight, needs_dx):
    """The kernel of both for these outlines."""
    (inputs, outputs), shape = weight.shape, x.shape
    rows = x.size // inputs if inputs else 0
    if x.scalar_type is not F32 or not rows or not (
        is_small(rows, inputs, outputs) and is_small(inputs, outputs, rows)
    ):

        def run(dy, y, x, weight):
            deltas, dbias = _masked(dy, y)
            dx = product(deltas, weight.T).reshape(shape) if needs_dx else None
            return dx, product(x.reshape(-1, inputs).T, deltas), dbias

        return run
    o_panels, i_panels = -(-outputs // PANEL), -(-inputs // PANEL)

    def run_small(dy, y, x, weight):
        threads = pool.get_num_threads() if rows * inputs * outputs >= SMALL else 1
        weight_tasks, x_tasks = min(o_panels, threads), min(i_panels, threads) * needs_dx
        room = o_panels * rows * PANEL + x_tasks * rows * outputs + i_panels * outputs * PANEL
        dx = empty(shape, np.float32) if needs_dx else None
        dweight, dbias = empty((inputs, outputs), np.float32), empty((outputs,), np.float32)
        back_of_linear_relu(
            weight_tasks + x_tasks, weight_tasks, x_tasks, rows, inputs, outputs, dy, y, x, weight,
            dx, dweight, dbias, addresses(), empty((room,), np.float32),
        )  # fmt: skip
        return dx, dweight, dbias

    return run_small


def _masked(dy, y):
    """What of dy relu let through, as rows, and the sum of the rows."""
    o = dy.shape[-1]
    deltas, dbias = empty((dy.size // o, o), dy.dtype), empty((o,), dy.dtype)
    mask_and_sum.of(T=scalar_of(dy))(-(-o // COLUMNS), len(deltas), o, dy, y, deltas, dbias)
    return deltas, dbias
