"""Optimizers, schedules, clipping and averages: imported when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..imports import later, modules_of

if TYPE_CHECKING:
    from .adam import *
    from .average import *
    from .clip import *
    from .describe import *
    from .large_models import *
    from .optimizer import *
    from .root_squares import *
    from .schedule import *
    from .schedules import *
    from .sgd import *

_MODULES = modules_of(
    {
        "adam": "Adam AdamW Adamax NAdam RAdam",
        "average": "Average",
        "clip": "clip_norm clip_value",
        "describe": "optimizer_from_description",
        "large_models": "Adafactor LAMB Lion Muon",
        "optimizer": "Optimizer",
        "root_squares": "Adadelta Adagrad RMSprop",
        "schedule": "Constant Cosine Schedule Step",
        "schedules": "CosineRestarts Exponential Linear MultiStep OneCycle"
        " Pieces Plateau Polynomial Warmup",
        "sgd": "SGD",
    }
)

__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = later(__name__, _MODULES)
