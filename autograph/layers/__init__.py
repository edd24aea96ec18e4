"""Layers: a table from each kind to its module, imported when the kind is used.

The table is at the same time the closed set of kinds that a file may name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..imports import later, modules_of

if TYPE_CHECKING:
    from .activation import *
    from .adaptive_pool import *
    from .attention import *
    from .base import Layer as Layer
    from .batch_norm import *
    from .builders import Builder as Builder
    from .builders import BuilderOf as BuilderOf
    from .builders import builder as builder
    from .combine import *
    from .conv import *
    from .conv_transposed import *
    from .declare import layer as layer
    from .declare import sequential as sequential
    from .dense import *
    from .describe import from_description as from_description
    from .dropout import *
    from .embedding import *
    from .initialise import Fill as Fill
    from .initialise import Glorot as Glorot
    from .initialise import He as He
    from .initialise import Initialiser as Initialiser
    from .initialise import Normal as Normal
    from .initialise import Orthogonal as Orthogonal
    from .initialise import TruncatedNormal as TruncatedNormal
    from .initialise import Uniform as Uniform
    from .initialise import Zeros as Zeros
    from .norm import *
    from .pool import *
    from .recurrent import *
    from .repeat import *
    from .resample import *
    from .shape import *
    from .sigmoidal import *
    from .site import Site as Site
    from .summarize import Summary as Summary
    from .summarize import summary as summary

_KINDS = {  # by their modules
    "activation": "Celu Elu Hardsigmoid Hardswish Hardtanh LeakyRelu Prelu Relu Relu6 Selu",
    "adaptive_pool": "AdaptiveMaxPool AdaptiveMeanPool GlobalMaxPool GlobalMeanPool",
    "attention": "MultiheadAttention PositionalEncoding",
    "batch_norm": "BatchNorm1 BatchNorm2 BatchNorm3",
    "combine": "Parallel Residual",
    "conv": "Conv1 Conv2 Conv3",
    "conv_transposed": "ConvTransposed1 ConvTransposed2 ConvTransposed3",
    "dense": "Dense",
    "dropout": "Dropout",
    "embedding": "Embedding",
    "norm": "GroupNorm InstanceNorm LayerNorm RMSNorm",
    "pool": "MaxPool1 MaxPool2 MaxPool3 MeanPool1 MeanPool2 MeanPool3",
    "recurrent": "GRU LSTM",
    "repeat": "Choice Optional Repeat",
    "resample": "PixelShuffle PixelUnshuffle Unfold Upsample",
    "shape": "Flatten Identity",
    "sigmoidal": "Gelu LogSoftmax Mish Sigmoid Silu Softmax Softplus Softsign Tanh",
}
_TOOLS = {
    "base": "Layer",
    "builders": "Builder BuilderOf builder",
    "declare": "layer sequential",
    "describe": "from_description",
    "initialise": "Fill Glorot He Initialiser Normal Orthogonal TruncatedNormal Uniform Zeros",
    "site": "Site",
    "summarize": "Summary summary",
}


KINDS = modules_of(_KINDS)
_BUILDERS = {f"{kind}Builder": module for kind, module in KINDS.items()}
_MODULES = modules_of(_TOOLS) | KINDS | _BUILDERS

__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = later(__name__, _MODULES)
