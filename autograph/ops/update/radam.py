"""RAdam's step: Adam whose early steps wait until the variance of the gradient is known (Liu,
Jiang, He, Chen, Liu, Gao and Han, 2020)."""

from __future__ import annotations

from ...backends import CUPY, NUMPY, namespace
from .moving import finish, follow, ready, update_op, update_samples

radam_update = update_op("radam_update", "moment1 moment2")


@radam_update.outlined_by
def radam_update_outline(
    *given, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0, decoupled=False, maximize=False
):
    return ()


@radam_update.kernel(NUMPY, CUPY, halves=True)
def radam_update_arrays(
    w, dw, step, rate, moment1, moment2, master, *, beta1, beta2, epsilon, weight_decay, decoupled,
    maximize,
):  # fmt: skip
    """known = limit - 2 * t * beta2 ** t / (1 - beta2 ** t), limit = 2 / (1 - beta2) - 1;
    w -= rate * moment1 / (1 - beta1 ** t), where known > 5 times the rectified
    sqrt(1 - beta2 ** t) / (sqrt(moment2) + epsilon), t being step + 1."""
    xp, dtype = namespace(w), moment1.dtype
    target, dw = ready(w, dw, master, 0.0 if decoupled else weight_decay, maximize)
    if decoupled and weight_decay:
        target *= (1 - rate * weight_decay).astype(dtype)
    follow(moment1, dw, beta1)
    moment2 *= beta2
    moment2 += (1 - beta2) * dw * dw
    t = (step + 1).astype(rate.dtype)
    left, limit = 1 - beta2**t, 2 / (1 - beta2) - 1
    known = limit - 2 * t * beta2**t / left
    trusted = xp.maximum(known, 5.0)
    rectified = xp.sqrt(
        (trusted - 4) * (trusted - 2) * limit / ((limit - 4) * (limit - 2) * trusted) * left
    )
    length = rate / (1 - beta1**t)
    adapted = (length * rectified).astype(dtype) / (xp.sqrt(moment2) + epsilon)
    target -= moment1 * xp.where(known > 5, adapted, length.astype(dtype))
    finish(w, master, step)


radam_update.sampled_by(update_samples(None, None, settings=({}, {"weight_decay": 0.1}, {})))
