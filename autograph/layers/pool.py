"""Pooling layers: one value for each window of an image."""

from __future__ import annotations

from dataclasses import dataclass

from .. import ops
from ..tensor import Tensor
from .base import Layer
from .builders import Builder, BuilderOf, Padding2, Size2, builder, pair
from .site import Site


@builder
class MaxPool2Builder(Builder["MaxPool2"]):
    """Settings of `MaxPool2`; the stride is the filter's size unless said."""

    filter: Size2
    stride: Size2 | None = None
    padding: Padding2 = 0

    def build_at(self, site: Site) -> MaxPool2:
        return MaxPool2(
            filter=pair(self.filter),
            stride=pair(self.filter if self.stride is None else self.stride),
            padding=pair(self.padding),
        )


@dataclass(eq=False, repr=False)
class MaxPool2(Layer):
    """The largest of each window: (N, C, H, W) -> (N, C, P, Q).

    P = (H + 2 * padding - R) // stride + 1; padding never wins; the first of equals does.

    >>> MaxPool2.builder(filter=2).build()(Tensor(np.ones((2, 6, 24, 24), np.float32))).shape
    (2, 6, 12, 12)
    """

    filter: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    builder = BuilderOf(MaxPool2Builder)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = ops.max_pool2(
            x, filter=self.filter, stride=self.stride, padding=self.padding
        )
        return y


@builder
class MeanPool2Builder(Builder["MeanPool2"]):
    """Settings of `MeanPool2`; the stride is the filter's size unless said."""

    filter: Size2
    stride: Size2 | None = None
    padding: Padding2 = 0

    def build_at(self, site: Site) -> MeanPool2:
        return MeanPool2(
            filter=pair(self.filter),
            stride=pair(self.filter if self.stride is None else self.stride),
            padding=pair(self.padding),
        )


@dataclass(eq=False, repr=False)
class MeanPool2(Layer):
    """The mean of each window, the zeros of the padding counted: (N, C, H, W) -> (N, C, P, Q).

    >>> MeanPool2.builder(filter=2).build()(Tensor(np.ones((2, 6, 24, 24), np.float32))).shape
    (2, 6, 12, 12)
    """

    filter: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    builder = BuilderOf(MeanPool2Builder)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = ops.mean_pool2(
            x, filter=self.filter, stride=self.stride, padding=self.padding
        )
        return y
