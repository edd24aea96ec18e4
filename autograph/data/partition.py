"""Data sets cut in two, and how much each class of them should weigh."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DataError
from ..philox import permutation, stream
from .dataset import Dataset
from .named import TrainTest


def train_test_split(
    data: Dataset, share: float = 0.2, *, seed: int = 0, by_class: bool = True
) -> TrainTest:
    """A share of the samples to test on, the rest to train on, chosen by a seed.

    Where targets are class indices, `by_class` takes the share of each class. Both parts are seen
    through the transforms that the whole has.

    >>> parts = train_test_split(Dataset(np.zeros((10, 2)), np.arange(10) % 2), 0.2)
    >>> sorted(parts.test.targets.tolist())
    [0, 1]
    """
    if not 0 < share < 1:
        raise DataError(f"train_test_split: share is {share!r}\n  write a number between 0 and 1")
    order = permutation(stream(seed, "train_test_split"), len(data))
    is_test = np.zeros(len(data), bool)
    if by_class and _are_classes(data.targets):
        for each in np.unique(data.targets):
            members = order[data.targets[order] == each]
            is_test[members[: round(share * len(members))]] = True
    else:
        is_test[order[: round(share * len(data))]] = True
    if is_test.all() or not is_test.any():
        raise DataError(
            f"train_test_split: {share} of {len(data)} samples leaves one part empty\n"
            f"  write another share, or give more samples"
        )
    return TrainTest(data.part(~is_test), data.part(is_test))


def class_weights(data: Dataset, classes: int | None = None) -> np.ndarray[Any, Any]:
    """Weights (classes,) that make every class count alike: N / (classes * members), f32.

    A class without members weighs 0.

    >>> class_weights(Dataset(np.zeros((4, 2)), np.array([0, 0, 0, 1]))).tolist()
    [0.6666667, 2.0]
    """
    if not _are_classes(data.targets):
        raise DataError(
            f"class_weights: targets are not class indices\n"
            f"  targets  {data.targets.dtype} {data.targets.shape}\n  wanted   integers (N,)"
        )
    counts = np.bincount(data.targets, minlength=classes or 0)
    weights = len(data) / (len(counts) * np.maximum(counts, 1))
    return np.where(counts > 0, weights, 0.0).astype(np.float32)


def _are_classes(targets: np.ndarray[Any, Any]) -> bool:
    return targets.ndim == 1 and targets.dtype.kind in "iu" and bool((targets >= 0).all())
