"""Adamax's step: Adam by the largest gradient instead of the mean square (Kingma and Ba, 2015)."""

from __future__ import annotations

from ...backends import CUPY, NUMPY, namespace
from .moving import finish, follow, ready, update_op, update_samples

adamax_update = update_op("adamax_update", "moment1 largest")


@adamax_update.outlined_by
def adamax_update_outline(
    *given, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0, maximize=False
):
    return ()


@adamax_update.kernel(NUMPY, CUPY, halves=True)
def adamax_update_arrays(
    w, dw, step, rate, moment1, largest, master, *, beta1, beta2, epsilon, weight_decay, maximize
):
    """largest = max(beta2 * largest, |dw| + epsilon);
    w -= rate / (1 - beta1 ** t) * moment1 / largest, t being step + 1."""
    xp = namespace(w)
    target, dw = ready(w, dw, master, weight_decay, maximize)
    follow(moment1, dw, beta1)
    largest *= beta2
    xp.maximum(largest, xp.abs(dw) + epsilon, out=largest)
    t = (step + 1).astype(rate.dtype)
    target -= (rate / (1 - beta1**t)).astype(target.dtype) * moment1 / largest
    finish(w, master, step)


adamax_update.sampled_by(update_samples(None, None, settings=({}, {"weight_decay": 0.1})))
