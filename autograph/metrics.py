"""Metrics: sums kept on the device, read by the host once a pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import ops
from .device import HOST, Device
from .errors import ShapeError
from .tensor import Tensor, no_grad


@dataclass(frozen=True)
class Stats:
    """Sums over the samples of one pass."""

    count: int
    loss_sum: float
    correct: int | None  # None where targets are not classes

    @property
    def loss(self) -> float:
        """The mean loss of a sample."""
        return self.loss_sum / max(self.count, 1)

    @property
    def accuracy(self) -> float | None:
        """The share of samples whose first largest score is the target's."""
        return None if self.correct is None else self.correct / max(self.count, 1)

    def __str__(self) -> str:
        if self.correct is None:
            return f"loss {self.loss:.5f}"
        return f"loss {self.loss:.5f} accuracy {self.accuracy:.2%}"


class Sums:
    """Sums on a device, to which a pass adds without waiting for it."""

    sums: Tensor

    def reset(self) -> None:
        """Start again from zero."""
        self.sums[...] = 0.0


class Meter(Sums):
    """Gathers `Stats` without waiting for the device."""

    def __init__(self, device: Device) -> None:
        self.sums = Tensor(np.zeros(3), device=device)
        self.counts_classes = True

    def add(self, loss: Tensor, scores: Tensor, targets: Tensor) -> None:
        """Add a batch: its mean loss, and what of its scores is right."""
        home = self.sums.device  # a model on several devices answers on another one
        with no_grad():
            loss, scores = loss.detach().to(home), scores.detach().to(home)
            targets = targets.to(home)
            if scores.ndim == 2 and targets.ndim == 1 and not targets.scalar_type.is_float:
                ops.tally(self.sums, loss, scores, targets)
            else:
                self.counts_classes = False
                ops.tally_loss(self.sums, loss, rows=scores.shape[0])

    def read(self) -> Stats:
        """The sums so far: waits for the device."""
        count, loss, correct = self.sums.tolist()
        return Stats(int(count), loss, int(correct) if self.counts_classes else None)


def accuracy(scores: Tensor, targets: Tensor) -> Tensor:
    """The share of rows of scores (N, classes) whose first largest is the target's: a scalar.

    >>> accuracy(Tensor([[0.1, 0.9], [0.8, 0.2]]), Tensor([1, 1])).item()
    0.5
    """
    if scores.ndim < 2 or targets.shape != (scores.shape[0], *scores.shape[2:]):
        raise ShapeError(
            f"accuracy: one class index for each row of scores\n"
            f"  scores   {scores.shape}  N classes ...\n  targets  {targets.shape}  N ..."
        )
    right = scores.detach().argmax(axis=1) == targets
    return right.cast("f32").mean()


class Mean(Sums):
    """The mean of scalars, each counted as often as its batch has rows.

    >>> mean = Mean()
    >>> mean.add(Tensor(1.0), rows=1)
    >>> mean.add(Tensor(4.0), rows=2)
    >>> mean.read()
    3.0
    """

    def __init__(self, device: Device | str = HOST) -> None:
        self.sums = Tensor(np.zeros(3), device=device)

    def add(self, value: Tensor, rows: int = 1) -> None:
        """Add a value that is itself a mean over rows."""
        with no_grad():
            ops.tally_loss(self.sums, value.detach(), rows=rows)

    def read(self) -> float:
        """The mean so far: waits for the device. NaN where there is none."""
        count, total, _ = self.sums.tolist()
        return float(total / count) if count else float("nan")


class TopK(Sums):
    """The share of rows whose target is among the `k` largest scores.

    >>> top = TopK(2)
    >>> top.add(Tensor([[0.1, 0.5, 0.4], [0.6, 0.3, 0.1]]), Tensor([2, 2]))
    >>> top.read()
    0.5
    """

    def __init__(self, k: int, device: Device | str = HOST) -> None:
        self.k, self.sums = k, Tensor(np.zeros(2), device=device)

    def add(self, scores: Tensor, targets: Tensor) -> None:
        """Add a batch of scores (N, classes) and class indices (N,)."""
        with no_grad():
            ops.tally_top(self.sums, scores.detach(), targets, k=self.k)

    def read(self) -> float:
        """The share so far: waits for the device. NaN where there are no rows."""
        rows, hits = self.sums.tolist()
        return float(hits / rows) if rows else float("nan")


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often each class (row) was taken for each class (column), and what follows from it.

    A share of nothing, as the precision of a class that is never predicted, is 0.
    """

    counts: np.ndarray[Any, np.dtype[np.int64]]  # (classes, classes)

    @property
    def accuracy(self) -> float:
        """The share of rows that are right."""
        return float(_share(np.trace(self.counts), self.counts.sum()))

    @property
    def precision(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Of what was taken for a class, the share that is of it: (classes,)."""
        return _share(np.diagonal(self.counts), self.counts.sum(axis=0))

    @property
    def recall(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Of what is of a class, the share that was taken for it: (classes,)."""
        return _share(np.diagonal(self.counts), self.counts.sum(axis=1))

    @property
    def f1(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The harmonic mean of precision and recall: (classes,)."""
        right = np.diagonal(self.counts)
        return _share(2 * right, self.counts.sum(axis=0) + self.counts.sum(axis=1))

    def __str__(self) -> str:
        return (
            f"accuracy {self.accuracy:.2%} precision {self.precision.mean():.2%} "
            f"recall {self.recall.mean():.2%} F1 {self.f1.mean():.2%}"
        )


class ConfusionMeter:
    """Gathers a `Confusion` without waiting for the device.

    >>> meter = ConfusionMeter(2)
    >>> meter.add(Tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]), Tensor([0, 1, 1]))
    >>> meter.read().recall
    array([1. , 0.5])
    """

    def __init__(self, classes: int, device: Device | str = HOST) -> None:
        self.counts = Tensor(np.zeros((classes, classes), np.int64), device=device)

    def add(self, scores: Tensor, targets: Tensor) -> None:
        """Add a batch of scores (N, classes) and class indices (N,)."""
        with no_grad():
            ops.tally_confusion(self.counts, scores.detach(), targets)

    def read(self) -> Confusion:
        """The counts so far: waits for the device."""
        return Confusion(self.counts.numpy().copy())

    def reset(self) -> None:
        """Start again from zero."""
        self.counts[...] = 0


def _share(part: Any, whole: Any) -> Any:
    return np.where(whole > 0, part / np.maximum(whole, 1), 0.0)
