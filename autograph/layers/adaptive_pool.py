"""Pools of whatever size the input is: to a size that is wanted, or to one value."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import PositiveInt

from .. import ops
from ..tensor import Tensor
from .base import Layer
from .builders import BuilderOf, Plain, builder

Sizes = PositiveInt | tuple[PositiveInt | None, ...]


@builder
class AdaptiveMaxPoolBuilder(Plain["AdaptiveMaxPool"]):
    """Settings of `AdaptiveMaxPool`: the size that comes out, None where an axis stays."""

    size: Sizes


@dataclass(eq=False, repr=False)
class AdaptiveMaxPool(Layer):
    """The largest of windows chosen to give a size: (N, C, ...) -> (N, C, *size).

    >>> AdaptiveMaxPool.builder(size=2).build()(Tensor(np.ones((2, 3, 7, 5), np.float32))).shape
    (2, 3, 2, 2)
    """

    size: int | tuple[int | None, ...]

    builder = BuilderOf(AdaptiveMaxPoolBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_max_pool(x, size=self.size)


@builder
class AdaptiveMeanPoolBuilder(Plain["AdaptiveMeanPool"]):
    """Settings of `AdaptiveMeanPool`: the size that comes out, None where an axis stays."""

    size: Sizes


@dataclass(eq=False, repr=False)
class AdaptiveMeanPool(Layer):
    """The mean of windows chosen to give a size: (N, C, ...) -> (N, C, *size).

    >>> AdaptiveMeanPool.builder(size=2).build()(Tensor(np.ones((2, 3, 7, 5), np.float32))).shape
    (2, 3, 2, 2)
    """

    size: int | tuple[int | None, ...]

    builder = BuilderOf(AdaptiveMeanPoolBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_mean_pool(x, size=self.size)


@builder
class GlobalMaxPoolBuilder(Plain["GlobalMaxPool"]):
    """`GlobalMaxPool` has no settings."""


@dataclass(eq=False, repr=False)
class GlobalMaxPool(Layer):
    """The largest of each channel: (N, C, ...) -> (N, C).

    >>> GlobalMaxPool.builder().build()(Tensor(np.ones((2, 3, 7, 5), np.float32))).shape
    (2, 3)
    """

    builder = BuilderOf(GlobalMaxPoolBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.global_max_pool(x)


@builder
class GlobalMeanPoolBuilder(Plain["GlobalMeanPool"]):
    """`GlobalMeanPool` has no settings."""


@dataclass(eq=False, repr=False)
class GlobalMeanPool(Layer):
    """The mean of each channel: (N, C, ...) -> (N, C).

    >>> GlobalMeanPool.builder().build()(Tensor(np.ones((2, 3, 7, 5), np.float32))).shape
    (2, 3)
    """

    builder = BuilderOf(GlobalMeanPoolBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.global_mean_pool(x)
