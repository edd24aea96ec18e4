"""Optimizer updates in NumPy's language: the formulas as torch writes them, in place."""

from ...backends import CUPY, NUMPY, namespace
from . import adam_update, sgd_update, tick
from .moving import finish, follow, follow_square, ready, shrink, wide


@sgd_update.kernel(NUMPY, CUPY, halves=True)
def sgd_update_arrays(
    w, dw, step, rate, velocity, master, *, momentum, dampening, nesterov, weight_decay, maximize
):
    """velocity = momentum * velocity + (1 - dampening) * dw, at first dw;  w -= rate * velocity."""
    master = wide(w, master)
    target, dw = ready(w, dw, master, weight_decay, maximize)
    if velocity is not None:
        share = namespace(w).where(step == 0, 1.0, 1.0 - dampening).astype(dw.dtype)
        velocity *= momentum
        velocity += share * dw
        dw = dw + momentum * velocity if nesterov else velocity
    target -= rate.astype(target.dtype) * dw
    finish(w, master, step)


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
    xp, master = namespace(w), wide(w, master)
    dtype = (w if master is None else master).dtype
    target, dw = ready(w, dw, master, 0.0 if decoupled else weight_decay, maximize)
    shrink(target, rate, weight_decay if decoupled else 0.0)
    follow(moment1, dw, beta1)
    follow_square(moment2, dw, beta2)
    second = moment2
    if largest is not None:
        xp.maximum(largest, moment2, out=largest)
        second = largest
    count = (step + 1).astype(rate.dtype)
    size = (rate / (1 - beta1**count)).astype(dtype)
    root = xp.sqrt(1 - beta2**count).astype(dtype)
    target -= size * moment1 / (xp.sqrt(second) / root + epsilon)
    finish(w, master, step)


@tick.kernel(NUMPY, CUPY, halves=True)
def tick_arrays(rate, count, table):
    rate[...] = table[namespace(table).minimum(count, len(table) - 1)]
    count += 1
