"""3-d convolution, over volumes or frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, PositiveInt

from .. import ops
from ..tensor import Parameter, Tensor
from .base import Layer
from .builders import Builder, BuilderOf, NonNegativeInt, builder
from .conv import filters
from .site import Site

Three = tuple[int, int, int]


def triple(value: int | Three) -> Three:
    """Depth, height and width from one number or three."""
    return (value, value, value) if isinstance(value, int) else value


Size3 = Annotated[
    PositiveInt | tuple[PositiveInt, PositiveInt, PositiveInt], AfterValidator(triple)
]
Padding3 = Annotated[
    NonNegativeInt | tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt], AfterValidator(triple)
]


@builder
class Conv3Builder(Builder["Conv3"]):
    """Settings of `Conv3`; `inputs` is inferred where a layer stands before it."""

    outputs: PositiveInt
    filter: Size3
    inputs: PositiveInt | None = None
    stride: Size3 = 1
    padding: Padding3 = 0
    dilation: Size3 = 1
    groups: PositiveInt = 1
    bias: bool = False

    def build_at(self, site: Site) -> Conv3:
        weight, bias = filters(
            site, self.inputs, self.outputs, triple(self.filter), self.groups, self.bias
        )
        return Conv3(
            weight=weight,
            bias=bias,
            stride=triple(self.stride),
            padding=triple(self.padding),
            dilation=triple(self.dilation),
            groups=self.groups,
        )


@dataclass(eq=False, repr=False)
class Conv3(Layer):
    """3-d convolution: (N, C, D, H, W) -> (N, O, M, P, Q), sizes as in `Conv2`.

    >>> conv = Conv3.builder(inputs=1, outputs=6, filter=3).build()
    >>> conv(Tensor(np.ones((2, 1, 4, 8, 8), np.float32))).shape
    (2, 6, 2, 6, 6)
    """

    weight: Parameter  # (O, C / groups, K, R, S)
    bias: Parameter | None  # (O,)
    stride: Three
    padding: Three
    dilation: Three
    groups: int

    builder = BuilderOf(Conv3Builder)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = ops.conv3(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y
