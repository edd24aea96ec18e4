"""Cross entropy and its gradient by the host engine, a row at a time."""

import numpy as np

from ...backends import NATIVE
from ...backends.host.buffers import allocator
from ...backends.host.functions import exp, log
from ...backends.host.jit import kernel, refuse_where
from ...backends.host.scalars import KINDS, f32, f64, i64
from ...scalar_type import BF16, F32, I64
from ..cast import cast
from . import check_classes, cross_entropy_loss, cross_entropy_loss_dx

ROWS = 128  # of a task
INTEGER = np.dtype(np.int64)


@kernel
def losses(
    task, tasks: int, n: int, c: int, x: "T", target: i64, probability: f32, each: f32,
    wrong: i64, loss: "T",
):  # fmt: skip
    """probability = softmax(x), each = log(sum(exp(x))) - x[target]; wrong = 1 + a row whose target
    is no class. A single task also means."""
    for row in range(task * ROWS, min(n, (task + 1) * ROWS)):
        here, there = x + row * c, probability + row * c
        largest = here[0]
        for k in range(1, c):
            largest = here[k] if (here[k] > largest) | (here[k] != here[k]) else largest
        for k in range(c):
            there[k] = exp(here[k] - largest)
        total = f32(0.0)
        for k in range(c):
            total += there[k]
        share = 1.0 / total
        for k in range(c):
            there[k] = there[k] * share
        chosen = target[row]
        if (chosen < 0) | (chosen >= c):
            wrong[0] = row + 1
            chosen = 0
        each[row] = log(total) - (here[chosen] - largest)
    if tasks == 1:
        mean_of(n, each, loss)


@kernel
def mean(task, n: int, each: f32, loss: "T"):
    mean_of(n, each, loss)


def mean_of(n, each, loss):
    """The mean of n numbers, in order."""
    total = f64(0.0)
    for i in range(n):
        total += each[i]
    loss[0] = total / n


@kernel
def differences(task, n: int, c: int, dy: "T", probability: f32, target: i64, dx: "T"):
    """dx = (probability - one_hot(target)) * dy / n"""
    rate = dy[0] / n
    for row in range(task * ROWS, min(n, (task + 1) * ROWS)):
        here, there, chosen = probability + row * c, dx + row * c, target[row]
        for k in range(c):
            there[k] = (here[k] - (1.0 if k == chosen else 0.0)) * rate


def as_i64(target):
    """The function that answers class indices of this outline as kernels read them; None where they
    are so."""
    return None if target.scalar_type is I64 else lambda array: cast(array, scalar_type=I64)


@cross_entropy_loss.kernel(
    NATIVE, when=lambda x, target: x.scalar_type in (F32, BF16), halves=True, made=True
)
def cross_entropy_loss_native(inputs, outputs):
    (n, c), kind, read = inputs[0].shape, inputs[0].scalar_type, as_i64(inputs[1])
    tasks, means = -(-n // ROWS) or 1, mean.of(T=KINDS[kind])
    launch = losses.of(T=KINDS[kind]).launch(tasks, tasks, n, c)
    new_probability, new_each, new_loss = (
        allocator((n, c)), allocator((n,)), allocator((), kind.dtype)
    )  # fmt: skip

    def run(x, target):
        target = target if read is None else read(target)
        probability, each, loss = new_probability(), new_each(), new_loss()
        wrong = np.zeros((), INTEGER)
        launch(x, target, probability, each, wrong, loss)
        refuse_where(wrong, lambda: check_classes(target, c))
        if tasks != 1:
            means(1, n, each, loss)
        return loss, probability

    return run


@cross_entropy_loss_dx.kernel(
    NATIVE,
    when=lambda dy, probability, target: probability.scalar_type is dy.scalar_type is F32,
    made=True,
)
def cross_entropy_loss_dx_native(inputs, outputs):
    (n, c), read, new = inputs[1].shape, as_i64(inputs[2]), allocator(inputs[1].shape)
    launch = differences.of(T=f32).launch(-(-n // ROWS), n, c)

    def run(dy, probability, target):
        dx = new()
        launch(dy, probability, target if read is None else read(target), dx)
        return dx

    return run
