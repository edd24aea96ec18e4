"""Softmax, its logarithm, and their gradients along the last axis by the host engine, a row at a
time."""

import numpy as np

from ..backends import NATIVE
from ..backends.host.buffers import empty
from ..backends.host.functions import exp, log1p
from ..backends.host.intrinsics import larger, plus
from ..backends.host.jit import kernel
from ..backends.host.product import filling, shares
from ..backends.host.scalars import KINDS, f32, f64
from .softmax import log_softmax, log_softmax_dx, softmax, softmax_dx

COST = 16  # of an element, in multiply-adds


@kernel
def softmax_rows(task, tasks: int, rows: int, c: int, room: f32, x: "T", y: "T"):
    """exp(x - max(x)) / sum, or x - max(x) - log(sum)."""
    power = room + task * c
    for row in range(task * rows // tasks, (task + 1) * rows // tasks):
        here, there = x + row * c, y + row * c
        largest = here[0]
        for k in range(1, c):
            largest = larger(largest, here[k])
        for k in range(c):
            power[k] = exp(here[k] - largest)
        total = f64(0.0)
        for k in range(c):
            total = plus(total, f64(power[k]))
        if LOG:
            length = log1p(f32(total - f64(1.0)))  # the largest alone gives 1
            for k in range(c):
                there[k] = (here[k] - largest) - length
        else:
            share = f32(total)
            for k in range(c):
                there[k] = power[k] / share


@kernel
def softmax_dx_rows(task, tasks: int, rows: int, c: int, dy: "T", y: "T", dx: "T"):
    """y * (dy - sum(dy * y)), or dy - exp(y) * sum(dy)."""
    for row in range(task * rows // tasks, (task + 1) * rows // tasks):
        here, beside, there, total = dy + row * c, y + row * c, dx + row * c, f32(0.0)
        if LOG:
            for k in range(c):
                total = plus(total, here[k])
            for k in range(c):
                there[k] = here[k] - exp(beside[k]) * total
        else:
            for k in range(c):
                total = plus(total, here[k] * beside[k])
            for k in range(c):
                there[k] = beside[k] * (here[k] - total)


def takes(x, *others, axis):
    """Whether rows lie side by side."""
    return x.scalar_type in KINDS and x.ndim > 0 and axis in (-1, x.ndim - 1) and x.size > 0


def _forward(is_log):
    def make(inputs, outputs, *, axis):
        x, shape, dtype = inputs[0], inputs[0].shape, inputs[0].scalar_type.dtype
        launch, c = softmax_rows.of(T=KINDS[x.scalar_type], LOG=is_log), x.shape[-1]
        rows, tasks = x.size // c, shares(x.size // c, COST * x.size)

        def run(x):
            y = empty(shape, dtype)
            launch(tasks, tasks, rows, c, empty((tasks * c,), np.float32), x, y)
            return y

        return run

    return make


def _back(is_log):
    def make(inputs, outputs, *, axis):
        y, c = inputs[1], inputs[1].shape[-1]
        launch = softmax_dx_rows.of(T=KINDS[y.scalar_type], LOG=is_log)
        rows, tasks = y.size // c, shares(y.size // c, COST * y.size)
        return filling(launch, outputs[0], tasks, tasks, rows, c)

    return make


for _op, _is_log in ((softmax, False), (log_softmax, True)):
    _op.kernel(NATIVE, when=takes, halves=True, made=True)(_forward(_is_log))
for _op, _is_log in ((softmax_dx, False), (log_softmax_dx, True)):
    _op.kernel(NATIVE, when=takes, halves=True, made=True)(_back(_is_log))
