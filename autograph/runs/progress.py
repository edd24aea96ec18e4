"""Progress: how far a training has come, and what decides the rest of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from typing import Any

from ..errors import CheckpointError, SettingsError

Sums = tuple[float, float, float | None]  # of a Meter: samples, losses, right ones


@dataclass(frozen=True)
class Progress:
    """All that going on needs beside the model and the optimizer: in whichever epoch and batch
    training stopped, its order and sums follow from this."""

    epochs: int  # the horizon
    batch_size: int
    seed: int
    epoch: int = 0  # epochs done
    step: int = 0  # batches done
    batch: int = 0  # batches done of the epoch under way
    sums: Sums = (0.0, 0.0, 0.0)  # over those batches
    best: float | None = None  # the best epoch so far, by what its run compares

    def __post_init__(self) -> None:
        counts = (self.epochs, self.batch_size, self.epoch, self.step, self.batch)
        numbers = tuple(float(each) if isinstance(each, str) else each for each in self.sums)
        object.__setattr__(self, "sums", numbers)
        sound = all(type(each) is int and each >= 0 for each in counts) and type(self.seed) is int
        if not sound or len(self.sums) != 3 or not isinstance(self.best, float | int | None):
            raise SettingsError(f"Progress: this is none\n  given  {self}")

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Progress:
        """What `describe` told, from a file."""
        known = {each.name for each in fields(cls)}
        if not {"epochs", "batch_size", "seed"} <= told.keys() <= known:
            raise CheckpointError(
                f"Progress: this is not how far a training came\n"
                f"  file   {', '.join(told)}\n  takes  {', '.join(sorted(known))}"
            )
        return cls(**told)

    def describe(self) -> dict[str, Any]:
        """As a JSON value, which `Progress(**value)` reads back. JSON has no NaN and no infinity:
        they are text."""
        sums = [each if each is None or isfinite(each) else repr(each) for each in self.sums]
        return {**asdict(self), "sums": sums}

    def at(self, batch: int, sums: Sums | None = None) -> Progress:
        """Later in the same epoch."""
        step = self.step + batch - self.batch
        return replace(self, batch=batch, step=step, sums=self.sums if sums is None else sums)

    def after_epoch(self, best: float | None) -> Progress:
        """At the end of the epoch under way."""
        return replace(self, epoch=self.epoch + 1, batch=0, sums=(0.0, 0.0, 0.0), best=best)
