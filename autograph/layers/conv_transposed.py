"""Transposed convolutions: from coarse to fine, over sequences, images and volumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import NonNegativeInt, PositiveInt

from .. import ops
from ..tensor import Tensor
from .builders import BuilderOf, L_co, Padding2, Padding3, Size2, Size3, builder
from .conv import Convolution, ConvolutionBuilder, Size


@builder
class TransposedBuilder(ConvolutionBuilder[L_co]):
    """What the settings of all transposed convolutions share."""

    output_padding: Any = 0

    turned: ClassVar[bool] = True
    handed: ClassVar[tuple[str, ...]] = (*ConvolutionBuilder.handed, "output_padding")


@dataclass(eq=False, repr=False)
class Transposed(Convolution):
    """What all transposed convolutions share."""

    output_padding: Size

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=self.groups,
        )


@builder
class ConvTransposed1Builder(TransposedBuilder["ConvTransposed1"]):
    filter: PositiveInt
    stride: PositiveInt = 1
    padding: NonNegativeInt = 0
    dilation: PositiveInt = 1
    output_padding: NonNegativeInt = 0


@dataclass(eq=False, repr=False)
class ConvTransposed1(Transposed):
    """1-d transposed convolution: (N, C, L) -> (N, O, P), weight (C, O / groups, R).

    P as in `ConvTransposed2`.

    >>> conv = ConvTransposed1.builder(inputs=3, outputs=4, filter=2, stride=2).build()
    >>> conv(Tensor(np.ones((2, 3, 10), np.float32))).shape
    (2, 4, 20)
    """

    convolve = staticmethod(ops.conv_transpose1)

    builder = BuilderOf(ConvTransposed1Builder)


@builder
class ConvTransposed2Builder(TransposedBuilder["ConvTransposed2"]):
    filter: Size2
    stride: Size2 = 1
    padding: Padding2 = 0
    dilation: Size2 = 1
    output_padding: Padding2 = 0


@dataclass(eq=False, repr=False)
class ConvTransposed2(Transposed):
    """2-d transposed convolution: (N, C, H, W) -> (N, O, P, Q), weight (C, O / groups, R, S).

    P = (H - 1) * stride - 2 * padding + dilation * (R - 1) + output_padding + 1, and so on.

    >>> conv = ConvTransposed2.builder(inputs=3, outputs=4, filter=2, stride=2).build()
    >>> conv(Tensor(np.ones((2, 3, 5, 5), np.float32))).shape
    (2, 4, 10, 10)
    """

    convolve = staticmethod(ops.conv_transpose2)

    builder = BuilderOf(ConvTransposed2Builder)


@builder
class ConvTransposed3Builder(TransposedBuilder["ConvTransposed3"]):
    filter: Size3
    stride: Size3 = 1
    padding: Padding3 = 0
    dilation: Size3 = 1
    output_padding: Padding3 = 0


@dataclass(eq=False, repr=False)
class ConvTransposed3(Transposed):
    """3-d transposed convolution: (N, C, D, H, W) -> (N, O, M, P, Q), weight
    (C, O / groups, K, R, S).

    P as in `ConvTransposed2`.

    >>> conv = ConvTransposed3.builder(inputs=3, outputs=4, filter=2, stride=2).build()
    >>> conv(Tensor(np.ones((2, 3, 2, 5, 5), np.float32))).shape
    (2, 4, 4, 10, 10)
    """

    convolve = staticmethod(ops.conv_transpose3)

    builder = BuilderOf(ConvTransposed3Builder)
