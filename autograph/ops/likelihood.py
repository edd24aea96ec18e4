"""Losses of class scores: negative log-likelihood and cross entropy, in all their forms.

Shapes: x (N, C, ...), target (N, ...) of class indices or x's shape of class probabilities,
weight (C,). The loss is a scalar, or (N, ...) with `reduction="none"`.
"""

from math import prod
from typing import Any

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..errors import IndexRangeError, ScalarTypeError, SettingsError, ShapeError
from ..op import Op
from ..scalar_type import ScalarType
from .comparison import equal
from .declare import adjoint
from .elementwise import add, divide, multiply, where
from .loss import cross_entropy_loss
from .losses import check_reduction, reduce_loss
from .reduce import sum
from .shape import reshape
from .softmax import log_softmax
from .summation import summed
from .take import take

negative_likelihood = Op("negative_likelihood", "x target", promotes="x", floats=True)


@negative_likelihood.outlined_by
def negative_likelihood_outline(
    x, target, *, ignore_index=None, label_smoothing=0.0, reduction="mean"
):
    check_reduction("nll_loss", reduction)
    if not 0 <= label_smoothing <= 1:
        raise SettingsError(f"nll_loss: label_smoothing is {label_smoothing}\n  write 0 to 1")
    if target.scalar_type.is_float or target.scalar_type.kind == "bool":
        raise ScalarTypeError(
            f"nll_loss: target holds class indices, and is {target.scalar_type}\n"
            f"  write  target.cast('i64')"
        )
    if x.ndim < 2 or not x.shape[1] or target.shape != (x.shape[0], *x.shape[2:]):
        raise ShapeError(
            f"nll_loss: one class index for each row of x\n"
            f"  x       {x.shape}  N C ...\n  target  {target.shape}  N ..."
        )
    return x.like(shape=target.shape if reduction == "none" else ())


def _rows(target, shape, ignore_index):
    """(indices (N, M) that can be looked up, which of them count), M all further axes as one."""
    rows = target.reshape(shape[0], prod(shape[2:])).astype(np.int64)
    counts = rows == rows if ignore_index is None else rows != ignore_index
    wrong = counts & ((rows < 0) | (rows >= shape[1]))
    if isinstance(rows, np.ndarray) and wrong.any():  # on a device, looking would wait for it
        at = int(np.argmax(wrong))
        raise IndexRangeError(
            f"nll_loss: target {rows.reshape(-1)[at]} at {at} of the flat target is not a class\n"
            f"  x has {shape[1]} classes: write 0 to {shape[1] - 1}"
        )
    return namespace(rows).where(wrong | ~counts, 0, rows), counts


@negative_likelihood.kernel(NUMPY, CUPY)
def negative_likelihood_arrays(x, target, *, ignore_index, label_smoothing, reduction):
    """-x[target], of which `label_smoothing` is shared by all classes; 0 where ignored."""
    xp = namespace(x)
    rows, counts = _rows(target, x.shape, ignore_index)
    flat = x.reshape(*x.shape[:2], rows.shape[1])
    loss = -xp.take_along_axis(flat, rows[:, None], axis=1)[:, 0]
    if label_smoothing:
        everywhere = summed(flat, (1,)) / x.dtype.type(x.shape[1])
        loss = loss * (1 - label_smoothing) - everywhere * label_smoothing
    loss = xp.where(counts, loss, x.dtype.type(0))
    if reduction == "none":
        return loss.reshape(target.shape)
    total = summed(loss, (0, 1))
    return total if reduction == "sum" else total / counts.sum().astype(x.dtype)


negative_likelihood_dx = adjoint(negative_likelihood, "negative_likelihood_dx")


@negative_likelihood_dx.kernel(NUMPY, CUPY)
def negative_likelihood_dx_arrays(dy, target, *, shape, ignore_index, label_smoothing, reduction):
    xp = namespace(dy)
    rows, counts = _rows(target, shape, ignore_index)
    share = dy.reshape(rows.shape) if reduction == "none" else dy
    share = xp.where(counts, share, dy.dtype.type(0))
    if reduction == "mean":
        share = share / xp.maximum(counts.sum(), 1).astype(dy.dtype)  # of none it is 0
    dx = xp.empty((*shape[:2], rows.shape[1]), dy.dtype)
    dx[...] = (share * (-label_smoothing / shape[1]))[:, None]
    chosen = rows[:, None]
    there = xp.take_along_axis(dx, chosen, axis=1) - (share * (1 - label_smoothing))[:, None]
    xp.put_along_axis(dx, chosen, there, axis=1)
    return dx.reshape(shape)


@negative_likelihood.sampled_by
def negative_likelihood_samples(rng):
    for shape, settings in (
        ((4, 3), {}),
        ((4, 3), {"ignore_index": 1, "label_smoothing": 0.1}),
        ((2, 3, 4, 2), {"reduction": "none", "label_smoothing": 0.2}),
        ((2, 5, 3), {"reduction": "sum", "ignore_index": 0}),
    ):
        target = rng.integers(0, shape[1], size=(shape[0], *shape[2:]))
        yield (rng.normal(size=shape), target), settings


# -- in all their forms ------------------------------------------------------------------


def nll_loss(
    x: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:
    """-x[target] of logarithms of probabilities x (N, C, ...): a scalar, or (N, ...).

    `weight` (C,) counts each class differently, in the mean too; rows whose target is
    `ignore_index` do not count; `label_smoothing` is the share of the loss taken from all
    classes alike. As torch's functions of these names.
    """
    settings = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    if weight is None:
        return negative_likelihood(x, target, **settings, reduction=reduction)
    check_reduction("nll_loss", reduction)
    _check_classes("nll_loss", x, weight)
    ignored = None if ignore_index is None else equal(target, ignore_index)
    known = target if ignored is None else where(ignored, 0, target)
    each = take(weight, known, axis=0)
    if ignored is not None:
        each = where(ignored, 0.0, each)
    plain = negative_likelihood(x, target, ignore_index=ignore_index, reduction="none")
    loss = multiply(plain, each)
    if label_smoothing:
        classes = x.shape[1]
        everywhere = sum(_by_class(x, weight), axis=1)
        if ignored is not None:
            everywhere = where(ignored, 0.0, everywhere)
        loss = add(
            multiply(loss, 1 - label_smoothing), multiply(everywhere, -label_smoothing / classes)
        )
    if reduction == "none":
        return loss
    total = sum(loss)
    return total if reduction == "sum" else divide(total, sum(each))


def cross_entropy(
    x: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:
    """-log_softmax(x)[target] of scores x (N, C, ...): a scalar, or (N, ...).

    `target` holds class indices (N, ...), or class probabilities in x's shape. The settings
    are those of `nll_loss`.
    """
    plain = weight is None and ignore_index is None and not label_smoothing and reduction == "mean"
    indices = isinstance(target, list | tuple) or not _is_float(target)
    if plain and indices and len(x.shape) == 2:
        return cross_entropy_loss(x, target)
    _check_classes("cross_entropy", x, weight)
    y = log_softmax(x, axis=1)
    if indices:
        settings: dict[str, Any] = {"ignore_index": ignore_index, "reduction": reduction}
        return nll_loss(y, target, weight, label_smoothing=label_smoothing, **settings)
    if tuple(target.shape) != tuple(x.shape) or ignore_index is not None:
        raise ShapeError(
            f"cross_entropy: class probabilities have x's shape, and none is ignored\n"
            f"  x       {x.shape}\n  target  {target.shape}"
        )
    if label_smoothing:
        target = add(multiply(target, 1 - label_smoothing), label_smoothing / x.shape[1])
    terms = multiply(y, target)
    terms = terms if weight is None else _by_class(terms, weight)
    return reduce_loss("cross_entropy", multiply(sum(terms, axis=1), -1.0), reduction)


def _check_classes(op: str, x: Any, weight: Any) -> None:
    """Refuse scores without classes, and weights of other classes."""
    if len(x.shape) < 2:
        raise ShapeError(
            f"{op}: scores have an axis of samples and one of classes\n"
            f"  x  {tuple(x.shape)}  N C ...\n  write  x[None] and target[None] for one sample"
        )
    if weight is not None and tuple(weight.shape) != (x.shape[1],):
        raise ShapeError(
            f"{op}: one weight for each class\n"
            f"  x       {tuple(x.shape)}  N C ...\n  weight  {tuple(weight.shape)}  C"
        )


def _by_class(x: Any, weight: Any) -> Any:
    """x (N, C, ...) times the weight (C,) of each class."""
    return multiply(x, reshape(weight, shape=(x.shape[1], *[1] * (len(x.shape) - 2))))


def _is_float(value: Any) -> bool:
    found = getattr(value, "scalar_type", None) or ScalarType.of(value)
    return bool(found.is_float)
