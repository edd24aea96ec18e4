"""Normalisation layers that see each sample by itself."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import PositiveFloat, PositiveInt

from .. import ops
from ..errors import SettingsError
from ..outline import Outline
from ..settings import Share
from ..tensor import Buffer, Parameter, Tensor, is_training
from .base import Layer
from .builders import Builder, BuilderOf, builder
from .dense import known_inputs
from .site import Site


def scale_and_shift(
    site: Site, shape: tuple[int, ...], affine: bool, bias: bool = True
) -> tuple[Parameter | None, Parameter | None]:
    """A weight of ones and a bias of zeros, as far as wanted."""
    weight = site.constant("weight", shape, 1.0) if affine else None
    return weight, site.constant("bias", shape, 0.0) if affine and bias else None


def running_statistics(site: Site, channels: int) -> tuple[Buffer, Buffer]:
    """A mean of zeros and a variance of ones, in f32 for halves."""
    wide = site.scalar_type.accumulator
    return site.buffer((channels,), 0.0, wide), site.buffer((channels,), 1.0, wide)


# -- over the features -------------------------------------------------------------------


@builder
class LayerNormBuilder(Builder["LayerNorm"]):
    """Settings of `LayerNorm`; `inputs`, the size of the last axes, is inferred as one axis."""

    inputs: PositiveInt | tuple[PositiveInt, ...] | None = None
    epsilon: PositiveFloat = 1e-5
    affine: bool = True
    bias: bool = True

    def inputs_of(self, x: Outline) -> int:
        return x.shape[-1]

    def outputs_for(self, inputs: int | None) -> int | None:
        return inputs

    def build_at(self, site: Site) -> LayerNorm:
        shape = feature_shape(self.inputs, site)
        weight, bias = scale_and_shift(site, shape, self.affine, self.bias)
        return LayerNorm(weight=weight, bias=bias, axes=len(shape), epsilon=self.epsilon)


def feature_shape(inputs: int | tuple[int, ...] | None, site: Site) -> tuple[int, ...]:
    """The sizes of the axes that are normalised."""
    return inputs if isinstance(inputs, tuple) else (known_inputs(inputs, site),)


@dataclass(eq=False, repr=False)
class LayerNorm(Layer):
    """(x - mean) / sqrt(variance + epsilon) * weight + bias over the features: (..., F) the same.

    >>> norm = LayerNorm.builder(inputs=5).build()
    >>> norm(Tensor(np.ones((2, 3, 5), np.float32))).shape
    (2, 3, 5)
    """

    weight: Parameter | None  # (F,)
    bias: Parameter | None  # (F,)
    axes: int
    epsilon: float

    builder = BuilderOf(LayerNormBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.layer_norm(x, self.weight, self.bias, axes=self.axes, epsilon=self.epsilon)


@builder
class RMSNormBuilder(Builder["RMSNorm"]):
    """Settings of `RMSNorm`; `inputs`, the size of the last axes, is inferred as one axis."""

    inputs: PositiveInt | tuple[PositiveInt, ...] | None = None
    epsilon: PositiveFloat = 1e-6
    affine: bool = True

    def inputs_of(self, x: Outline) -> int:
        return x.shape[-1]

    def build_at(self, site: Site) -> RMSNorm:
        shape = feature_shape(self.inputs, site)
        weight, _ = scale_and_shift(site, shape, self.affine)
        return RMSNorm(weight=weight, axes=len(shape), epsilon=self.epsilon)


@dataclass(eq=False, repr=False)
class RMSNorm(Layer):
    """x / sqrt(mean(x²) + epsilon) * weight over the features: (..., F) the same.

    >>> RMSNorm.builder(inputs=5).build()(Tensor(np.ones((2, 3, 5), np.float32))).shape
    (2, 3, 5)
    """

    weight: Parameter | None  # (F,)
    axes: int
    epsilon: float

    builder = BuilderOf(RMSNormBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.rms_norm(x, self.weight, axes=self.axes, epsilon=self.epsilon)


# -- over channels -----------------------------------------------------------------------


@builder
class GroupNormBuilder(Builder["GroupNorm"]):
    """Settings of `GroupNorm`; `inputs` is inferred where a layer stands before it."""

    groups: PositiveInt
    inputs: PositiveInt | None = None
    epsilon: PositiveFloat = 1e-5
    affine: bool = True
    bias: bool = True

    def build_at(self, site: Site) -> GroupNorm:
        channels = known_inputs(self.inputs, site)
        if channels % self.groups:
            raise SettingsError(
                f"{site.name}: the channels are not divided by the groups\n"
                f"  inputs  {channels}\n  groups  {self.groups}"
            )
        weight, bias = scale_and_shift(site, (channels,), self.affine, self.bias)
        return GroupNorm(weight=weight, bias=bias, groups=self.groups, epsilon=self.epsilon)


@dataclass(eq=False, repr=False)
class GroupNorm(Layer):
    """Each sample standardised over groups of channels, scaled and shifted: (N, C, ...) the same.

    >>> norm = GroupNorm.builder(inputs=6, groups=3).build()
    >>> norm(Tensor(np.ones((2, 6, 4, 4), np.float32))).shape
    (2, 6, 4, 4)
    """

    weight: Parameter | None  # (C,)
    bias: Parameter | None  # (C,)
    groups: int
    epsilon: float

    builder = BuilderOf(GroupNormBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.group_norm(x, self.weight, self.bias, groups=self.groups, epsilon=self.epsilon)


@builder
class InstanceNormBuilder(Builder["InstanceNorm"]):
    """Settings of `InstanceNorm`; `inputs` is inferred where a layer stands before it."""

    inputs: PositiveInt | None = None
    epsilon: PositiveFloat = 1e-5
    affine: bool = False
    bias: bool = True
    running: bool = False
    momentum: Share = 0.1

    def build_at(self, site: Site) -> InstanceNorm:
        channels = known_inputs(self.inputs, site) if self.affine or self.running else 0
        weight, bias = scale_and_shift(site, (channels,), self.affine, self.bias)
        mean, variance = running_statistics(site, channels) if self.running else (None, None)
        return InstanceNorm(
            weight=weight,
            bias=bias,
            running_mean=mean,
            running_variance=variance,
            momentum=self.momentum,
            epsilon=self.epsilon,
        )


@dataclass(eq=False, repr=False)
class InstanceNorm(Layer):
    """Each channel of each sample standardised over its positions: (N, C, ...) the same.

    With `running` it standardises so in training, when running statistics follow the samples',
    and otherwise by those.

    >>> InstanceNorm.builder().build()(Tensor(np.ones((2, 3, 4, 4), np.float32))).shape
    (2, 3, 4, 4)
    """

    weight: Parameter | None  # (C,)
    bias: Parameter | None  # (C,)
    running_mean: Buffer | None  # (C,)
    running_variance: Buffer | None  # (C,)
    momentum: float
    epsilon: float

    builder = BuilderOf(InstanceNormBuilder)

    def forward(self, x: Tensor) -> Tensor:
        running = self.running_mean, self.running_variance
        if self.running_mean is None or is_training():
            y = ops.instance_norm(
                x, self.weight, self.bias, *running, momentum=self.momentum, epsilon=self.epsilon
            )
        else:
            y = ops.batch_norm_fixed(x, *running, self.weight, self.bias, epsilon=self.epsilon)
        return y if y.scalar_type is x.scalar_type else y.cast(x.scalar_type)
