"""How cases are drawn for the rows of the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from autograph import ops

from .cases import FLOATS, WHOLE, Row, broadcast_shapes, shape_of

Rng = np.random.Generator
NUMBERS = (*FLOATS, *WHOLE)
WIDE = "f64", "f32"
functional = torch.nn.functional


def normal(rng: Rng, shape: tuple[int, ...], scale: float = 2.0) -> np.ndarray[Any, Any]:
    return rng.normal(size=shape) * scale


def drawn(settings: Mapping[str, Any], rng: Rng) -> dict[str, Any]:
    """Settings, those that are functions of chance drawn."""
    return {name: each(rng) if callable(each) else each for name, each in settings.items()}


def of(*shapes: tuple[int, ...], scale: float = 2.0, **settings: Any) -> Callable[[Rng], Any]:
    """Inputs of these shapes."""
    return lambda rng: ([normal(rng, shape, scale) for shape in shapes], drawn(settings, rng))


def of_any(least: int = 0, **settings: Any) -> Callable[[Rng], Any]:
    """An input of any shape with so many axes at least."""
    return lambda rng: ([normal(rng, shape_of(rng, least))], drawn(settings, rng))


def a_number(low: int, high: int) -> Callable[[Rng], int]:
    return lambda rng: int(rng.integers(low, high))


def one(low: float = -4.0, high: float = 4.0, least: int = 0) -> Callable[[Rng], Any]:
    return lambda rng: ([rng.uniform(low, high, size=shape_of(rng, least))], {})


def two(low: float = -4.0, high: float = 4.0, numbers: bool = True) -> Callable[[Rng], Any]:
    """Shapes that broadcast; now and then a number on either side."""

    def draw(rng: Rng) -> Any:
        a, b = (rng.uniform(low, high, size=shape) for shape in broadcast_shapes(rng, 2))
        side = rng.random()
        if numbers and side < 0.1:
            return [a, float(rng.uniform(low, high))], {}
        return [a, b], {}

    return draw


def whole(count: int, low: int, high: int) -> Callable[[Rng], Any]:
    def draw(rng: Rng) -> Any:
        shapes = broadcast_shapes(rng, count)
        return [rng.integers(low, high, size=shape).astype(float) for shape in shapes], {}

    return draw


def bounded(rng: Rng) -> Any:
    """Bounds that broadcast to x: the gradient of others fails in PyTorch."""
    x, low, high = (rng.uniform(-4, 4, size=shape) for shape in broadcast_shapes(rng, 3))
    return [np.broadcast_to(x, np.broadcast_shapes(*map(np.shape, (x, low, high)))), low, high], {}


def some_axes(rng: Rng, ndim: int) -> Any:
    if not ndim or rng.random() < 0.3:
        return None
    if rng.random() < 0.5:
        return int(rng.integers(-ndim, ndim))
    chosen = rng.permutation(ndim)[: rng.integers(1, ndim + 1)]
    return tuple(int(i) - (ndim if rng.random() < 0.5 else 0) for i in chosen)


def over_axes(scale: float = 2.0, empty: bool = True, **more: Any) -> Callable[[Rng], Any]:
    def draw(rng: Rng) -> Any:
        x = normal(rng, shape_of(rng), scale)
        if not empty and not x.size:
            x = normal(rng, (2, 3), scale)
        settings = {"axis": some_axes(rng, x.ndim), "keepdims": bool(rng.random() < 0.5)}
        return [x], settings | drawn(more, rng)

    return draw


def along(empty: bool = True, none: bool = False, **more: Any) -> Callable[[Rng], Any]:
    """One axis; ties are frequent."""

    def draw(rng: Rng) -> Any:
        shape = shape_of(rng, least=1)
        x = normal(rng, shape if empty or 0 not in shape else (2, 3))
        x = np.round(x) if rng.random() < 0.3 else x
        axis = None if none and rng.random() < 0.3 else int(rng.integers(-x.ndim, x.ndim))
        return [x], {"axis": axis} | drawn(more, rng)

    return draw


def indices(rng: Rng, size: int, shape: tuple[int, ...], negative: bool = False) -> Any:
    return rng.integers(-size if negative else 0, size, size=shape)


def filled(rng: Rng, least: int = 1) -> np.ndarray[Any, Any]:
    """An array that is not empty."""
    shape = tuple(max(size, 1) for size in shape_of(rng, least))
    return normal(rng, shape)


def logit(x: Any) -> Any:
    return np.log(x / (1 - x))


def shown(result: Any) -> Any:
    """torch's named tuples as plain ones."""
    return tuple(result)


ROWS: dict[str, Row] = {}


def row(
    name: str, theirs: Callable[..., Any], draw: Any, ours: Any = None, **settings: Any
) -> None:
    ROWS[name] = Row(getattr(ops, name, None) if ours is None else ours, theirs, draw, **settings)
