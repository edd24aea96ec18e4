"""Pools over sequences and volumes, and pools of whatever size the input is."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import PositiveInt

from .. import ops
from ..tensor import Tensor
from .base import Layer
from .builders import BuilderOf, NonNegativeInt, builder
from .conv3 import Padding3, Size3, Three
from .plain import Plain

Sizes = PositiveInt | tuple[PositiveInt | None, ...]


@builder
class MaxPool1Builder(Plain["MaxPool1"]):
    """Settings of `MaxPool1`; the stride is the filter's size unless said."""

    filter: PositiveInt
    stride: PositiveInt | None = None
    padding: NonNegativeInt = 0


@dataclass(eq=False, repr=False)
class MaxPool1(Layer):
    """The largest of each window: (N, C, L) -> (N, C, P).

    >>> MaxPool1.builder(filter=2).build()(Tensor(np.ones((2, 3, 8), np.float32))).shape
    (2, 3, 4)
    """

    filter: int
    stride: int | None
    padding: int

    builder = BuilderOf(MaxPool1Builder)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = ops.max_pool1(
            x, filter=self.filter, stride=self.stride, padding=self.padding
        )
        return y


@builder
class MeanPool1Builder(Plain["MeanPool1"]):
    """Settings of `MeanPool1`; the stride is the filter's size unless said."""

    filter: PositiveInt
    stride: PositiveInt | None = None
    padding: NonNegativeInt = 0


@dataclass(eq=False, repr=False)
class MeanPool1(Layer):
    """The mean of each window, the zeros of the padding counted: (N, C, L) -> (N, C, P).

    >>> MeanPool1.builder(filter=2).build()(Tensor(np.ones((2, 3, 8), np.float32))).shape
    (2, 3, 4)
    """

    filter: int
    stride: int | None
    padding: int

    builder = BuilderOf(MeanPool1Builder)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = ops.mean_pool1(
            x, filter=self.filter, stride=self.stride, padding=self.padding
        )
        return y


@builder
class MaxPool3Builder(Plain["MaxPool3"]):
    """Settings of `MaxPool3`; the stride is the filter's size unless said."""

    filter: Size3
    stride: Size3 | None = None
    padding: Padding3 = 0


@dataclass(eq=False, repr=False)
class MaxPool3(Layer):
    """The largest of each window: (N, C, D, H, W) -> (N, C, M, P, Q).

    >>> MaxPool3.builder(filter=2).build()(Tensor(np.ones((2, 3, 4, 8, 8)))).shape
    (2, 3, 2, 4, 4)
    """

    filter: Three
    stride: Three | None
    padding: Three

    builder = BuilderOf(MaxPool3Builder)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = ops.max_pool3(
            x, filter=self.filter, stride=self.stride, padding=self.padding
        )
        return y


@builder
class MeanPool3Builder(Plain["MeanPool3"]):
    """Settings of `MeanPool3`; the stride is the filter's size unless said."""

    filter: Size3
    stride: Size3 | None = None
    padding: Padding3 = 0


@dataclass(eq=False, repr=False)
class MeanPool3(Layer):
    """The mean of each window, padding counted as zeros: (N, C, D, H, W) -> (N, C, M, P, Q).

    >>> MeanPool3.builder(filter=2).build()(Tensor(np.ones((2, 3, 4, 8, 8)))).shape
    (2, 3, 2, 4, 4)
    """

    filter: Three
    stride: Three | None
    padding: Three

    builder = BuilderOf(MeanPool3Builder)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = ops.mean_pool3(
            x, filter=self.filter, stride=self.stride, padding=self.padding
        )
        return y


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
        y: Tensor = ops.adaptive_max_pool(x, size=self.size)
        return y


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
        y: Tensor = ops.adaptive_mean_pool(x, size=self.size)
        return y


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
        y: Tensor = ops.global_max_pool(x)
        return y


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
        y: Tensor = ops.global_mean_pool(x)
        return y
