"""Optimizers and schedules from their descriptions; the closed set of kinds a file may name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import CheckpointError, SettingsError
from .adam import Adam, Adamax, AdamW, NAdam, RAdam
from .large_models import LAMB, Adafactor, Lion, Muon
from .optimizer import Optimizer
from .root_squares import Adadelta, Adagrad, RMSprop
from .schedules import schedule_of
from .sgd import SGD

OPTIMIZERS: dict[str, type[Optimizer]] = {
    each.__name__: each
    for each in (
        LAMB, SGD, Adadelta, Adafactor, Adagrad, Adam, AdamW, Adamax, Lion, Muon, NAdam, RAdam,
        RMSprop,
    )
}  # fmt: skip


def optimizer_from_description(
    description: Mapping[str, Any], optimizers: Iterable[type[Optimizer]] = ()
) -> Optimizer:
    """An optimizer without state; kinds are those above and the classes given, by name.

    >>> optimizer_from_description(SGD(learning_rate=0.5).describe()).learning_rate
    0.5
    """
    kinds = OPTIMIZERS | {each.__name__: each for each in optimizers}
    settings = dict(description)
    kind = settings.pop("kind", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise CheckpointError(
            f"description: there is no optimizer {kind!r}\n  known  {', '.join(kinds)}"
        )
    rate = settings.get("learning_rate")
    try:
        if isinstance(rate, dict):
            settings["learning_rate"] = schedule_of(rate)
        return kinds[kind].from_settings(settings)
    except SettingsError as error:
        raise CheckpointError(f"description: the optimizer cannot be read\n{error}") from None
