"""Transposed convolutions: from coarse to fine, over sequences, images and volumes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt

from pydantic import PositiveInt

from .. import ops
from ..errors import SettingsError
from ..tensor import Parameter, Tensor
from .base import Layer
from .builders import Builder, BuilderOf, NonNegativeInt, Padding2, Size2, builder, pair
from .conv3 import Padding3, Size3, Three, triple
from .dense import known_inputs
from .site import Site


def transposed_filters(
    site: Site, inputs: int | None, outputs: int, filter: tuple[int, ...], groups: int, bias: bool
) -> tuple[Parameter, Parameter | None]:
    """Weight and bias, uniform in (-a, a) with a = sqrt(2 / (inputs / groups * filter))."""
    channels = known_inputs(inputs, site)
    if channels % groups or outputs % groups:
        raise SettingsError(
            f"{site.name}: groups divides neither or only one of inputs and outputs\n"
            f"  inputs   {channels}\n  outputs  {outputs}\n  groups   {groups}"
        )
    bound = sqrt(2 / (channels // groups * prod(filter)))
    return (
        site.uniform("weight", (channels, outputs // groups, *filter), bound),
        site.uniform("bias", (outputs,), bound) if bias else None,
    )


@builder
class ConvTransposed1Builder(Builder["ConvTransposed1"]):
    """Settings of `ConvTransposed1`; `inputs` is inferred where a layer stands before it."""

    outputs: PositiveInt
    filter: PositiveInt
    inputs: PositiveInt | None = None
    stride: PositiveInt = 1
    padding: NonNegativeInt = 0
    output_padding: NonNegativeInt = 0
    dilation: PositiveInt = 1
    groups: PositiveInt = 1
    bias: bool = False

    def build_at(self, site: Site) -> ConvTransposed1:
        weight, bias = transposed_filters(
            site, self.inputs, self.outputs, (self.filter,), self.groups, self.bias
        )
        return ConvTransposed1(
            weight=weight,
            bias=bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=self.groups,
        )


@dataclass(eq=False, repr=False)
class ConvTransposed1(Layer):
    """1-d transposed convolution: (N, C, L) -> (N, O, P).

    P as in `ConvTransposed2`.

    >>> conv = ConvTransposed1.builder(inputs=3, outputs=4, filter=2, stride=2).build()
    >>> conv(Tensor(np.ones((2, 3, 10), np.float32))).shape
    (2, 4, 20)
    """

    weight: Parameter  # (C, O / groups, R)
    bias: Parameter | None  # (O,)
    stride: int
    padding: int
    output_padding: int
    dilation: int
    groups: int

    builder = BuilderOf(ConvTransposed1Builder)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = ops.conv_transpose1(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y


@builder
class ConvTransposed2Builder(Builder["ConvTransposed2"]):
    """Settings of `ConvTransposed2`; `inputs` is inferred where a layer stands before it."""

    outputs: PositiveInt
    filter: Size2
    inputs: PositiveInt | None = None
    stride: Size2 = 1
    padding: Padding2 = 0
    output_padding: Padding2 = 0
    dilation: Size2 = 1
    groups: PositiveInt = 1
    bias: bool = False

    def build_at(self, site: Site) -> ConvTransposed2:
        weight, bias = transposed_filters(
            site, self.inputs, self.outputs, pair(self.filter), self.groups, self.bias
        )
        return ConvTransposed2(
            weight=weight,
            bias=bias,
            stride=pair(self.stride),
            padding=pair(self.padding),
            output_padding=pair(self.output_padding),
            dilation=pair(self.dilation),
            groups=self.groups,
        )


@dataclass(eq=False, repr=False)
class ConvTransposed2(Layer):
    """2-d transposed convolution: (N, C, H, W) -> (N, O, P, Q).

    P = (H - 1) * stride - 2 * padding + dilation * (R - 1) + output_padding + 1, and so on.

    >>> conv = ConvTransposed2.builder(inputs=3, outputs=4, filter=2, stride=2).build()
    >>> conv(Tensor(np.ones((2, 3, 5, 5), np.float32))).shape
    (2, 4, 10, 10)
    """

    weight: Parameter  # (C, O / groups, R, S)
    bias: Parameter | None  # (O,)
    stride: tuple[int, int]
    padding: tuple[int, int]
    output_padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    builder = BuilderOf(ConvTransposed2Builder)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = ops.conv_transpose2(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y


@builder
class ConvTransposed3Builder(Builder["ConvTransposed3"]):
    """Settings of `ConvTransposed3`; `inputs` is inferred where a layer stands before it."""

    outputs: PositiveInt
    filter: Size3
    inputs: PositiveInt | None = None
    stride: Size3 = 1
    padding: Padding3 = 0
    output_padding: Padding3 = 0
    dilation: Size3 = 1
    groups: PositiveInt = 1
    bias: bool = False

    def build_at(self, site: Site) -> ConvTransposed3:
        weight, bias = transposed_filters(
            site, self.inputs, self.outputs, triple(self.filter), self.groups, self.bias
        )
        return ConvTransposed3(
            weight=weight,
            bias=bias,
            stride=triple(self.stride),
            padding=triple(self.padding),
            output_padding=triple(self.output_padding),
            dilation=triple(self.dilation),
            groups=self.groups,
        )


@dataclass(eq=False, repr=False)
class ConvTransposed3(Layer):
    """3-d transposed convolution: (N, C, D, H, W) -> (N, O, M, P, Q).

    P as in `ConvTransposed2`.

    >>> conv = ConvTransposed3.builder(inputs=3, outputs=4, filter=2, stride=2).build()
    >>> conv(Tensor(np.ones((2, 3, 2, 5, 5), np.float32))).shape
    (2, 4, 4, 10, 10)
    """

    weight: Parameter  # (C, O / groups, K, R, S)
    bias: Parameter | None  # (O,)
    stride: Three
    padding: Three
    output_padding: Three
    dilation: Three
    groups: int

    builder = BuilderOf(ConvTransposed3Builder)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = ops.conv_transpose3(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y
