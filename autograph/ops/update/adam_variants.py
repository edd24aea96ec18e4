"""Steps by Adam's moments: Adamax (Kingma and Ba, 2015), NAdam (Dozat, 2016) and RAdam (Liu, Jiang,
He, Chen, Liu, Gao and Han, 2020)."""

from ...backends import namespace
from .moving import decayed, follow, follow_square, moving, shrink, update_samples


@moving("moment1 largest", update_samples(None, None, settings=({}, {"weight_decay": 0.1})))
def adamax_update(
    w, dw, step, rate, moment1, largest, *, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0
):
    """largest = max(beta2 * largest, |dw| + epsilon);
    w -= rate / (1 - beta1 ** t) * moment1 / largest, t being step + 1."""
    xp, dw = namespace(w), decayed(w, dw, weight_decay)
    follow(moment1, dw, beta1)
    largest *= beta2
    xp.maximum(largest, xp.abs(dw) + epsilon, out=largest)
    t = (step + 1).astype(rate.dtype)
    w -= (rate / (1 - beta1**t)).astype(w.dtype) * moment1 / largest


@moving(
    "moment1 moment2 product",
    update_samples(None, None, (), settings=({}, {"weight_decay": 0.1, "decoupled": True})),
)
def nadam_update(
    w, dw, step, rate, moment1, moment2, product, *, beta1=0.9, beta2=0.999, epsilon=1e-8,
    weight_decay=0.0, decoupled=False, momentum_decay=4e-3,
):  # fmt: skip
    """mu = beta1 * (1 - 0.96 ** (t * momentum_decay) / 2);  product = product * mu;
    w -= rate * ((1 - mu) / (1 - product) * dw + next mu / (1 - product * next mu) * moment1)
    / (sqrt(moment2 / (1 - beta2 ** t)) + epsilon), t being step + 1."""
    xp, dtype = namespace(w), product.dtype
    dw = decayed(w, dw, 0.0 if decoupled else weight_decay)
    shrink(w, rate, weight_decay if decoupled else 0.0)
    t = (step + 1).astype(rate.dtype)
    now = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    after = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    product *= now.astype(dtype)
    whole = product.astype(rate.dtype)
    follow(moment1, dw, beta1)
    follow_square(moment2, dw, beta2)
    root = xp.sqrt(moment2 / (1 - beta2**t).astype(dtype)) + epsilon
    w -= (rate * (1 - now) / (1 - whole)).astype(dtype) * dw / root
    w -= (rate * after / (1 - whole * after)).astype(dtype) * moment1 / root


@moving("moment1 moment2", update_samples(None, None, settings=({}, {"weight_decay": 0.1}, {})))
def radam_update(
    w, dw, step, rate, moment1, moment2, *, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0,
    decoupled=False,
):  # fmt: skip
    """known = limit - 2 * t * beta2 ** t / (1 - beta2 ** t), limit = 2 / (1 - beta2) - 1;
    w -= rate * moment1 / (1 - beta1 ** t), where known > 5 times the rectified
    sqrt(1 - beta2 ** t) / (sqrt(moment2) + epsilon), t being step + 1."""
    xp, dtype = namespace(w), moment1.dtype
    dw = decayed(w, dw, 0.0 if decoupled else weight_decay)
    shrink(w, rate, weight_decay if decoupled else 0.0)
    follow(moment1, dw, beta1)
    follow_square(moment2, dw, beta2)
    t = (step + 1).astype(rate.dtype)
    left, limit = 1 - beta2**t, 2 / (1 - beta2) - 1
    known = limit - 2 * t * beta2**t / left
    trusted = xp.maximum(known, 5.0)
    rectified = xp.sqrt(
        (trusted - 4) * (trusted - 2) * limit / ((limit - 4) * (limit - 2) * trusted) * left
    )
    length = rate / (1 - beta1**t)
    adapted = (length * rectified).astype(dtype) / (xp.sqrt(moment2) + epsilon)
    w -= moment1 * xp.where(known > 5, adapted, length.astype(dtype))
