"""The affine map of dense layers and its gradients by the host engine."""

from functools import cache
from math import prod

import numpy as np

from ...backends import NATIVE
from ...backends.host import pool
from ...backends.host.buffers import allocator, empty
from ...backends.host.intrinsics import array, bits, from_bits
from ...backends.host.jit import kernel
from ...backends.host.product import SMALL, product, scalar_of, shares
from ...backends.host.scalars import KINDS, f32, i32
from ...backends.host.small_product import (
    TINY,
    back_of_linear_relu,
    columns_of,
    is_small,
    multiply_each,
    multiply_small,
    places_of,
    steps_of,
)  # fmt: skip
from ...backends.host.tiles import PANEL, ROWS, addresses
from ...scalar_type import BF16, F32
from ..cast import cast
from ..matmul import matmul
from . import linear, linear_back
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
    return x.ndim > 0 and weight.ndim == 2 and weight.size > 0 and x.scalar_type in KINDS


def wide(bias):
    """The bias as tiles add it."""
    return cast(bias, scalar_type=F32) if bias is not None and bias.itemsize != 4 else bias


def _small(scalar_type, m, n, k, shape, a_steps=None, b_steps=None, relu=0):
    """The kernel of small products of these sizes, from both operands and the bias to a new array
    of a shape; the strides of operands, in elements, are asked of each array where they are not
    given."""
    scalar, is_wide, size = KINDS[scalar_type], scalar_type is BF16, scalar_type.dtype.itemsize
    new, tiles = allocator(shape, scalar_type.dtype), addresses(scalar.name)

    @cache
    def cut(threads):
        """The launch for so many threads, scratch for all, and the room of a task."""
        m_blocks, n_blocks, tasks, room = columns_of(m, n, k, threads)
        rows = (m // (m_blocks * ROWS) + 2) * ROWS * k * is_wide
        little = tasks == 1 and room + rows <= TINY
        kernel = multiply_small.of(T=scalar, WIDE=is_wide, LITTLE=little)
        scratch = allocator((room + tasks * rows,)) if not little else lambda: None
        return kernel.launch(tasks, m_blocks, n_blocks, m, n, k), scratch, rows

    one = cut(1) if m * n * k < SMALL else None  # the same for any threads

    def run(a, b, bias=None):
        launch, scratch, rows = one or cut(pool.get_num_threads())
        (a_row, a_k), (b_k, b_j) = a_steps or a.strides, b_steps or b.strides
        if not a_steps:
            a_row, a_k = a_row // size, a_k // size
        if not b_steps:
            b_k, b_j = b_k // size, b_j // size
        y = new()
        launch(a, a_row, a_k, b, b_k, b_j, bias, relu, y, tiles, scratch(), rows)
        return y

    return run


def _linear(x, weight, relu):
    """The kernel of linear for these outlines."""
    (inputs, outputs), shape = weight.shape, (*x.shape[:-1], weight.shape[1])
    rows = x.size // inputs if inputs else 0
    if not is_small(rows, outputs, inputs) or not rows:
        return lambda x, weight, bias: product(
            x.reshape(-1, inputs), weight, wide(bias), relu=relu
        ).reshape(shape)
    steps = (inputs, 1), (outputs, 1)
    small = _small(x.scalar_type, rows, outputs, inputs, shape, *steps, relu)
    return small if x.scalar_type is F32 else lambda x, w, bias: small(x, w, wide(bias))


@linear.kernel(NATIVE, when=takes, halves=True, made=True)
def linear_native(inputs, outputs):
    return _linear(*inputs[:2], 0)


@linear_relu.kernel(NATIVE, when=takes, halves=True, made=True)
def linear_relu_native(inputs, outputs):
    return _linear(*inputs[:2], 1)


# -- Products of matrices, one or many ------


def takes_matrices(a, b):
    return min(a.ndim, b.ndim) > 1 and a.scalar_type in KINDS


@matmul.kernel(NATIVE, when=takes_matrices, strided=True, halves=True, made=True)
def matmul_native(inputs, outputs):
    (*batch, m, n), k, scalar_type = outputs[0].shape, inputs[0].shape[-1], inputs[0].scalar_type
    small = is_small(m, n, k) and m * n > 0
    if not batch:
        return _matrices(*inputs) if small else product
    batch, scalar, one = tuple(batch), KINDS[scalar_type], inputs[1].ndim == 2
    is_wide, count = scalar_type is BF16, prod(batch)
    launch = multiply_each.of(T=scalar, WIDE=is_wide)
    tasks = shares(count, count * m * n * k)
    room = tasks * k * (-(-n // PANEL) * PANEL + m * is_wide)

    def run(a, b):
        if one and a.flags.c_contiguous:  # the rows of all
            return product(a.reshape(-1, k), b).reshape(*batch, m, n)
        y = empty((*batch, m, n), scalar_type.dtype)
        a, b = (np.broadcast_to(x, batch + x.shape[-2:]) for x in (a, b))
        if small:
            (*a_steps, a_row, a_k), (*b_steps, b_k, b_j) = steps_of(a), steps_of(b)
            places = places_of(batch, tuple(a_steps), tuple(b_steps))
            launch(
                tasks, tasks, count, places, m, n, k, a, a_row, a_k, b, b_k, b_j, y,
                addresses(scalar.name), empty((room,), np.float32),
            )  # fmt: skip
        else:
            for i in np.ndindex(*batch):
                product(a[i], b[i], out=y[i])
        return y

    return run


def _matrices(a, b):
    """A small product of two matrices of these outlines."""
    (m, k), n = a.shape, b.shape[1]
    steps = (k, 1) if a.is_contiguous else None, (n, 1) if b.is_contiguous else None
    return _small(a.scalar_type, m, n, k, (m, n), *steps)


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


@linear_back.kernel(NATIVE, when=lambda dy, x, weight: takes(x, weight), halves=True, made=True)
def linear_back_native(inputs, outputs):
    """The gradients of x, weight and bias, behind a relu that lets all through."""
    dy, x, weight = inputs
    run, through = _back(dy, dy, x, weight, True), np.ones(dy.shape, dy.scalar_type.dtype)
    return lambda dy, x, weight: run(dy, through, x, weight)


def _back(dy, y, x, weight, needs_dx):
    """The kernel of both for these outlines."""
    (inputs, outputs), shape = weight.shape, x.shape
    rows = x.size // inputs if inputs else 0
    if not rows or not (is_small(rows, inputs, outputs) and is_small(inputs, outputs, rows)):

        def run(dy, y, x, weight):
            deltas, dbias = _masked(dy, y)
            dx = product(deltas, weight.T).reshape(shape) if needs_dx else None
            return dx, product(x.reshape(-1, inputs).T, deltas), dbias

        return run
    o_panels, i_panels = -(-outputs // PANEL), -(-inputs // PANEL)
    scalar, dtype, is_wide = KINDS[x.scalar_type], x.scalar_type.dtype, x.scalar_type is BF16
    kernel, tiles = back_of_linear_relu.of(T=scalar, WIDE=is_wide), addresses(scalar.name)
    new_dx, new_dweight = allocator(shape, dtype), allocator((inputs, outputs), dtype)
    new_dbias = allocator((outputs,), dtype)

    @cache
    def cut(threads):
        """The launch for so many threads, and the scratch of all."""
        weight_tasks, x_tasks = min(o_panels, threads), min(i_panels, threads) * needs_dx
        room = o_panels * rows * PANEL + x_tasks * rows * outputs + i_panels * outputs * PANEL
        room += weight_tasks * rows * inputs * is_wide
        tasks = weight_tasks + x_tasks
        launch = kernel.launch(tasks, weight_tasks, x_tasks, rows, inputs, outputs)
        return launch, allocator((room,))

    one = cut(1) if rows * inputs * outputs < SMALL else None  # the same for any threads

    def run_small(dy, y, x, weight):
        launch, scratch = one or cut(pool.get_num_threads())
        dx, dweight, dbias = new_dx() if needs_dx else None, new_dweight(), new_dbias()
        launch(dy, y, x, weight, dx, dweight, dbias, tiles, scratch())
        return dx, dweight, dbias

    return run_small


def _masked(dy, y):
    """What of dy relu let through, as rows, and the sum of the rows."""
    o = dy.shape[-1]
    deltas, dbias = empty((dy.size // o, o), dy.dtype), empty((o,), dy.dtype)
    mask_and_sum.of(T=scalar_of(dy))(-(-o // COLUMNS), len(deltas), o, dy, y, deltas, dbias)
    return deltas, dbias
