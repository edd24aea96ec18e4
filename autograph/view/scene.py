"""The scene: all that a view shows of a run, filled by whoever trains or follows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Points = Sequence[tuple[float, float]]


class Picture(NamedTuple):
    """A test image, what the model says it is, and what it is."""

    pixels: Array  # (H, W) or (H, W, 3), from 0 to 1
    found: str
    right: str


class RunLine(NamedTuple):
    """One of several runs."""

    name: str
    state: str
    epoch: int
    epochs: int
    curves: dict[str, Points]


@dataclass
class Scene:
    """What is known now; None or empty is not known."""

    name: str = ""
    state: str = "waiting"  # training, testing, paused, ended, failed
    note: str = ""  # the last thing that happened, in words
    curves: dict[str, Points] = field(default_factory=dict)  # by name, over epochs
    epoch: int = 0  # epochs done
    epochs: int = 0
    done: int = 0  # batches of this epoch
    count: int = 0
    rate: float | None = None  # samples a second
    left: float | None = None  # seconds
    learning_rate: float | None = None
    weight_norms: dict[str, float] = field(default_factory=dict)
    gradient_norms: dict[str, float] = field(default_factory=dict)
    classes: Sequence[str] = ()
    confusion: Array | None = None  # (classes, classes), row: right, column: found
    pictures: Sequence[Picture] = ()
    regions: Array | None = None  # (H, W, classes), probabilities
    points: Array | None = None  # (N, 2)
    targets: Array | None = None  # (N,)
    extent: float = 1.1  # of the plane that regions cover
    runs: Sequence[RunLine] = ()  # of the folder, where it holds several

    @property
    def share(self) -> float:
        """How much of the run is done."""
        inner = self.done / self.count if self.count and self.state != "testing" else 0.0
        return min((self.epoch + inner) / self.epochs, 1.0) if self.epochs else 0.0
