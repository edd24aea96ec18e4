"""Losses of pairs: how far each value of x is from the target beside it.

x and target have one shape: losses never broadcast. The loss is a scalar, the mean (or sum)
over all elements, or has that shape with `reduction="none"`.
"""

from typing import Any

import numpy as np

from ..errors import SettingsError, ShapeError
from .cast import rounded_once
from .comparison import equal
from .elementwise import divide, maximum, multiply, subtract, where
from .pointwise import pointwise
from .reduce import mean, sum
from .transcendental import exp, sqrt

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(op, reduction):
    """Refuse what is no reduction."""
    if reduction not in REDUCTIONS:
        raise SettingsError(
            f"{op}: reduction is {reduction!r}\n  write one of  {', '.join(REDUCTIONS)}"
        )


def reduce_loss(op, loss, reduction):
    """The mean or sum of a loss, or the loss itself."""
    check_reduction(op, reduction)
    return loss if reduction == "none" else mean(loss) if reduction == "mean" else sum(loss)


def pair_loss(op, reduction, compute, x, target, *others):
    """The mean or sum of compute(x, target, *others), or that itself; of halves in f32, rounded
    once."""
    check_same(op, x=x, target=target)
    return _reduced(op, reduction, compute, x, target, *others)


def _reduced(op, reduction, compute, *arrays):
    def loss(*given):
        return reduce_loss(op, compute(*given), reduction)

    alike = len({getattr(each, "dtype", None) for each in arrays}) == 1
    return rounded_once(loss, *arrays) if alike else loss(*arrays)


def check_same(op, **given):
    """Refuse inputs of different shapes."""
    shapes = {name: tuple(np.shape(each)) for name, each in given.items()}
    if len(set(shapes.values())) > 1:
        sides = "\n".join(f"  {name:<8}{shape}" for name, shape in shapes.items())
        raise ShapeError(f"{op}: losses do not broadcast\n{sides}")


# -- element by element ------------------------------------------------------------------


def _pairs(*numbers, low=None):
    """(x, target), no closer to a kink than 0.05; as probabilities where `low` says so."""

    def samples(rng):
        for shape in ((3, 4), (), (0, 2)):
            if low is not None:
                x, target = rng.uniform(low, 1 - low, size=(2, *shape))
                yield (np.asarray(x), np.asarray(target), *numbers), {}
                continue
            x, apart = rng.normal(size=shape), rng.normal(size=shape)
            apart += 0.1 * np.sign(apart)
            apart += np.where(np.abs(np.abs(apart) - 1) < 0.05, 0.1 * np.sign(apart), 0.0)
            yield (x, x + apart, *numbers), {}

    return samples


def _signs(rng):
    x = rng.normal(size=(3, 4))
    x += np.where(np.abs(np.abs(x) - 1) < 0.05, 0.1, 0.0)
    yield (x, np.sign(rng.normal(size=(3, 4))), 1.0), {}


squared_error = pointwise(
    "squared_error", "x target", "d * d", d="x - target", floats=True, samples=_pairs()
)
absolute_error = pointwise(
    "absolute_error", "x target", "abs(x - target)", floats=True, samples=_pairs()
)
huber = pointwise(
    "huber",
    "x target delta",
    "where(a <= delta, 0.5 * d * d, delta * (a - 0.5 * delta))",
    dx="dy * where(a <= delta, d, delta * sign(d))",
    dtarget="-dy * where(a <= delta, d, delta * sign(d))",
    ddelta="dy * where(a <= delta, 0, a - delta)",
    d="x - target",
    a="abs(d)",
    floats=True,
    samples=_pairs(1.0),
)
hinge = pointwise(
    "hinge",
    "x target margin",
    "where(r <= 0, 0, r)",
    dx="where(r <= 0, 0, -dy * target)",
    dtarget="where(r <= 0, 0, -dy * x)",
    dmargin="where(r <= 0, 0, dy)",
    r="margin - x * target",
    floats=True,
    samples=_signs,
)
binary_entropy = pointwise(  # logarithms no less than -100, as in torch
    "binary_entropy",
    "x target",
    "-(target * maximum(log(x), -100) + (1 - target) * maximum(log1p(-x), -100))",
    dx="dy * (x - target) / maximum(x * (1 - x), 1e-12)",
    floats=True,
    samples=_pairs(low=0.1),
)
logit_entropy = pointwise(
    "logit_entropy",
    "x target positive",
    "(1 - target) * x + p * (log1p(e) + maximum(-x, 0))",
    dx="dy * ((1 - target) - p * where(x >= 0, e / (1 + e), 1 / (1 + e)))",
    dpositive="dy * target * (log1p(e) + maximum(-x, 0))",
    p="1 + (positive - 1) * target",
    e="exp(-abs(x))",
    floats=True,
    samples=_pairs(1.5),
)
relative_entropy = pointwise(
    "relative_entropy",
    "x target",
    "where(target > 0, target * (log(target) - x), -target * x)",
    dx="-dy * target",
    dtarget="dy * where(target > 0, log(target) + 1 - x, -x)",
    floats=True,
    samples=_pairs(low=0.1),
)


# -- reduced -----------------------------------------------------------------------------


def mse_loss(x: Any, target: Any, *, reduction: str = "mean") -> Any:
    """(x - target)²."""
    return pair_loss("mse_loss", reduction, squared_error, x, target)


def l1_loss(x: Any, target: Any, *, reduction: str = "mean") -> Any:
    """|x - target|."""
    return pair_loss("l1_loss", reduction, absolute_error, x, target)


def huber_loss(x: Any, target: Any, *, delta: float = 1.0, reduction: str = "mean") -> Any:
    """(x - target)² / 2 up to a distance of `delta`, a straight line from there (Huber, 1964)."""
    delta = float(delta)
    return pair_loss("huber_loss", reduction, lambda x, t: huber(x, t, delta), x, target)


def smooth_l1_loss(x: Any, target: Any, *, beta: float = 1.0, reduction: str = "mean") -> Any:
    """`huber_loss` over `beta`: |x - target| with its kink smoothed (Girshick, 2015)."""
    if beta == 0:
        return l1_loss(x, target, reduction=reduction)
    beta = float(beta)
    settings = "smooth_l1_loss", reduction
    return pair_loss(*settings, lambda x, t: divide(huber(x, t, beta), beta), x, target)


def hinge_loss(x: Any, target: Any, *, margin: float = 1.0, reduction: str = "mean") -> Any:
    """max(0, margin - x * target), the targets being -1 and 1."""
    margin = float(margin)
    return pair_loss("hinge_loss", reduction, lambda x, t: hinge(x, t, margin), x, target)


def bce_loss(x: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Any:
    """-target * log(x) - (1 - target) * log(1 - x) of probabilities; `weight` broadcasts to x."""
    arrays = (x, target) if weight is None else (x, target, weight)
    settings = "bce_loss", reduction
    return pair_loss(*settings, lambda x, t, w=None: _weighted(binary_entropy(x, t), w), *arrays)


def bce_with_logits_loss(
    x: Any, target: Any, weight: Any = None, *, positive_weight: Any = None, reduction: str = "mean"
) -> Any:
    """`bce_loss` of sigmoid(x), right for scores of any size; `positive_weight` multiplies the
    term of the target, and broadcasts to x as `weight` does."""
    given = {"w": weight, "p": positive_weight}
    given = {name: each for name, each in given.items() if each is not None}

    def entropy(x, target, *weights):
        by = dict(zip(given, weights, strict=True))
        return _weighted(logit_entropy(x, target, by.get("p", 1.0)), by.get("w"))

    return pair_loss("bce_with_logits_loss", reduction, entropy, x, target, *given.values())


def kl_loss(x: Any, target: Any, *, log_target: bool = False, reduction: str = "mean") -> Any:
    """target * (log(target) - x), x being logarithms of probabilities; `log_target`: so is the
    target. `reduction="batch_mean"` divides the sum by N, which is the divergence itself."""

    by_batch = reduction == "batch_mean"

    def entropy(x, t):
        loss = multiply(exp(t), subtract(t, x)) if log_target else relative_entropy(x, t)
        return divide(loss, x.shape[0]) if by_batch else loss

    return pair_loss("kl_loss", "sum" if by_batch else reduction, entropy, x, target)


def cosine_similarity(a: Any, b: Any, *, axis: int = -1, epsilon: float = 1e-8) -> Any:
    """The cosine of the angle between a and b along an axis; lengths are at least `epsilon`."""
    check_same("cosine_similarity", a=a, b=b)

    def cosine(a, b):
        lengths = [
            sqrt(maximum(sum(multiply(each, each), axis=axis), epsilon * epsilon))
            for each in (a, b)
        ]
        return divide(sum(multiply(a, b), axis=axis), multiply(*lengths))

    return rounded_once(cosine, a, b)


def cosine_loss(
    a: Any, b: Any, target: Any, *, margin: float = 0.0, reduction: str = "mean"
) -> Any:
    """1 - cosine where the target (N,) is 1, max(0, cosine - margin) where it is -1."""

    def loss(a, b):
        cosine = cosine_similarity(a, b)
        check_same("cosine_loss", cosine=cosine, target=target)
        apart = maximum(subtract(cosine, margin), 0.0)
        return where(equal(target, 1), subtract(1.0, cosine), apart)

    return _reduced("cosine_loss", reduction, loss, a, b)


def _weighted(loss, weight):
    if weight is None:
        return loss
    weighted = multiply(loss, weight)
    if weighted.shape != loss.shape:
        raise ShapeError(
            f"loss: the weight does not broadcast to x\n  x       {loss.shape}\n"
            f"  weight  {weight.shape}"
        )
    return weighted
