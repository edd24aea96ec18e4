"""Convolution layers over sequences and images."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt

from pydantic import PositiveInt

from .. import ops
from ..errors import SettingsError
from ..tensor import Parameter, Tensor
from .base import Layer
from .builders import Builder, BuilderOf, NonNegativeInt, Padding2, Size2, builder, pair
from .dense import known_inputs
from .site import Site


def filters(
    site: Site, inputs: int | None, outputs: int, filter: tuple[int, ...], groups: int, bias: bool
) -> tuple[Parameter, Parameter | None]:
    """Weight and bias of a convolution, uniform in (-a, a) with a = sqrt(2 / fan_in)."""
    channels = known_inputs(inputs, site)
    if channels % groups or outputs % groups:
        raise SettingsError(
            f"{site.name}: groups divides neither or only one of inputs and outputs\n"
            f"  inputs   {channels}\n  outputs  {outputs}\n  groups   {groups}"
        )
    shape = (outputs, channels // groups, *filter)
    bound = sqrt(2 / prod(shape[1:]))
    return (
        site.uniform("weight", shape, bound),
        site.uniform("bias", (outputs,), bound) if bias else None,
    )


# -- images ----------------------------------------------------------------------------


@builder
class Conv2Builder(Builder["Conv2"]):
    """Settings of `Conv2`; `inputs` is inferred where a layer stands before it."""

    outputs: PositiveInt
    filter: Size2
    inputs: PositiveInt | None = None
    stride: Size2 = 1
    padding: Padding2 = 0
    dilation: Size2 = 1
    groups: PositiveInt = 1
    bias: bool = False

    def build_at(self, site: Site) -> Conv2:
        weight, bias = filters(
            site, self.inputs, self.outputs, pair(self.filter), self.groups, self.bias
        )
        return Conv2(
            weight=weight,
            bias=bias,
            stride=pair(self.stride),
            padding=pair(self.padding),
            dilation=pair(self.dilation),
            groups=self.groups,
        )


@dataclass(eq=False, repr=False)
class Conv2(Layer):
    """2-d convolution: (N, C, H, W) -> (N, O, P, Q).

    P = (H + 2 * padding - dilation * (R - 1) - 1) // stride + 1, and Q likewise.

    >>> conv = Conv2.builder(inputs=1, outputs=6, filter=5).build()
    >>> conv(Tensor(np.ones((2, 1, 28, 28), np.float32))).shape
    (2, 6, 24, 24)
    """

    weight: Parameter  # (O, C / groups, R, S)
    bias: Parameter | None  # (O,)
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    builder = BuilderOf(Conv2Builder)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = ops.conv2(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y


# -- sequences -------------------------------------------------------------------------


@builder
class Conv1Builder(Builder["Conv1"]):
    """Settings of `Conv1`; `inputs` is inferred where a layer stands before it."""

    outputs: PositiveInt
    filter: PositiveInt
    inputs: PositiveInt | None = None
    stride: PositiveInt = 1
    padding: NonNegativeInt = 0
    dilation: PositiveInt = 1
    groups: PositiveInt = 1
    bias: bool = False

    def build_at(self, site: Site) -> Conv1:
        weight, bias = filters(
            site, self.inputs, self.outputs, (self.filter,), self.groups, self.bias
        )
        return Conv1(
            weight=weight,
            bias=bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


@dataclass(eq=False, repr=False)
class Conv1(Layer):
    """1-d convolution: (N, C, L) -> (N, O, P), P as in `Conv2`.

    >>> conv = Conv1.builder(inputs=3, outputs=4, filter=3, padding=1).build()
    >>> conv(Tensor(np.ones((2, 3, 10), np.float32))).shape
    (2, 4, 10)
    """

    weight: Parameter  # (O, C / groups, R)
    bias: Parameter | None  # (O,)
    stride: int
    padding: int
    dilation: int
    groups: int

    builder = BuilderOf(Conv1Builder)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = ops.conv1(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y
