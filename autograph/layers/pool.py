"""Pooling layers over sequences, images and volumes: one value for each window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from pydantic import PositiveInt

from .. import ops
from ..tensor import Tensor
from .base import Layer
from .builders import Builder, BuilderOf, NonNegativeInt, Padding2, Padding3, Size2, Size3, builder
from .site import Site

L_co = TypeVar("L_co", covariant=True)


@builder
class PoolBuilder(Builder[L_co]):
    """What the settings of all pools share; sizes are one number, or one for each axis."""

    filter: Any
    stride: Any = None
    padding: Any = 0

    def build_at(self, site: Site) -> L_co:
        stride = self.filter if self.stride is None else self.stride
        return self.made(filter=self.filter, stride=stride, padding=self.padding)


@dataclass(eq=False, repr=False)
class Pool(Layer):
    """What all pools share."""

    filter: Any
    stride: Any
    padding: Any

    pool: ClassVar[Callable[..., Any]]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pool(x, filter=self.filter, stride=self.stride, padding=self.padding)
        return y


# -- images ----------------------------------------------------------------------------


@builder
class MaxPool2Builder(PoolBuilder["MaxPool2"]):
    """Settings of `MaxPool2`; the stride is the filter's size unless said."""

    filter: Size2
    stride: Size2 | None = None
    padding: Padding2 = 0


@dataclass(eq=False, repr=False)
class MaxPool2(Pool):
    """The largest of each window: (N, C, H, W) -> (N, C, P, Q).

    P = (H + 2 * padding - R) // stride + 1; padding never wins; the first of equals does.

    >>> MaxPool2.builder(filter=2).build()(Tensor(np.ones((2, 6, 24, 24), np.float32))).shape
    (2, 6, 12, 12)
    """

    pool = staticmethod(ops.max_pool2)

    builder = BuilderOf(MaxPool2Builder)


@builder
class MeanPool2Builder(PoolBuilder["MeanPool2"]):
    """Settings of `MeanPool2`; the stride is the filter's size unless said."""

    filter: Size2
    stride: Size2 | None = None
    padding: Padding2 = 0


@dataclass(eq=False, repr=False)
class MeanPool2(Pool):
    """The mean of each window, the zeros of the padding counted: (N, C, H, W) -> (N, C, P, Q).

    >>> MeanPool2.builder(filter=2).build()(Tensor(np.ones((2, 6, 24, 24), np.float32))).shape
    (2, 6, 12, 12)
    """

    pool = staticmethod(ops.mean_pool2)

    builder = BuilderOf(MeanPool2Builder)


# -- sequences -------------------------------------------------------------------------


@builder
class MaxPool1Builder(PoolBuilder["MaxPool1"]):
    """Settings of `MaxPool1`; the stride is the filter's size unless said."""

    filter: PositiveInt
    stride: PositiveInt | None = None
    padding: NonNegativeInt = 0


@dataclass(eq=False, repr=False)
class MaxPool1(Pool):
    """The largest of each window: (N, C, L) -> (N, C, P).

    >>> MaxPool1.builder(filter=2).build()(Tensor(np.ones((2, 3, 8), np.float32))).shape
    (2, 3, 4)
    """

    pool = staticmethod(ops.max_pool1)

    builder = BuilderOf(MaxPool1Builder)


@builder
class MeanPool1Builder(PoolBuilder["MeanPool1"]):
    """Settings of `MeanPool1`; the stride is the filter's size unless said."""

    filter: PositiveInt
    stride: PositiveInt | None = None
    padding: NonNegativeInt = 0


@dataclass(eq=False, repr=False)
class MeanPool1(Pool):
    """The mean of each window, the zeros of the padding counted: (N, C, L) -> (N, C, P).

    >>> MeanPool1.builder(filter=2).build()(Tensor(np.ones((2, 3, 8), np.float32))).shape
    (2, 3, 4)
    """

    pool = staticmethod(ops.mean_pool1)

    builder = BuilderOf(MeanPool1Builder)


# -- volumes ---------------------------------------------------------------------------


@builder
class MaxPool3Builder(PoolBuilder["MaxPool3"]):
    """Settings of `MaxPool3`; the stride is the filter's size unless said."""

    filter: Size3
    stride: Size3 | None = None
    padding: Padding3 = 0


@dataclass(eq=False, repr=False)
class MaxPool3(Pool):
    """The largest of each window: (N, C, D, H, W) -> (N, C, M, P, Q).

    >>> MaxPool3.builder(filter=2).build()(Tensor(np.ones((2, 3, 4, 8, 8), np.float32))).shape
    (2, 3, 2, 4, 4)
    """

    pool = staticmethod(ops.max_pool3)

    builder = BuilderOf(MaxPool3Builder)


@builder
class MeanPool3Builder(PoolBuilder["MeanPool3"]):
    """Settings of `MeanPool3`; the stride is the filter's size unless said."""

    filter: Size3
    stride: Size3 | None = None
    padding: Padding3 = 0


@dataclass(eq=False, repr=False)
class MeanPool3(Pool):
    """The mean of each window, the zeros of the padding counted:
    (N, C, D, H, W) -> (N, C, M, P, Q).

    >>> MeanPool3.builder(filter=2).build()(Tensor(np.ones((2, 3, 4, 8, 8), np.float32))).shape
    (2, 3, 2, 4, 4)
    """

    pool = staticmethod(ops.mean_pool3)

    builder = BuilderOf(MeanPool3Builder)
