"""Metrics: sums kept on the device, read by the host once a pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import ops
from .device import Device
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


class Meter:
    """Gathers `Stats` without waiting for the device."""

    def __init__(self, device: Device) -> None:
        self.sums = Tensor(np.zeros(3), device=device)
        self.counts_classes = True

    def add(self, loss: Tensor, scores: Tensor, targets: Tensor) -> None:
        """Add a batch: its mean loss, and what of its scores is right."""
        with no_grad():
            if scores.ndim == 2 and targets.ndim == 1 and not targets.scalar_type.is_float:
                ops.tally(self.sums, loss.detach(), scores.detach(), targets)
            else:
                self.counts_classes = False
                ops.tally_loss(self.sums, loss.detach(), rows=scores.shape[0])

    def read(self) -> Stats:
        """The sums so far: waits for the device."""
        count, loss, correct = self.sums.tolist()
        return Stats(int(count), loss, int(correct) if self.counts_classes else None)

    def reset(self) -> None:
        """Start again from zero."""
        self.sums[...] = 0.0


def accuracy(scores: Tensor, targets: Tensor) -> Tensor:
    """The share of rows of scores (N, classes) whose first largest is the target's: a scalar.

    >>> accuracy(Tensor([[0.1, 0.9], [0.8, 0.2]]), Tensor([1, 1])).item()
    0.5
    """
    right = scores.detach().argmax(axis=1) == targets
    return right.cast("f32").mean()
