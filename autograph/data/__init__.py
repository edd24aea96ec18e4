"""Data sets and where they come from: imported when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..imports import later, modules_of

if TYPE_CHECKING:
    from .catalogue import *
    from .dataset import *
    from .named import *
    from .partition import *
    from .points import *
    from .prefetch import *
    from .sources import *
    from .through import *

_MODULES = modules_of(
    {
        "catalogue": "choose",
        "dataset": "Batch Dataset",
        "named": "TrainTest fashion_mnist iris mnist",
        "partition": "class_weights train_test_split",
        "points": "synthetic",
        "prefetch": "mapped prefetched",
        "sources": "Labelled read_csv read_images read_numpy read_safetensors",
        "through": "transformed",
    }
)

__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = later(__name__, _MODULES)
