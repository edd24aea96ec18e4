"""Layers that change the resolution of images, or lay them out anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from .. import ops
from ..errors import ShapeError
from ..tensor import Tensor
from .base import Layer
from .builders import BuilderOf, Padding2, Plain, Size2, builder

Mode = Literal["nearest", "nearest_exact", "linear", "cubic", "area"]
Sizes = PositiveInt | tuple[PositiveInt, ...]
Scales = PositiveFloat | tuple[PositiveFloat, ...]


@builder
class UpsampleBuilder(Plain["Upsample"]):
    """Settings of `Upsample`: the size that comes out, or how many times as large it is."""

    size: Sizes | None = None
    scale: Scales | None = None
    mode: Mode = "nearest"
    corners: bool = False


@dataclass(eq=False, repr=False)
class Upsample(Layer):
    """All axes after N and C brought to another size: (N, C, ...) -> (N, C, ...).

    `mode` is "nearest", "nearest_exact" (by the middles of the elements), "linear" (bilinear,
    trilinear), "cubic" or "area"; with `corners` the first and last elements of both sizes lie on
    each other.

    >>> Upsample.builder(scale=2).build()(Tensor(np.ones((2, 3, 4, 5), np.float32))).shape
    (2, 3, 8, 10)
    """

    size: int | tuple[int, ...] | None
    scale: float | tuple[float, ...] | None
    mode: Mode
    corners: bool

    builder = BuilderOf(UpsampleBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.upsample(
            x, size=self.size, scale=self.scale, mode=self.mode, corners=self.corners
        )


@builder
class PixelShuffleBuilder(Plain["PixelShuffle"]):
    """Settings of `PixelShuffle`: how many times finer the image becomes."""

    factor: PositiveInt

    def outputs_for(self, inputs: int | None) -> int | None:
        if inputs is None:
            return None
        if inputs % self.factor**2:
            raise ShapeError(
                f"PixelShuffle: the channels are not divided by factor²\n"
                f"  channels  {inputs}\n  factor    {self.factor}"
            )
        return inputs // self.factor**2


@dataclass(eq=False, repr=False)
class PixelShuffle(Layer):
    """Channels laid out as pixels: (N, C * factor², H, W) -> (N, C, H * factor, W * factor).

    >>> PixelShuffle.builder(factor=2).build()(Tensor(np.ones((2, 12, 4, 5), np.float32))).shape
    (2, 3, 8, 10)
    """

    factor: int

    builder = BuilderOf(PixelShuffleBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.pixel_shuffle(x, factor=self.factor)


@builder
class PixelUnshuffleBuilder(Plain["PixelUnshuffle"]):
    """Settings of `PixelUnshuffle`: how many times coarser the image becomes."""

    factor: PositiveInt

    def outputs_for(self, inputs: int | None) -> int | None:
        return None if inputs is None else inputs * self.factor**2


@dataclass(eq=False, repr=False)
class PixelUnshuffle(Layer):
    """Pixels laid out as channels: (N, C, H, W) -> (N, C * factor², H / factor, W / factor).

    >>> PixelUnshuffle.builder(factor=2).build()(Tensor(np.ones((2, 3, 8, 10), np.float32))).shape
    (2, 12, 4, 5)
    """

    factor: int

    builder = BuilderOf(PixelUnshuffleBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.pixel_unshuffle(x, factor=self.factor)


@builder
class UnfoldBuilder(Plain["Unfold"]):
    filter: Size2
    stride: Size2 = 1
    padding: Padding2 = 0
    dilation: Size2 = 1

    def outputs_for(self, inputs: int | None) -> int | None:
        r, s = self.filter if isinstance(self.filter, tuple) else (self.filter, self.filter)
        return None if inputs is None else inputs * r * s


@dataclass(eq=False, repr=False)
class Unfold(Layer):
    """The patches of images as columns: (N, C, H, W) -> (N, C * R * S, P * Q).

    >>> Unfold.builder(filter=2).build()(Tensor(np.ones((2, 3, 4, 5), np.float32))).shape
    (2, 12, 12)
    """

    filter: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    builder = BuilderOf(UnfoldBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.unfold(
            x,
            filter=self.filter,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )
