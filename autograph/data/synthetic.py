"""Points in the plane in two classes, drawn by a seed: sets on which one can see a model learn.

Every set is (points (N, 2), classes (N,)), the points in about [-1, 1] each way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DataError
from ..philox import normals, permutation, stream, uniforms
from .dataset import Dataset

Array = np.ndarray[Any, Any]
Rule = Callable[[Array, Array], Array]


def simple(count: int = 200, *, seed: int = 0) -> Dataset:
    """Left or right: class 1 where x > 0."""
    return _ruled("simple", lambda x, y: x > 0, count, seed)


def diag(count: int = 200, *, seed: int = 0) -> Dataset:
    """Either side of the falling diagonal: class 1 where x + y > 0."""
    return _ruled("diag", lambda x, y: x + y > 0, count, seed)


def split(count: int = 200, *, seed: int = 0) -> Dataset:
    """A band between two others: class 1 where |x| > 0.5."""
    return _ruled("split", lambda x, y: np.abs(x) > 0.5, count, seed)


def xor(count: int = 200, *, seed: int = 0) -> Dataset:
    """Opposite quarters: class 1 where x and y differ in sign."""
    return _ruled("xor", lambda x, y: x * y < 0, count, seed)


def circle(count: int = 200, *, seed: int = 0) -> Dataset:
    """A disc, half of the square, and what is around it: class 1 outside."""
    return _ruled("circle", lambda x, y: x * x + y * y > 2 / np.pi, count, seed)


def star(count: int = 200, *, seed: int = 0) -> Dataset:
    """A star with five points, and what is around it: class 1 outside."""

    def outside(x: Array, y: Array) -> Array:
        return np.hypot(x, y) > 0.62 + 0.3 * np.cos(5 * (np.arctan2(y, x) - np.pi / 2))

    return _ruled("star", outside, count, seed)


def spiral(count: int = 200, *, seed: int = 0, noise: float = 0.02) -> Dataset:
    """Two arms that turn around each other (Lang and Witbrock, 1988)."""
    classes = np.arange(count) % 2
    t = np.sqrt(uniforms(stream(seed, "spiral", "t"), count))
    angle = 3 * np.pi * t + np.pi * classes
    points = t[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    points += noise * normals(stream(seed, "spiral", "noise"), 2 * count).reshape(-1, 2)
    return _shuffled("spiral", points, classes, seed)


def gaussians(count: int = 200, *, seed: int = 0, deviation: float = 0.25) -> Dataset:
    """Two round clouds, around (-0.5, -0.5) and (0.5, 0.5), that touch."""
    classes = np.arange(count) % 2
    points = deviation * normals(stream(seed, "gaussians"), 2 * count).reshape(-1, 2)
    return _shuffled("gaussians", points + (classes - 0.5)[:, None], classes, seed)


SYNTHETIC: dict[str, Callable[..., Dataset]] = {
    "simple": simple,
    "diag": diag,
    "split": split,
    "xor": xor,
    "circle": circle,
    "star": star,
    "spiral": spiral,
    "gaussians": gaussians,
}


def synthetic(name: str, count: int = 200, *, seed: int = 0) -> Dataset:
    """A set by its name.

    >>> synthetic("xor", 50, seed=1).inputs.shape
    (50, 2)
    """
    if name not in SYNTHETIC:
        raise DataError(f"synthetic: there is no set {name!r}\n  known  {', '.join(SYNTHETIC)}")
    return SYNTHETIC[name](count, seed=seed)


def _ruled(name: str, rule: Rule, count: int, seed: int) -> Dataset:
    """Points anywhere in the square, their classes by a rule of x and y."""
    points = 2 * uniforms(stream(seed, name), 2 * count).reshape(-1, 2) - 1
    return Dataset(points.astype(np.float32), rule(*points.T).astype(np.int64))


def _shuffled(name: str, points: Array, classes: Array, seed: int) -> Dataset:
    order = permutation(stream(seed, name, "order"), len(points))
    return Dataset(points[order].astype(np.float32), classes[order].astype(np.int64))
