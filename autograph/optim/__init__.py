"""Optimizers, schedules and clipping."""

from .adam import Adam, AdamW
from .clip import clip_norm, clip_value
from .describe import optimizer_from_description
from .optimizer import Optimizer
from .schedule import Constant, Cosine, Schedule, Step
from .sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Optimizer",
    "Schedule",
    "Step",
    "clip_norm",
    "clip_value",
    "optimizer_from_description",
]
