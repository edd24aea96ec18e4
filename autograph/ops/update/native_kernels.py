"""Optimizer updates by the host engine: each parameter in one pass, in place."""

from functools import partial

import numpy as np

from ...backends import NATIVE
from ...backends.host.intrinsics import fma, sqrt
from ...backends.host.jit import Kernel, kernel, launcher
from ...backends.host.scalars import KINDS, f32, f64, i64
from ...scalar_type import BF16, F32, F64, I64
from . import adam_update, sgd_update, tick

BLOCK = 1 << 14  # elements of a task


@kernel
def sgd(
    task, tasks: int, size: int, has_velocity: int, has_master: int, momentum: float, share: float,
    nesterov: int, decay: float,
    w: "T", dw: "T", step: i64, rate: f64, velocity: f32, master: f32,
):  # fmt: skip
    """velocity = momentum * velocity + share * dw, at first dw;  w -= rate * velocity."""
    now, first = f32(rate[0]), step[0] == 0
    share = 1.0 if first else share
    for i in range(task * size // tasks, (task + 1) * size // tasks):
        old = master[i] if has_master else w[i]
        d = SIGN * dw[i] + decay * old
        if has_velocity:
            v = momentum * velocity[i] + share * d
            velocity[i] = v
            d = d + momentum * v if nesterov else v
        new = old - now * d
        if has_master:
            master[i] = new
        w[i] = new
    if tasks == 1:
        step[0] += 1


@partial(Kernel, flags=())  # each operation is rounded where torch rounds it
def adam(
    task, tasks: int, size: int, has_largest: int, has_master: int, beta1: f64, beta2: f64,
    epsilon: float, decay: float, decoupled: float,
    w: "T", dw: "T", step: i64, rate: f64, moment1: f32, moment2: f32, largest: f32, master: f32,
):  # fmt: skip
    """Both moments follow dw and dw * dw; w -= rate * moment1 / (sqrt(moment2) + epsilon), both
    unbiased."""
    count = step[0] + 1
    length = f32(rate[0] / (1.0 - power(beta1[0], count)))
    root = f32(1.0 / sqrt(1.0 - power(beta2[0], count)))
    kept = f32(1.0 - rate[0] * decoupled)
    b1, b2 = f32(1.0 - beta1[0]), f32(beta2[0])
    c2 = f32(1.0 - beta2[0])
    for i in range(task * size // tasks, (task + 1) * size // tasks):
        old = master[i] if has_master else w[i]
        d = fma(decay, old, SIGN * dw[i])
        m = fma(d - moment1[i], b1, moment1[i])
        v = fma(c2 * d, d, b2 * moment2[i])
        moment1[i] = m
        moment2[i] = v
        if has_largest:
            v = v if (v > largest[i]) | (v != v) else largest[i]
            largest[i] = v
        new = old * kept - length * m / (sqrt(v) * root + epsilon)
        if has_master:
            master[i] = new
        w[i] = new
    if tasks == 1:
        step[0] += 1


def power(base, count):
    """base ** count, by squaring."""
    result, left = f64(1.0), count
    while left > 0:
        result = result * base if left % 2 == 1 else result
        base = base * base
        left = left // 2
    return result


@kernel
def look_up(task, size: int, rate: f64, count: i64, table: f64):
    """rate = table[count], its last entry from then on; count = count + 1."""
    rate[0] = table[min(count[0], size - 1)]
    count[0] += 1


@kernel
def advance(task, step: i64):
    step[0] += 1


def takes(w, dw, step, rate, *state, **settings):
    """Whether the parameter is of a scalar type that the engine computes with, its state float32,
    and all of them of one shape."""
    return (
        w.scalar_type is dw.scalar_type in (F32, BF16)
        and (step.scalar_type, rate.scalar_type) == (I64, F64)
        and all(s is None or (s.scalar_type, s.shape) == (F32, w.shape) for s in state)
        and dw.shape == w.shape
    )


def launched(code, w, state, *settings):
    """The launches that move a parameter, as a function of its arrays. Where several tasks read the
    step, it is counted after them."""
    tasks = -(-w.size // BLOCK)
    present = [int(each is not None) for each in state]
    launch = launcher()
    move = partial(launch, code.compile(), tasks, tasks, w.size, *present, *settings)
    if tasks == 1:
        return move
    count = partial(launch, advance.compile(), 1)

    def run(*arrays):
        move(*arrays)
        count(arrays[2])

    return run


@sgd_update.kernel(NATIVE, when=takes, halves=True, made=True)
def sgd_update_native(inputs, outputs, *, momentum, dampening, nesterov, weight_decay, maximize):
    w, _, _, _, *state = inputs
    code = sgd.of(T=KINDS[w.scalar_type], SIGN=-1.0 if maximize else 1.0)
    settings = float(momentum), 1.0 - dampening, int(nesterov), float(weight_decay)
    return launched(code, w, state, *settings)


@adam_update.kernel(NATIVE, when=takes, halves=True, made=True)
def adam_update_native(
    inputs, outputs, *, beta1, beta2, epsilon, weight_decay, decoupled, maximize
):
    w, _, _, _, _, _, *state = inputs
    code = adam.of(T=KINDS[w.scalar_type], SIGN=-1.0 if maximize else 1.0)
    decays = (0.0, float(weight_decay)) if decoupled else (float(weight_decay), 0.0)
    return launched(code, w, state, np.array(beta1), np.array(beta2), float(epsilon), *decays)


@tick.kernel(NATIVE, when=lambda rate, count, table: table.size > 0 and all(
    each.scalar_type is kind for each, kind in ((rate, F64), (count, I64), (table, F64))
))  # fmt: skip
def tick_native(rate, count, table):
    look_up(1, table.size, rate, count, table)
