"""Gradients against central differences in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import ops
from ..op import Op
from ..scalar_type import F64
from ..tensor import Tensor
from .samples import is_float, samples_of, shown, tuple_of, wide

STEP = 2e-4  # of differences of the fourth order: their error is about STEP ** 4


def check_gradients(
    op: Op, seed: int = 0, where: Callable[[dict[str, Any]], bool] = lambda settings: True
) -> None:
    """Check the gradient rules of an op on its samples, those whose settings are chosen."""
    if not op.gradients or op.writes:
        return
    for i, (arrays, settings) in enumerate(samples_of(op, seed)):
        wrt = [at for at in differentiable(op, len(arrays)) if is_float(arrays[at])]
        if wrt and where(settings):
            check_gradient(
                lambda *inputs, settings=settings: op(*inputs, **settings),
                arrays,
                wrt=wrt,
                seed=seed,
                name=f"{op.name}, sample {i} of {shown(arrays, settings)}",
            )


def differentiable(op: Op, count: int) -> list[int]:
    """The positions of the inputs that have a gradient rule."""
    if any(rule.positions is None for rule in op.gradients):
        return list(range(count))
    found = {at for rule in op.gradients for at in rule.positions or ()}
    return sorted(at for at in found if at < count)


def check_gradient(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    wrt: Sequence[int] | None = None,
    seed: int = 0,
    step: float = STEP,
    tolerance: float = 1e-7,
    name: str = "",
) -> None:
    """Check the gradients of a function of tensors against central differences in float64.

    `inputs` are arrays, tensors or whatever else the function takes; `wrt` chooses some of those
    that hold floats. The values should lie further than four `step` from every kink.

    >>> check_gradient(lambda x, y: (x * y).sum(), [[1.0, 2.0], [3.0, 4.0]])
    """
    rng = np.random.default_rng(seed)
    name = name or getattr(function, "__name__", "function")
    arrays = [wide(each) for each in inputs]
    chosen = [i for i, each in enumerate(arrays) if is_float(each)] if wrt is None else list(wrt)
    tensors = [
        Tensor(each, requires_grad=i in chosen) if isinstance(each, np.ndarray) else each
        for i, each in enumerate(arrays)
    ]
    outputs = [each for each in tuple_of(function(*tensors)) if each.scalar_type is F64]
    seeds = [rng.normal(size=each.shape) for each in outputs]
    recorded = [(y, dy) for y, dy in zip(outputs, seeds, strict=True) if y.requires_grad]
    if len(recorded) == 1:
        recorded[0][0].backward(recorded[0][1])
    elif recorded:
        parts = [ops.sum(ops.multiply(y, Tensor(dy))) for y, dy in recorded]
        for part in parts[1:]:
            parts[0] = ops.add(parts[0], part)
        parts[0].backward()

    def weighted(at: int, moved: np.ndarray[Any, Any]) -> float:
        """The sum of all outputs times their seeds, with one input moved."""
        given = [
            Tensor(moved if i == at else each) if isinstance(each, np.ndarray) else each
            for i, each in enumerate(arrays)
        ]
        values = [y for y in tuple_of(function(*given)) if y.scalar_type is F64]
        return float(sum((y.numpy() * dy).sum() for y, dy in zip(values, seeds, strict=True)))

    def difference(at: int, way: np.ndarray[Any, Any]) -> float:
        """Along a way, of the fourth order."""
        near = weighted(at, arrays[at] + step * way) - weighted(at, arrays[at] - step * way)
        far = weighted(at, arrays[at] + 2 * step * way) - weighted(at, arrays[at] - 2 * step * way)
        return (8 * near - far) / (12 * step)

    for at in chosen:
        gradient = tensors[at].grad
        found = np.zeros(arrays[at].shape) if gradient is None else gradient.numpy()
        if found.shape != arrays[at].shape:
            raise AssertionError(
                f"{name}: the gradient of input {at} has another shape\n"
                f"  input     {arrays[at].shape}\n  gradient  {found.shape}"
            )
        way = np.asarray(rng.normal(size=found.shape))
        expected = difference(at, way)
        size = max(1.0, float(np.abs(found * way).sum()))
        if not abs(float((found * way).sum()) - expected) <= tolerance * size:
            _check_elements(name, at, found, partial(difference, at), tolerance)


def _check_elements(
    name: str,
    at: int,
    found: np.ndarray[Any, Any],
    difference: Callable[..., float],
    tolerance: float,
) -> None:
    """Check element by element, which moves less: a way through all may have crossed a kink."""
    numeric = np.empty(found.shape)
    for place in np.ndindex(found.shape):
        unit = np.zeros(found.shape)
        unit[place] = 1.0
        numeric[place] = difference(unit)
    apart = np.where(np.isfinite(found), np.abs(found - numeric), np.inf)
    if (apart <= tolerance * np.maximum(1.0, np.abs(numeric))).all():
        return
    place = np.unravel_index(int(np.argmax(apart)), found.shape)
    raise AssertionError(
        f"{name}: the gradient of input {at} is wrong\n"
        f"  at           {tuple(map(int, place))} of {found.shape}\n"
        f"  rule         {found[place]:.9g}\n"
        f"  differences  {numeric[place]:.9g}"
    )
