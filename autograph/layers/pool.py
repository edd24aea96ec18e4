"""Pooling layers over sequences, images and volumes: one value for each window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import NonNegativeInt, PositiveInt

from .. import ops
from ..tensor import Tensor
from .base import Layer
from .builders import Builder, BuilderOf, L_co, Padding2, Padding3, Size2, Size3, builder
from .site import Site


@builder
class PoolBuilder(Builder[L_co]):
    """What the settings of all pools share: sizes are one number, or one for each axis, and the
    stride is the filter's size unless said."""

    filter: Any
    stride: Any = None
    padding: Any = 0
    ceil: bool = False

    # The settings that the op of a kind does not know, and their values that say nothing.
    silent: ClassVar[dict[str, tuple[Any, ...]]] = {"ceil": (False,)}

    def build_at(self, site: Site) -> L_co:
        stride = self.filter if self.stride is None else self.stride
        settings = {"filter": self.filter, "stride": stride, "padding": self.padding}
        more = {name: getattr(self, name) for name in self.silent}
        more = {name: value for name, value in more.items() if value not in self.silent[name]}
        return self.made("Other", **settings, more=more) if more else self.made(**settings)


@builder
class MaxPoolBuilder(PoolBuilder[L_co]):
    """What the settings of pools share that look for the largest."""

    dilation: Any = 1

    silent = PoolBuilder.silent | {"dilation": (1, (1, 1), (1, 1, 1))}


@builder
class MeanPoolBuilder(PoolBuilder[L_co]):
    """What the settings of pools share that take the mean."""

    count_padding: bool = True
    divisor: PositiveInt | None = None

    silent = PoolBuilder.silent | {"count_padding": (True,), "divisor": (None,)}


@dataclass(eq=False, repr=False)
class Pool(Layer):
    """What all pools share."""

    filter: Any
    stride: Any
    padding: Any

    pool: ClassVar[Callable[..., Any]]

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x, filter=self.filter, stride=self.stride, padding=self.padding)


@dataclass(eq=False, repr=False)
class OtherPool(Pool):
    """A pool with settings that its op does not know, by the one that knows them all."""

    more: dict[str, Any]

    def forward(self, x: Tensor) -> Tensor:
        pool: Any = ops.max_pool if isinstance(self, MAXIMA) else ops.mean_pool
        return pool(x, filter=self.filter, stride=self.stride, padding=self.padding, **self.more)


@builder
class MaxPool2Builder(MaxPoolBuilder["MaxPool2"]):
    filter: Size2
    stride: Size2 | None = None
    padding: Padding2 = 0
    dilation: Size2 = 1


@dataclass(eq=False, repr=False)
class MaxPool2(Pool):
    """The largest of each window: (N, C, H, W) -> (N, C, P, Q).

    P = (H + 2 * padding - dilation * (R - 1) - 1) // stride + 1; padding never wins; the first of
    equals does. With `ceil` the division rounds up: a last window may leave the image.

    >>> MaxPool2.builder(filter=2).build()(Tensor(np.ones((2, 6, 24, 24), np.float32))).shape
    (2, 6, 12, 12)
    """

    pool = staticmethod(ops.max_pool2)

    builder = BuilderOf(MaxPool2Builder)


@builder
class MeanPool2Builder(MeanPoolBuilder["MeanPool2"]):
    filter: Size2
    stride: Size2 | None = None
    padding: Padding2 = 0


@dataclass(eq=False, repr=False)
class MeanPool2(Pool):
    """The mean of each window, the zeros of the padding counted: (N, C, H, W) -> (N, C, P, Q).

    Sizes and `ceil` as in `MaxPool2`. Without `count_padding` a mean is of what lies in the image;
    a `divisor` divides the sums in place of the size of the filter.

    >>> MeanPool2.builder(filter=2).build()(Tensor(np.ones((2, 6, 24, 24), np.float32))).shape
    (2, 6, 12, 12)
    """

    pool = staticmethod(ops.mean_pool2)

    builder = BuilderOf(MeanPool2Builder)


@builder
class MaxPool1Builder(MaxPoolBuilder["MaxPool1"]):
    filter: PositiveInt
    stride: PositiveInt | None = None
    padding: NonNegativeInt = 0
    dilation: PositiveInt = 1


@dataclass(eq=False, repr=False)
class MaxPool1(Pool):
    """The largest of each window: (N, C, L) -> (N, C, P).

    >>> MaxPool1.builder(filter=2).build()(Tensor(np.ones((2, 3, 8), np.float32))).shape
    (2, 3, 4)
    """

    pool = staticmethod(ops.max_pool1)

    builder = BuilderOf(MaxPool1Builder)


@builder
class MeanPool1Builder(MeanPoolBuilder["MeanPool1"]):
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


@builder
class MaxPool3Builder(MaxPoolBuilder["MaxPool3"]):
    filter: Size3
    stride: Size3 | None = None
    padding: Padding3 = 0
    dilation: Size3 = 1


@dataclass(eq=False, repr=False)
class MaxPool3(Pool):
    """The largest of each window: (N, C, D, H, W) -> (N, C, M, P, Q).

    >>> MaxPool3.builder(filter=2).build()(Tensor(np.ones((2, 3, 4, 8, 8), np.float32))).shape
    (2, 3, 2, 4, 4)
    """

    pool = staticmethod(ops.max_pool3)

    builder = BuilderOf(MaxPool3Builder)


@builder
class MeanPool3Builder(MeanPoolBuilder["MeanPool3"]):
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


MAXIMA = MaxPool1, MaxPool2, MaxPool3


class OtherMaxPool1(OtherPool, MaxPool1): ...


class OtherMaxPool2(OtherPool, MaxPool2): ...


class OtherMaxPool3(OtherPool, MaxPool3): ...


class OtherMeanPool1(OtherPool, MeanPool1): ...


class OtherMeanPool2(OtherPool, MeanPool2): ...


class OtherMeanPool3(OtherPool, MeanPool3): ...
