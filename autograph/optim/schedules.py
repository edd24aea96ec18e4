"""Schedules of other forms: in stages, decaying, cyclic, and one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, inf, pi
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ..errors import SettingsError
from ..settings import Share, frozen
from .schedule import Constant, Cosine, Factor, Schedule, Step

Steps = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
LEAST = 1e-8  # that a plateau's rate falls by, as torch's
Rates = Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)]


@frozen
class MultiStep(Schedule):
    """`initial * factor ** (how many of `at` the step has reached)`.

    >>> MultiStep(initial=1.0, at=(10, 20), factor=0.5)(20)
    0.25
    """

    initial: PositiveFloat
    at: Steps
    factor: Factor = 0.1

    def __call__(self, step: int) -> float:
        return float(self.initial * self.factor ** sum(step >= each for each in self.at))


@frozen
class Exponential(Schedule):
    """`initial * factor ** step`.

    >>> Exponential(initial=1.0, factor=0.5)(3)
    0.125
    """

    initial: PositiveFloat
    factor: Factor

    def __call__(self, step: int) -> float:
        return float(self.initial * self.factor**step)


@frozen
class Linear(Schedule):
    """From `initial` to `final` in a straight line of `steps`, then `final`.

    >>> Linear(initial=1.0, steps=4)(1)
    0.75
    """

    initial: NonNegativeFloat
    final: NonNegativeFloat = 0.0
    steps: PositiveInt | None = None

    def __call__(self, step: int) -> float:
        t = min(step / self._horizon(), 1.0)
        return self.initial + (self.final - self.initial) * t


@frozen
class Polynomial(Schedule):
    """(initial - floor) * (1 - t) ** power + floor, t running from 0 to 1 over `steps`.

    >>> Polynomial(initial=1.0, steps=4, power=2.0)(2)
    0.25
    """

    initial: PositiveFloat
    power: PositiveFloat = 1.0
    floor: NonNegativeFloat = 0.0
    steps: PositiveInt | None = None

    def __call__(self, step: int) -> float:
        t = min(step / self._horizon(), 1.0)
        return float((self.initial - self.floor) * (1 - t) ** self.power + self.floor)


@frozen
class OneCycle(Schedule):
    """Up from peak / `start` to `peak` in the first `share` of the steps, then down to
    peak / start / `end` (Smith and Topin, 2018). As torch's OneCycleLR, cosines by default.

    >>> OneCycle(peak=1.0, steps=11, share=0.5)(4)
    1.0
    """

    peak: PositiveFloat
    steps: PositiveInt | None = None
    share: Share = 0.3
    start: PositiveFloat = 25.0
    end: PositiveFloat = 1e4
    form: Literal["cosine", "linear"] = "cosine"

    def __call__(self, step: int) -> float:
        low = self.peak / self.start
        top, last = self.share * self._horizon() - 1, self._horizon() - 1
        at = min(step, last)
        if at <= top:
            return self._between(low, self.peak, at / top if top else 0.0)
        return self._between(self.peak, low / self.end, (at - top) / (last - top))

    def _between(self, a: float, b: float, t: float) -> float:
        return a + (b - a) * (t if self.form == "linear" else (1 - cos(pi * t)) / 2)


@frozen
class CosineRestarts(Schedule):
    """Half cosines from `peak` to `floor`, begun anew after `every` steps, each `factor` times as
    long as the last (Loshchilov and Hutter, 2017).

    >>> CosineRestarts(peak=1.0, every=2, factor=2)(4)
    0.5
    """

    peak: PositiveFloat
    every: PositiveInt
    factor: PositiveInt = 1
    floor: NonNegativeFloat = 0.0

    def __call__(self, step: int) -> float:
        length = self.every
        while step >= length:
            if self.factor == 1:
                step %= length
                break
            step, length = step - length, length * self.factor
        return self.floor + (self.peak - self.floor) * (1 + cos(pi * step / length)) / 2


@frozen
class Pieces(Schedule):
    """Rates as they are given, one for each step; the last for all that follow.

    >>> Pieces(rates=(0.1, 0.2))(7)
    0.2
    """

    rates: Rates

    def __call__(self, step: int) -> float:
        return self.rates[min(step, len(self.rates) - 1)]


@frozen
class Warmup(Schedule):
    """`after`, begun by a straight line from `start` times its first rate over `length` steps.

    >>> Warmup(after=Exponential(initial=1.0, factor=0.5), length=4)(2)
    0.5
    """

    after: Schedule
    length: PositiveInt
    start: NonNegativeFloat = 0.0

    def __call__(self, step: int) -> float:
        if step >= self.length:
            return self.after(step - self.length)
        return self.after(0) * (self.start + (1 - self.start) * step / self.length)

    @property
    def depends_on_horizon(self) -> bool:
        return self.after.depends_on_horizon

    @property
    def steps(self) -> int | None:  # type: ignore[override]
        """The horizon: that of `after`, and the warm-up before it."""
        inner = self.after.steps if self.after.depends_on_horizon else None
        return None if inner is None else inner + self.length

    def over(self, steps: int) -> Schedule:
        inner = self.after.over(max(steps - self.length, 1))
        return Warmup(after=inner, length=self.length, start=self.start)

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Warmup:
        told = dict(settings)
        if isinstance(told.get("after"), dict):
            told["after"] = schedule_of(told["after"])
        return super().from_settings(told)


@frozen
class Plateau(Schedule):
    """A rate that falls by `factor` once reports have not improved for more than `patience` of
    them: a function of the reports, not of the step. As torch's ReduceLROnPlateau.

        plateau = Plateau(initial=0.1)
        optimizer.learning_rate = plateau.after([report.test_loss for report in reports])

    >>> Plateau(initial=1.0, factor=0.1, patience=1).after([3.0, 2.0, 2.0, 2.0])
    0.1
    """

    initial: PositiveFloat
    factor: Factor = 0.1
    patience: NonNegativeInt = 10
    threshold: NonNegativeFloat = 1e-4  # of the best, that counts as better
    cooldown: NonNegativeInt = 0  # reports after a fall that do not count
    floor: NonNegativeFloat = 0.0
    smallest: bool = True  # whether the best report is the smallest

    def __call__(self, step: int) -> float:
        return self.initial

    def after(self, reports: Sequence[float]) -> float:
        """The learning rate after these reports."""
        rate, bad, rest = self.initial, 0, 0
        best = inf if self.smallest else -inf
        for value in reports:
            if self.smallest:
                better = value < best * (1 - self.threshold)
            else:
                better = value > best * (1 + self.threshold)
            if better:
                best, bad = value, 0
            else:
                bad += 1
            if rest:
                rest, bad = rest - 1, 0
            if bad > self.patience:
                lower, bad, rest = max(rate * self.factor, self.floor), 0, self.cooldown
                rate = lower if rate - lower > LEAST else rate
        return rate


def schedule_of(description: Any) -> Schedule:
    """A schedule from its description."""
    told = dict(description)
    kind = told.pop("kind", None)
    if not isinstance(kind, str) or kind not in SCHEDULES:
        raise SettingsError(
            f"schedule: there is no schedule {kind!r}\n  known  {', '.join(SCHEDULES)}"
        )
    return SCHEDULES[kind].from_settings(told)


SCHEDULES: dict[str, type[Schedule]] = {
    each.__name__: each
    for each in (
        Constant, Cosine, Step, CosineRestarts, Exponential, Linear, MultiStep, OneCycle, Pieces,
        Plateau, Polynomial, Warmup,
    )
}  # fmt: skip
