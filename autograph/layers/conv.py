"""Convolution layers over sequences, images and volumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveInt

from .. import ops
from ..errors import SettingsError
from ..tensor import Parameter, Tensor
from .base import Layer
from .builders import Builder, BuilderOf, L_co, Padding2, Padding3, Size2, Size3, builder
from .dense import known_inputs
from .initialise import Initialise, Uniform
from .site import Site

Size = int | tuple[int, ...]  # one number, or one for each axis
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
Same = Literal["same"]


@builder
class ConvolutionBuilder(Builder[L_co]):
    """What the settings of all convolutions share: sizes are one number, or one for each axis, and
    `inputs` is inferred where a layer stands before it."""

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
        return self.convolve(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


@builder
class PaddedBuilder(ConvolutionBuilder[L_co]):
    """What the settings of convolutions that are not transposed share."""

    padding_mode: PaddingMode = "zeros"

    def build_at(self, site: Site) -> L_co:
        widths = self.widths(site)
        settings = {name: getattr(self, name) for name in self.handed}
        if self.padding_mode == "zeros" and all(a == b for a, b in widths):
            a = tuple(a for a, _ in widths)
            settings["padding"] = a if isinstance(self.filter, tuple) else a[0]
            return self.made(**self.parameters_at(site), **settings)
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        settings |= {"padding": 0, "widths": ((0, 0), (0, 0), *widths), "padding_mode": mode}
        return self.made("Padded", **self.parameters_at(site), **settings)

    def widths(self, site: Site) -> tuple[tuple[int, int], ...]:
        """How many elements stand before and after each axis."""
        filter, stride, padding, dilation = (
            (each,) if isinstance(each, int) else each
            for each in (self.filter, self.stride, self.padding, self.dilation)
        )
        if padding != "same":
            return tuple((p, p) for p in padding)
        if set(stride) != {1}:
            raise SettingsError(
                f"{site.name}: what comes out is as large as what goes in only with stride 1\n"
                f"  padding  same\n  stride   {self.stride}\n  write    stride=1, or a number"
            )
        whole = [d * (r - 1) for r, d in zip(filter, dilation, strict=True)]
        return tuple((each // 2, each - each // 2) for each in whole)


@dataclass(eq=False, repr=False)
class Padded(Convolution):
    """A convolution with a border that its op does not know, put around x first."""

    widths: tuple[tuple[int, int], ...]  # before and after each axis
    padding_mode: str

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(ops.pad(x, self.widths, mode=self.padding_mode))


@builder
class Conv2Builder(PaddedBuilder["Conv2"]):
    filter: Size2
    stride: Size2 = 1
    padding: Padding2 | Same = 0
    dilation: Size2 = 1


@dataclass(eq=False, repr=False)
class Conv2(Convolution):
    """2-d convolution: (N, C, H, W) -> (N, O, P, Q), weight (O, C / groups, R, S).

    P = (H + 2 * padding - dilation * (R - 1) - 1) // stride + 1, and Q likewise; P = H with
    padding="same". Around x stand zeros, or with `padding_mode` "reflect" what is mirrored at its
    edge, "replicate" the edge again, "circular" the other end. Weight and bias start uniform in
    (-a, a) with a = sqrt(2 / fan_in), or as `initialise` says.

    >>> conv = Conv2.builder(inputs=1, outputs=6, filter=5).build()
    >>> conv(Tensor(np.ones((2, 1, 28, 28), np.float32))).shape
    (2, 6, 24, 24)
    """

    convolve = staticmethod(ops.conv2)

    builder = BuilderOf(Conv2Builder)


@builder
class Conv1Builder(PaddedBuilder["Conv1"]):
    filter: PositiveInt
    stride: PositiveInt = 1
    padding: NonNegativeInt | Same = 0
    dilation: PositiveInt = 1


@dataclass(eq=False, repr=False)
class Conv1(Convolution):
    """1-d convolution: (N, C, L) -> (N, O, P), weight (O, C / groups, R); as `Conv2`.

    >>> conv = Conv1.builder(inputs=3, outputs=4, filter=3, padding=1).build()
    >>> conv(Tensor(np.ones((2, 3, 10), np.float32))).shape
    (2, 4, 10)
    """

    convolve = staticmethod(ops.conv1)

    builder = BuilderOf(Conv1Builder)


@builder
class Conv3Builder(PaddedBuilder["Conv3"]):
    filter: Size3
    stride: Size3 = 1
    padding: Padding3 | Same = 0
    dilation: Size3 = 1


@dataclass(eq=False, repr=False)
class Conv3(Convolution):
    """3-d convolution: (N, C, D, H, W) -> (N, O, M, P, Q), weight (O, C / groups, K, R, S);
    as `Conv2`.

    >>> conv = Conv3.builder(inputs=1, outputs=6, filter=3).build()
    >>> conv(Tensor(np.ones((2, 1, 4, 8, 8), np.float32))).shape
    (2, 6, 2, 6, 6)
    """

    convolve = staticmethod(ops.conv3)

    builder = BuilderOf(Conv3Builder)


class PaddedConv1(Padded, Conv1): ...


class PaddedConv2(Padded, Conv2): ...


class PaddedConv3(Padded, Conv3): ...
