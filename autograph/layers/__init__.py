"""Layers: a table from each kind to its module, imported when the kind is used.

The table is at the same time the closed set of kinds that a file may name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .activation import Celu as Celu
    from .activation import CeluBuilder as CeluBuilder
    from .activation import Elu as Elu
    from .activation import EluBuilder as EluBuilder
    from .activation import Hardsigmoid as Hardsigmoid
    from .activation import HardsigmoidBuilder as HardsigmoidBuilder
    from .activation import Hardswish as Hardswish
    from .activation import HardswishBuilder as HardswishBuilder
    from .activation import Hardtanh as Hardtanh
    from .activation import HardtanhBuilder as HardtanhBuilder
    from .activation import LeakyRelu as LeakyRelu
    from .activation import LeakyReluBuilder as LeakyReluBuilder
    from .activation import Prelu as Prelu
    from .activation import PreluBuilder as PreluBuilder
    from .activation import Relu as Relu
    from .activation import Relu6 as Relu6
    from .activation import Relu6Builder as Relu6Builder
    from .activation import ReluBuilder as ReluBuilder
    from .activation import Selu as Selu
    from .activation import SeluBuilder as SeluBuilder
    from .adaptive_pool import AdaptiveMaxPool as AdaptiveMaxPool
    from .adaptive_pool import AdaptiveMaxPoolBuilder as AdaptiveMaxPoolBuilder
    from .adaptive_pool import AdaptiveMeanPool as AdaptiveMeanPool
    from .adaptive_pool import AdaptiveMeanPoolBuilder as AdaptiveMeanPoolBuilder
    from .adaptive_pool import GlobalMaxPool as GlobalMaxPool
    from .adaptive_pool import GlobalMaxPoolBuilder as GlobalMaxPoolBuilder
    from .adaptive_pool import GlobalMeanPool as GlobalMeanPool
    from .adaptive_pool import GlobalMeanPoolBuilder as GlobalMeanPoolBuilder
    from .attention import MultiheadAttention as MultiheadAttention
    from .attention import MultiheadAttentionBuilder as MultiheadAttentionBuilder
    from .attention import PositionalEncoding as PositionalEncoding
    from .attention import PositionalEncodingBuilder as PositionalEncodingBuilder
    from .base import Layer as Layer
    from .batch_norm import BatchNorm1 as BatchNorm1
    from .batch_norm import BatchNorm1Builder as BatchNorm1Builder
    from .batch_norm import BatchNorm2 as BatchNorm2
    from .batch_norm import BatchNorm2Builder as BatchNorm2Builder
    from .batch_norm import BatchNorm3 as BatchNorm3
    from .batch_norm import BatchNorm3Builder as BatchNorm3Builder
    from .builders import Builder as Builder
    from .builders import BuilderOf as BuilderOf
    from .builders import builder as builder
    from .combine import Parallel as Parallel
    from .combine import ParallelBuilder as ParallelBuilder
    from .combine import Residual as Residual
    from .combine import ResidualBuilder as ResidualBuilder
    from .conv import Conv1 as Conv1
    from .conv import Conv1Builder as Conv1Builder
    from .conv import Conv2 as Conv2
    from .conv import Conv2Builder as Conv2Builder
    from .conv import Conv3 as Conv3
    from .conv import Conv3Builder as Conv3Builder
    from .conv_transposed import ConvTransposed1 as ConvTransposed1
    from .conv_transposed import ConvTransposed1Builder as ConvTransposed1Builder
    from .conv_transposed import ConvTransposed2 as ConvTransposed2
    from .conv_transposed import ConvTransposed2Builder as ConvTransposed2Builder
    from .conv_transposed import ConvTransposed3 as ConvTransposed3
    from .conv_transposed import ConvTransposed3Builder as ConvTransposed3Builder
    from .declare import layer as layer
    from .declare import sequential as sequential
    from .dense import Dense as Dense
    from .dense import DenseBuilder as DenseBuilder
    from .describe import from_description as from_description
    from .dropout import Dropout as Dropout
    from .dropout import DropoutBuilder as DropoutBuilder
    from .embedding import Embedding as Embedding
    from .embedding import EmbeddingBuilder as EmbeddingBuilder
    from .initialise import Fill as Fill
    from .initialise import Glorot as Glorot
    from .initialise import He as He
    from .initialise import Initialiser as Initialiser
    from .initialise import Normal as Normal
    from .initialise import Orthogonal as Orthogonal
    from .initialise import TruncatedNormal as TruncatedNormal
    from .initialise import Uniform as Uniform
    from .initialise import Zeros as Zeros
    from .norm import GroupNorm as GroupNorm
    from .norm import GroupNormBuilder as GroupNormBuilder
    from .norm import InstanceNorm as InstanceNorm
    from .norm import InstanceNormBuilder as InstanceNormBuilder
    from .norm import LayerNorm as LayerNorm
    from .norm import LayerNormBuilder as LayerNormBuilder
    from .norm import RMSNorm as RMSNorm
    from .norm import RMSNormBuilder as RMSNormBuilder
    from .pool import MaxPool1 as MaxPool1
    from .pool import MaxPool1Builder as MaxPool1Builder
    from .pool import MaxPool2 as MaxPool2
    from .pool import MaxPool2Builder as MaxPool2Builder
    from .pool import MaxPool3 as MaxPool3
    from .pool import MaxPool3Builder as MaxPool3Builder
    from .pool import MeanPool1 as MeanPool1
    from .pool import MeanPool1Builder as MeanPool1Builder
    from .pool import MeanPool2 as MeanPool2
    from .pool import MeanPool2Builder as MeanPool2Builder
    from .pool import MeanPool3 as MeanPool3
    from .pool import MeanPool3Builder as MeanPool3Builder
    from .recurrent import GRU as GRU
    from .recurrent import LSTM as LSTM
    from .recurrent import GRUBuilder as GRUBuilder
    from .recurrent import LSTMBuilder as LSTMBuilder
    from .repeat import Choice as Choice
    from .repeat import ChoiceBuilder as ChoiceBuilder
    from .repeat import Optional as Optional
    from .repeat import OptionalBuilder as OptionalBuilder
    from .repeat import Repeat as Repeat
    from .repeat import RepeatBuilder as RepeatBuilder
    from .resample import PixelShuffle as PixelShuffle
    from .resample import PixelShuffleBuilder as PixelShuffleBuilder
    from .resample import PixelUnshuffle as PixelUnshuffle
    from .resample import PixelUnshuffleBuilder as PixelUnshuffleBuilder
    from .resample import Unfold as Unfold
    from .resample import UnfoldBuilder as UnfoldBuilder
    from .resample import Upsample as Upsample
    from .resample import UpsampleBuilder as UpsampleBuilder
    from .shape import Flatten as Flatten
    from .shape import FlattenBuilder as FlattenBuilder
    from .shape import Identity as Identity
    from .shape import IdentityBuilder as IdentityBuilder
    from .sigmoidal import Gelu as Gelu
    from .sigmoidal import GeluBuilder as GeluBuilder
    from .sigmoidal import LogSoftmax as LogSoftmax
    from .sigmoidal import LogSoftmaxBuilder as LogSoftmaxBuilder
    from .sigmoidal import Mish as Mish
    from .sigmoidal import MishBuilder as MishBuilder
    from .sigmoidal import Sigmoid as Sigmoid
    from .sigmoidal import SigmoidBuilder as SigmoidBuilder
    from .sigmoidal import Silu as Silu
    from .sigmoidal import SiluBuilder as SiluBuilder
    from .sigmoidal import Softmax as Softmax
    from .sigmoidal import SoftmaxBuilder as SoftmaxBuilder
    from .sigmoidal import Softplus as Softplus
    from .sigmoidal import SoftplusBuilder as SoftplusBuilder
    from .sigmoidal import Softsign as Softsign
    from .sigmoidal import SoftsignBuilder as SoftsignBuilder
    from .sigmoidal import Tanh as Tanh
    from .sigmoidal import TanhBuilder as TanhBuilder
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


def _modules(names: dict[str, str]) -> dict[str, str]:
    """The module of each name."""
    return dict(sorted((name, at) for at, several in names.items() for name in several.split()))


KINDS = _modules(_KINDS)
_MODULES = _modules(_TOOLS) | KINDS | {f"{kind}Builder": module for kind, module in KINDS.items()}

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
