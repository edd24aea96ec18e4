"""The scene: all that a view shows of a run, filled by whoever trains or follows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..logs import curves_of

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

    def take_over(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take over what epochs came to, and how long the rest may take."""
        self.curves = dict(curves_of(records))
        done, rates, seconds = (self.curves.get(n, ()) for n in ("epoch", "rate", "seconds"))
        self.epoch = int(done[-1][0]) if done else 0
        self.epochs = self.epochs or self.epoch
        self.rate = rates[-1][1] if rates else None
        if seconds:
            recent = [each for _, each in seconds[-5:]]
            self.left = (self.epochs - self.epoch) * sum(recent) / len(recent)

    @property
    def share(self) -> float:
        """How much of the run is done."""
        inner = self.done / self.count if self.count and self.state != "testing" else 0.0
        return min((self.epoch + inner) / self.epochs, 1.0) if self.epochs else 0.0
