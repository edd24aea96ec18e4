"""Lion's step: by the sign of a momentum alone (Chen and others, 2023)."""

from __future__ import annotations

from ...backends import CUPY, NUMPY, namespace
from .moving import finish, follow, ready, update_op, update_samples

lion_update = update_op("lion_update", "moment")


@lion_update.outlined_by
def lion_update_outline(*given, beta1=0.9, beta2=0.99, weight_decay=0.0, maximize=False):
    return ()


@lion_update.kernel(NUMPY, CUPY, halves=True)
def lion_update_arrays(w, dw, step, rate, moment, master, *, beta1, beta2, weight_decay, maximize):
    """w -= rate * (sign(beta1 * moment + (1 - beta1) * dw) + weight_decay * w);
    moment = beta2 * moment + (1 - beta2) * dw."""
    target, dw = ready(w, dw, master, maximize=maximize)
    way = namespace(w).sign(beta1 * moment + (1 - beta1) * dw)
    if weight_decay:
        target *= (1 - rate * weight_decay).astype(target.dtype)
    target -= rate.astype(target.dtype) * way
    follow(moment, dw, beta2)
    finish(w, master, step)


lion_update.sampled_by(update_samples(None, settings=({}, {"weight_decay": 0.1})))
