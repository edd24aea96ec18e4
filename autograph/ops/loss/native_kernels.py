"""Cross entropy and its gradient by the host engine, a row at a time."""

import numpy as np

from ...backends import NATIVE
from ...backends.host.buffers import allocator
from ...backends.host.functions import exp, log
from ...backends.host.intrinsics import larger, plus
from ...backends.host.jit import kernel, refuse_where
from ...backends.host.scalars import KINDS, f32, f64, i64
from ...scalar_type import BF16, F32, I64
from ..cast import cast
from . import check_classes, cross_entropy_loss, cross_entropy_loss_dx

ROWS = 128  # of a task
INTEGER = np.dtype(np.int64)


@kernel
def losses(
    task, tasks: int, n: int, c: int, x: "T", target: i64, powers: f32, rows: f32, each: f32,
    wrong: i64, loss: "T",
):  # fmt: skip
    """rows = the largest x and the sum of exp(x - largest), each = log(sum(exp(x))) - x[target];
    wrong = 1 + a row whose target is no class. A single task also means. Each task has a row of
    powers."""
    there = powers + task * c
    for row in range(task * ROWS, min(n, (task + 1) * ROWS)):
        here = x + row * c
        largest = here[0]
        for k in range(1, c):
            largest = larger(largest, here[k])
        for k in range(c):
            there[k] = exp(here[k] - largest)
        total = f32(0.0)
        for k in range(c):
            total = plus(total, there[k])
        rows[row], rows[n + row] = largest, total
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
def differences(task, n: int, c: int, dy: "T", x: "T", target: i64, rows: f32, dx: "T"):
    """dx = (exp(x - largest) / total - one_hot(target)) * dy / n"""
    rate = dy[0] / n
    for row in range(task * ROWS, min(n, (task + 1) * ROWS)):
        here, there, chosen = x + row * c, dx + row * c, target[row]
        largest, share = rows[row], 1.0 / rows[n + row]
        for k in range(c):
            there[k] = (exp(here[k] - largest) * share - (1.0 if k == chosen else 0.0)) * rate


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
    new_rows, new_each, new_loss = allocator((2, n)), allocator((n,)), allocator((), kind.dtype)
    new_powers = allocator((tasks, c))

    def run(x, target):
        target = target if read is None else read(target)
        rows, each, loss = new_rows(), new_each(), new_loss()
        wrong = np.zeros((), INTEGER)
        launch(x, target, new_powers(), rows, each, wrong, loss)
        refuse_where(wrong, lambda: check_classes(target, c))
        if tasks != 1:
            means(1, n, each, loss)
        return loss, rows

    return run


@cross_entropy_loss_dx.kernel(
    NATIVE,
    when=lambda dy, x, target, rows: x.scalar_type in (F32, BF16) and rows.scalar_type is F32,
    halves=True,
    made=True,
)
def cross_entropy_loss_dx_native(inputs, outputs):
    (n, c), kind, read = inputs[1].shape, inputs[1].scalar_type, as_i64(inputs[2])
    launch = differences.of(T=KINDS[kind]).launch(-(-n // ROWS), n, c)
    new = allocator((n, c), kind.dtype)

    def run(dy, x, target, rows):
        dx = new()
        launch(dy, x, target if read is None else read(target), rows, dx)
        return dx

    return run
