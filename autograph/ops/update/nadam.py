"""NAdam's step: Adam that looks ahead as Nesterov's momentum does (Dozat, 2016)."""

from __future__ import annotations

from ...backends import CUPY, NUMPY, namespace
from .moving import finish, follow, ready, update_op, update_samples

nadam_update = update_op("nadam_update", "moment1 moment2 product")


@nadam_update.outlined_by
def nadam_update_outline(
    *given, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0, decoupled=False,
    momentum_decay=4e-3, maximize=False,
):  # fmt: skip
    return ()


@nadam_update.kernel(NUMPY, CUPY, halves=True)
def nadam_update_arrays(
    w, dw, step, rate, moment1, moment2, product, master, *, beta1, beta2, epsilon, weight_decay,
    decoupled, momentum_decay, maximize,
):  # fmt: skip
    """mu = beta1 * (1 - 0.96 ** (t * momentum_decay) / 2);  product = product * mu;
    w -= rate * ((1 - mu) / (1 - product) * dw + next mu / (1 - product * next mu) * moment1)
    / (sqrt(moment2 / (1 - beta2 ** t)) + epsilon), t being step + 1."""
    xp, dtype = namespace(w), product.dtype
    target, dw = ready(w, dw, master, 0.0 if decoupled else weight_decay, maximize)
    if decoupled and weight_decay:
        target *= (1 - rate * weight_decay).astype(dtype)
    t = (step + 1).astype(rate.dtype)
    now = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    after = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    product *= now.astype(dtype)
    whole = product.astype(rate.dtype)
    follow(moment1, dw, beta1)
    moment2 *= beta2
    moment2 += (1 - beta2) * dw * dw
    root = xp.sqrt(moment2 / (1 - beta2**t).astype(dtype)) + epsilon
    target -= (rate * (1 - now) / (1 - whole)).astype(dtype) * dw / root
    target -= (rate * after / (1 - whole * after)).astype(dtype) * moment1 / root
    finish(w, master, step)


nadam_update.sampled_by(
    update_samples(None, None, (), settings=({}, {"weight_decay": 0.1, "decoupled": True}))
)
