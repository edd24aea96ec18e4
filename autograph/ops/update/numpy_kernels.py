"""Optimizer updates in NumPy's language: the formulas as torch writes them, in place."""

from __future__ import annotations

from ...backends import CUPY, NUMPY, namespace
from . import adam_update, sgd_update, tick


def _ready(w, dw, rate, master, weight_decay, maximize):
    """(where to compute, the gradient there, the rate there), L2 decay included."""
    target = w if master is None else master
    dw = dw.astype(target.dtype, copy=False)
    if maximize:
        dw = -dw
    if weight_decay:
        dw = dw + weight_decay * target
    return target, dw, rate.astype(target.dtype)


def _finish(w, master, step):
    if master is not None:
        w[...] = master.astype(w.dtype)
    step += 1


@sgd_update.kernel(NUMPY, CUPY, halves=True)
def sgd_update_arrays(
    w, dw, step, rate, velocity, master, *, momentum, dampening, nesterov, weight_decay, maximize
):
    """velocity = momentum * velocity + (1 - dampening) * dw, at first dw;  w -= rate * velocity."""
    target, dw, rate = _ready(w, dw, rate, master, weight_decay, maximize)
    if velocity is not None:
        share = namespace(w).where(step == 0, 1.0, 1.0 - dampening).astype(dw.dtype)
        velocity *= momentum
        velocity += share * dw
        dw = dw + momentum * velocity if nesterov else velocity
    target -= rate * dw
    _finish(w, master, step)


@adam_update.kernel(NUMPY, CUPY, halves=True)
def adam_update_arrays(
    w,
    dw,
    step,
    rate,
    moment1,
    moment2,
    largest,
    master,
    *,
    beta1,
    beta2,
    epsilon,
    weight_decay,
    decoupled,
    maximize,
):
    """moment1 and moment2 follow dw and dw * dw; w -= rate * moment1 / (sqrt(moment2) + epsilon),
    both moments divided by 1 - beta ** step."""
    xp, dtype = namespace(w), (w if master is None else master).dtype
    target, dw, _ = _ready(w, dw, rate, master, 0.0 if decoupled else weight_decay, maximize)
    if decoupled and weight_decay:
        target *= (1 - rate * weight_decay).astype(dtype)
    moment1 += (dw - moment1) * (1 - beta1)
    moment2 *= beta2
    moment2 += (1 - beta2) * dw * dw
    second = moment2
    if largest is not None:
        xp.maximum(largest, moment2, out=largest)
        second = largest
    count = (step + 1).astype(rate.dtype)
    size = (rate / (1 - beta1**count)).astype(dtype)
    root = xp.sqrt(1 - beta2**count).astype(dtype)
    target -= size * moment1 / (xp.sqrt(second) / root + epsilon)
    _finish(w, master, step)


@tick.kernel(NUMPY, CUPY, halves=True)
def tick_arrays(rate, count, table):
    rate[...] = table[namespace(table).minimum(count, len(table) - 1)]
    count += 1
