"""Layers: a table from each kind to its module, imported when the kind is used.

The table is at the same time the closed set of kinds that a file may name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .activation import Relu as Relu
    from .builders import Builder as Builder
    from .builders import BuilderOf as BuilderOf
    from .builders import builder as builder
    from .conv import Conv1 as Conv1
    from .conv import Conv1Builder as Conv1Builder
    from .conv import Conv2 as Conv2
    from .conv import Conv2Builder as Conv2Builder
    from .declare import layer as layer
    from .declare import sequential as sequential
    from .dense import Dense as Dense
    from .dense import DenseBuilder as DenseBuilder
    from .describe import from_description as from_description
    from .base import Layer as Layer
    from .pool import MaxPool2 as MaxPool2
    from .pool import MaxPool2Builder as MaxPool2Builder
    from .pool import MeanPool2 as MeanPool2
    from .pool import MeanPool2Builder as MeanPool2Builder
    from .shape import Flatten as Flatten
    from .shape import Identity as Identity
    from .site import Site as Site
    from .summarize import Summary as Summary
    from .summarize import summary as summary

KINDS = {
    "Conv1": "conv",
    "Conv2": "conv",
    "Dense": "dense",
    "Flatten": "shape",
    "Identity": "shape",
    "MaxPool2": "pool",
    "MeanPool2": "pool",
    "Relu": "activation",
}
_TOOLS = {
    "Builder": "builders",
    "BuilderOf": "builders",
    "Layer": "base",
    "Site": "site",
    "Summary": "summarize",
    "builder": "builders",
    "from_description": "describe",
    "layer": "declare",
    "sequential": "declare",
    "summary": "summarize",
}
_MODULES = _TOOLS | KINDS | {f"{kind}Builder": module for kind, module in KINDS.items()}

__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
