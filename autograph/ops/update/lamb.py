"""LAMB's step: Adam's way, made as long as the parameter is (You and others, 2020)."""

from __future__ import annotations

from ...backends import CUPY, NUMPY, namespace
from .moving import finish, follow, ready, update_op, update_samples

lamb_update = update_op("lamb_update", "moment1 moment2")


@lamb_update.outlined_by
def lamb_update_outline(
    *given, beta1=0.9, beta2=0.999, epsilon=1e-6, weight_decay=0.01, maximize=False
):
    return ()


@lamb_update.kernel(NUMPY, CUPY, halves=True)
def lamb_update_arrays(
    w, dw, step, rate, moment1, moment2, master, *, beta1, beta2, epsilon, weight_decay, maximize
):
    """way = unbiased moment1 / (sqrt(unbiased moment2) + epsilon) + weight_decay * w;
    w -= rate * |w| / |way| * way; the ratio is 1 where a length is 0."""
    xp, dtype = namespace(w), moment1.dtype
    target, dw = ready(w, dw, master, maximize=maximize)
    follow(moment1, dw, beta1)
    moment2 *= beta2
    moment2 += (1 - beta2) * dw * dw
    t = (step + 1).astype(rate.dtype)
    way = moment1 / (1 - beta1**t).astype(dtype)
    way /= xp.sqrt(moment2 / (1 - beta2**t).astype(dtype)) + epsilon
    way += weight_decay * target
    length, reach = length_of(target), length_of(way)
    usable = (length > 0) & (reach > 0)
    ratio = xp.where(usable, length / xp.where(usable, reach, 1.0), 1.0)
    target -= (rate * ratio).astype(dtype) * way
    finish(w, master, step)


def length_of(x):
    """The root of the sum of all squares, in f64."""
    return namespace(x).sqrt((x * x).sum(dtype="float64"))


lamb_update.sampled_by(update_samples(None, None, settings=({}, {"weight_decay": 0.0})))
