"""Convolution layers over sequences, images and volumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, TypeVar

from pydantic import PositiveInt

from .. import ops
from ..errors import SettingsError
from ..tensor import Parameter, Tensor
from .base import Layer
from .builders import Builder, BuilderOf, NonNegativeInt, Padding2, Padding3, Size2, Size3, builder
from .dense import known_inputs
from .initialise import Initialise, Uniform
from .site import Site

L_co = TypeVar("L_co", covariant=True)
Size = int | tuple[int, ...]  # one number, or one for each axis


@builder
class ConvolutionBuilder(Builder[L_co]):
    """What the settings of all convolutions share; sizes are one number, or one for each axis."""

    outputs: PositiveInt
    filter: Any
    inputs: PositiveInt | None = None
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: PositiveInt = 1
    bias: bool = False
    initialise: Initialise = Uniform()
    initialise_bias: Initialise = Uniform()

    turned: ClassVar[bool] = False  # whether the weight has the inputs first
    handed: ClassVar[tuple[str, ...]] = ("stride", "padding", "dilation", "groups")

    def build_at(self, site: Site) -> L_co:
        settings = {name: getattr(self, name) for name in self.handed}
        return self.made(**self.parameters_at(site), **settings)

    def parameters_at(self, site: Site) -> dict[str, Parameter | None]:
        """Weight and bias; the fans are inputs and outputs of a group, times the filter."""
        channels, groups = known_inputs(self.inputs, site), self.groups
        if channels % groups or self.outputs % groups:
            raise SettingsError(
                f"{site.name}: groups divides neither or only one of inputs and outputs\n"
                f"  inputs   {channels}\n  outputs  {self.outputs}\n  groups   {groups}"
            )
        filter = (self.filter,) if isinstance(self.filter, int) else self.filter
        fans = channels // groups * prod(filter), self.outputs // groups * prod(filter)
        first, second = self.outputs, channels // groups
        if self.turned:
            first, second = channels, self.outputs // groups
        bias = (self.outputs,)
        return {
            "weight": self.initialise.at(site, "weight", (first, second, *filter), fans),
            "bias": self.initialise_bias.at(site, "bias", bias, fans) if self.bias else None,
        }


@dataclass(eq=False, repr=False)
class Convolution(Layer):
    """What all convolutions share."""

    weight: Parameter
    bias: Parameter | None  # (O,)
    stride: Size
    padding: Size
    dilation: Size
    groups: int

    convolve: ClassVar[Callable[..., Any]]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.convolve(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y


# -- images ----------------------------------------------------------------------------


@builder
class Conv2Builder(ConvolutionBuilder["Conv2"]):
    """Settings of `Conv2`; `inputs` is inferred where a layer stands before it."""

    filter: Size2
    stride: Size2 = 1
    padding: Padding2 = 0
    dilation: Size2 = 1


@dataclass(eq=False, repr=False)
class Conv2(Convolution):
    """2-d convolution: (N, C, H, W) -> (N, O, P, Q), weight (O, C / groups, R, S).

    P = (H + 2 * padding - dilation * (R - 1) - 1) // stride + 1, and Q likewise. Weight and
    bias start uniform in (-a, a) with a = sqrt(2 / fan_in), or as `initialise` says.

    >>> conv = Conv2.builder(inputs=1, outputs=6, filter=5).build()
    >>> conv(Tensor(np.ones((2, 1, 28, 28), np.float32))).shape
    (2, 6, 24, 24)
    """

    convolve = staticmethod(ops.conv2)

    builder = BuilderOf(Conv2Builder)


# -- sequences -------------------------------------------------------------------------


@builder
class Conv1Builder(ConvolutionBuilder["Conv1"]):
    """Settings of `Conv1`; `inputs` is inferred where a layer stands before it."""

    filter: PositiveInt
    stride: PositiveInt = 1
    padding: NonNegativeInt = 0
    dilation: PositiveInt = 1


@dataclass(eq=False, repr=False)
class Conv1(Convolution):
    """1-d convolution: (N, C, L) -> (N, O, P), weight (O, C / groups, R); P as in `Conv2`.

    >>> conv = Conv1.builder(inputs=3, outputs=4, filter=3, padding=1).build()
    >>> conv(Tensor(np.ones((2, 3, 10), np.float32))).shape
    (2, 4, 10)
    """

    convolve = staticmethod(ops.conv1)

    builder = BuilderOf(Conv1Builder)


# -- volumes ---------------------------------------------------------------------------


@builder
class Conv3Builder(ConvolutionBuilder["Conv3"]):
    """Settings of `Conv3`; `inputs` is inferred where a layer stands before it."""

    filter: Size3
    stride: Size3 = 1
    padding: Padding3 = 0
    dilation: Size3 = 1


@dataclass(eq=False, repr=False)
class Conv3(Convolution):
    """3-d convolution: (N, C, D, H, W) -> (N, O, M, P, Q), weight (O, C / groups, K, R, S);
    sizes as in `Conv2`.

    >>> conv = Conv3.builder(inputs=1, outputs=6, filter=3).build()
    >>> conv(Tensor(np.ones((2, 1, 4, 8, 8), np.float32))).shape
    (2, 6, 2, 6, 6)
    """

    convolve = staticmethod(ops.conv3)

    builder = BuilderOf(Conv3Builder)
