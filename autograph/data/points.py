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


RULES: dict[str, Rule] = {  # is a point of the square of class 1?
    "simple": lambda x, y: x > 0,  # left or right
    "diag": lambda x, y: x + y > 0,  # either side of the falling diagonal
    "split": lambda x, y: np.abs(x) > 0.5,  # a band between two others
    "xor": lambda x, y: x * y < 0,  # opposite quarters
    "circle": lambda x, y: x * x + y * y > 2 / np.pi,  # around a disc, half of the square
    "star": lambda x, y: (  # around a star with five points
        np.hypot(x, y) > 0.62 + 0.3 * np.cos(5 * (np.arctan2(y, x) - np.pi / 2))
    ),
}


def spiral(count: int, seed: int) -> Dataset:
    """Two arms that turn around each other (Lang and Witbrock, 1988)."""
    classes = np.arange(count) % 2
    t = np.sqrt(uniforms(stream(seed, "spiral", "t"), count))
    angle = 3 * np.pi * t + np.pi * classes
    points = t[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    points += 0.02 * normals(stream(seed, "spiral", "noise"), 2 * count).reshape(-1, 2)
    return _shuffled("spiral", points, classes, seed)


def gaussians(count: int, seed: int) -> Dataset:
    """Two round clouds, around (-0.5, -0.5) and (0.5, 0.5), that touch."""
    classes = np.arange(count) % 2
    points = 0.25 * normals(stream(seed, "gaussians"), 2 * count).reshape(-1, 2)
    return _shuffled("gaussians", points + (classes - 0.5)[:, None], classes, seed)


def _shuffled(name: str, points: Array, classes: Array, seed: int) -> Dataset:
    order = permutation(stream(seed, name, "order"), len(points))
    return Dataset(points[order].astype(np.float32), classes[order].astype(np.int64))


SYNTHETIC = (*RULES, "spiral", "gaussians")


def synthetic(name: str, count: int = 200, *, seed: int = 0) -> Dataset:
    """A set by its name.

    >>> synthetic("xor", 50, seed=1).inputs.shape
    (50, 2)
    """
    if name not in SYNTHETIC:
        raise DataError(f"synthetic: there is no set {name!r}\n  known  {', '.join(SYNTHETIC)}")
    if name in RULES:
        points = 2 * uniforms(stream(seed, name), 2 * count).reshape(-1, 2) - 1
        return Dataset(points.astype(np.float32), RULES[name](*points.T).astype(np.int64))
    return (spiral if name == "spiral" else gaussians)(count, seed)
