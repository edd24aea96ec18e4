"""Progress: how far a training has come, and what decides the rest of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from .errors import SettingsError

Sums = tuple[float, float, float | None]  # of a Meter: samples, losses, right ones


@dataclass(frozen=True)
class Progress:
    """All that going on needs beside the model and the optimizer: in whichever epoch and batch
    training stopped, its order and sums follow from this."""

    epochs: int  # the horizon
    batch_size: int
    seed: int
    epoch: int = 0  # epochs done
    step: int = 0  # updates done
    batch: int = 0  # batches done of the epoch under way
    sums: Sums = (0.0, 0.0, 0.0)  # over those batches
    best: float | None = None  # the best epoch so far, by what its run compares

    def __post_init__(self) -> None:
        counts = (self.epochs, self.batch_size, self.epoch, self.step, self.batch)
        object.__setattr__(self, "sums", tuple(self.sums))
        sound = all(type(each) is int and each >= 0 for each in counts) and type(self.seed) is int
        if not sound or len(self.sums) != 3 or not isinstance(self.best, float | int | None):
            raise SettingsError(f"Progress: this is none\n  given  {self}")

    def describe(self) -> dict[str, Any]:
        """As a JSON value, which `Progress(**value)` reads back."""
        return {**asdict(self), "sums": list(self.sums)}

    def at(self, batch: int, sums: Sums | None = None) -> Progress:
        """Later in the same epoch."""
        step = self.step + batch - self.batch
        return replace(self, batch=batch, step=step, sums=self.sums if sums is None else sums)

    def after_epoch(self, best: float | None) -> Progress:
        """At the end of the epoch under way."""
        return replace(self, epoch=self.epoch + 1, batch=0, sums=(0.0, 0.0, 0.0), best=best)
