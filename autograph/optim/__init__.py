"""Optimizers, schedules, clipping and averages."""

from .adam import Adam, AdamW
from .adam_variants import Adamax, NAdam, RAdam
from .average import Average
from .clip import clip_norm, clip_value
from .describe import optimizer_from_description
from .large_models import LAMB, Adafactor, Lion
from .muon import Muon
from .optimizer import Optimizer
from .root_squares import Adadelta, Adagrad, RMSprop
from .schedule import Constant, Cosine, Schedule, Step
from .schedules import (
    CosineRestarts,
    Exponential,
    Linear,
    MultiStep,
    OneCycle,
    Pieces,
    Plateau,
    Polynomial,
    Warmup,
)
from .sgd import SGD

__all__ = [
    "LAMB",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Average",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Exponential",
    "Linear",
    "Lion",
    "MultiStep",
    "Muon",
    "NAdam",
    "OneCycle",
    "Optimizer",
    "Pieces",
    "Plateau",
    "Polynomial",
    "RAdam",
    "RMSprop",
    "Schedule",
    "Step",
    "Warmup",
    "clip_norm",
    "clip_value",
    "optimizer_from_description",
]
