"""Steps for large models and batches: LAMB (You and others, 2020), Lion (Chen and others, 2023),
and Adafactor (Shazeer and Stern, 2018), which keeps Adam's second moment as one row and one column
of each matrix."""

from ...backends import namespace
from .moving import follow, follow_square, moving, shrink, update_samples


def length_of(x):
    """The root of the sum of all squares, in f64."""
    return namespace(x).sqrt((x * x).sum(dtype="float64"))


@moving("moment1 moment2", update_samples(None, None, settings=({}, {"weight_decay": 0.0})))
def lamb_update(
    w, dw, step, rate, moment1, moment2, *, beta1=0.9, beta2=0.999, epsilon=1e-6, weight_decay=0.01
):
    """way = unbiased moment1 / (sqrt(unbiased moment2) + epsilon) + weight_decay * w;
    w -= rate * |w| / |way| * way; the ratio is 1 where a length is 0."""
    xp, dtype = namespace(w), moment1.dtype
    follow(moment1, dw, beta1)
    follow_square(moment2, dw, beta2)
    t = (step + 1).astype(rate.dtype)
    way = moment1 / (1 - beta1**t).astype(dtype)
    way /= xp.sqrt(moment2 / (1 - beta2**t).astype(dtype)) + epsilon
    way += weight_decay * w
    length, reach = length_of(w), length_of(way)
    usable = (length > 0) & (reach > 0)
    ratio = xp.where(usable, length / xp.where(usable, reach, 1.0), 1.0)
    w -= (rate * ratio).astype(dtype) * way


@moving("moment", update_samples(None, settings=({}, {"weight_decay": 0.1})))
def lion_update(w, dw, step, rate, moment, *, beta1=0.9, beta2=0.99, weight_decay=0.0):
    """w -= rate * (sign(beta1 * moment + (1 - beta1) * dw) + weight_decay * w);
    moment = beta2 * moment + (1 - beta2) * dw."""
    way = namespace(w).sign(beta1 * moment + (1 - beta1) * dw)
    shrink(w, rate, weight_decay)
    w -= rate.astype(w.dtype) * way
    follow(moment, dw, beta2)


def adafactor_samples(rng):
    yield from update_samples((3, 1), (1, 4), "absent", settings=({}, {"weight_decay": 0.1}))(rng)
    yield from update_samples((2, 3, 1), (2, 1, 4), "absent", of=(2, 3, 4))(rng)
    yield from update_samples("absent", "absent", None)(rng)


@moving("rows? columns? squares?", adafactor_samples)
def adafactor_update(
    w, dw, step, rate, rows, columns, squares, *, decay=-0.8, epsilon1=None, epsilon2=1e-3,
    clip=1.0, weight_decay=0.0,
):  # fmt: skip
    """share = t ** decay;  rows and columns follow the means of dw² along an axis by share;
    way = dw / sqrt(rows @ columns / mean(rows)), no longer than clip * sqrt(size);
    w -= max(epsilon2, |w| / sqrt(size)) * min(rate, 1 / sqrt(t)) * way, t being step + 1."""
    xp, dtype, t, root = namespace(w), w.dtype, (step + 1).astype(rate.dtype), w.size**0.5
    small = xp.finfo(dtype).eps if epsilon1 is None else epsilon1
    share = (t**decay).astype(dtype)
    length = xp.maximum(length_of(w) / root, epsilon2) * xp.minimum(rate, 1 / xp.sqrt(t))
    shrink(w, rate, weight_decay)
    if rows is not None:
        rows += ((dw * dw).mean(axis=-1, keepdims=True) - rows) * share
        columns += ((dw * dw).mean(axis=-2, keepdims=True) - columns) * share
        variance = rows @ columns / xp.maximum(rows.mean(axis=-2, keepdims=True), small)
    else:
        squares += (dw * dw - squares) * share
        variance = squares
    way = dw / xp.sqrt(xp.maximum(variance, small * small))
    excess = xp.maximum(length_of(way) / (root * clip), 1.0)
    w -= (length / excess).astype(dtype) * way
