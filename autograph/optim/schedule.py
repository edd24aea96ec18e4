"""Schedules: learning rates as functions of the step, frozen and described."""

from __future__ import annotations

from dataclasses import replace
from math import cos, pi
from typing import Annotated, Any, cast

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ..errors import SettingsError
from ..settings import Described, frozen

Factor = Annotated[float, Field(gt=0, le=1)]


class Schedule(Described):
    """A learning rate for each step, from 0 on. Subclass it with `@frozen` and write `__call__`.

    `steps` is the horizon where a schedule has one; `fit` fills it in from the epochs.
    """

    steps: int | None

    def __call__(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        raise NotImplementedError(f"{type(self).__name__} does not define __call__")

    @property
    def depends_on_horizon(self) -> bool:
        """Whether another number of steps gives other rates."""
        return "steps" in self.names()

    def over(self, steps: int) -> Schedule:
        """This schedule with its horizon, if it has none of its own."""
        if not self.depends_on_horizon or self.steps is not None:
            return self
        return cast(Schedule, replace(cast(Any, self), steps=steps))

    def table(self, steps: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The rates of the first `steps` steps."""
        return np.array([self(step) for step in range(steps)], np.float64)

    def _horizon(self) -> int:
        if self.steps is None:
            raise SettingsError(
                f"{self.kind}: steps is not known\n"
                f"  write  {self.kind}(..., steps=EPOCHS * BATCHES), or train with fit"
            )
        return self.steps


@frozen
class Constant(Schedule):
    """The same rate at every step.

    >>> Constant(rate=0.1)(7)
    0.1
    """

    rate: NonNegativeFloat

    def __call__(self, step: int) -> float:
        return self.rate


@frozen
class Cosine(Schedule):
    """Linear warm-up to `peak`, then half a cosine down to `floor` (Loshchilov and Hutter, 2017):
    floor + (peak - floor) * (1 + cos(pi * t)) / 2, t running from 0 to 1 after the warm-up.

    >>> Cosine(peak=0.1, steps=10)(5)
    0.05
    """

    peak: PositiveFloat
    steps: PositiveInt | None = None
    warmup: NonNegativeInt = 0
    floor: NonNegativeFloat = 0.0

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        length = max(self._horizon() - self.warmup, 1)
        t = min((step - self.warmup) / length, 1.0)
        return self.floor + (self.peak - self.floor) * (1 + cos(pi * t)) / 2


@frozen
class Step(Schedule):
    """`initial * factor ** (step // every)`.

    >>> Step(initial=1.0, every=10, factor=0.5)(25)
    0.25
    """

    initial: PositiveFloat
    every: PositiveInt
    factor: Factor = 0.1

    def __call__(self, step: int) -> float:
        return float(self.initial * self.factor ** (step // self.every))
