"""Batch normalisation layers, over features, sequences, images and volumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import PositiveFloat, PositiveInt

from .. import ops
from ..errors import ShapeError
from ..scalar_type import ScalarType
from ..settings import Share
from ..tensor import Buffer, Parameter, Tensor, is_training, no_grad
from .base import Layer
from .builders import Builder, BuilderOf, L_co, builder
from .dense import known_inputs
from .norm import running_statistics, scale_and_shift
from .site import Site


@builder
class BatchNormBuilder(Builder[L_co]):
    """What the settings of `BatchNorm1`, `BatchNorm2` and `BatchNorm3` share."""

    inputs: PositiveInt | None = None
    momentum: Share | None = 0.1
    epsilon: PositiveFloat = 1e-5
    affine: bool = True
    bias: bool = True
    running: bool = True

    def build_at(self, site: Site) -> L_co:
        channels = known_inputs(self.inputs, site)
        weight, bias = scale_and_shift(site, (channels,), self.affine, self.bias)
        mean, variance = running_statistics(site, channels) if self.running else (None, None)
        counts = self.running and self.momentum is None
        return self.made(
            weight=weight,
            bias=bias,
            running_mean=mean,
            running_variance=variance,
            batches=site.buffer((), 0, ScalarType.I64) if counts else None,
            momentum=self.momentum,
            epsilon=self.epsilon,
        )


@dataclass(eq=False, repr=False)
class BatchNorm(Layer):
    """What batch normalisations share."""

    weight: Parameter | None  # (C,)
    bias: Parameter | None  # (C,)
    running_mean: Buffer | None  # (C,)
    running_variance: Buffer | None  # (C,)
    batches: Buffer | None  # trained on so far, of which the running statistics are the mean
    momentum: float | None
    epsilon: float

    axes: ClassVar[tuple[int, ...]]  # how many x may have

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in self.axes:
            wanted = " or ".join(map(str, self.axes))
            raise ShapeError(f"{type(self).__name__}: x has {wanted} axes\n  x  {x.shape}  N C ...")
        running = self.running_mean, self.running_variance
        if self.running_mean is not None and not is_training():
            y = ops.batch_norm_fixed(x, *running, self.weight, self.bias, epsilon=self.epsilon)
        elif self.momentum is not None:
            y = ops.batch_norm(
                x, self.weight, self.bias, *running, momentum=self.momentum, epsilon=self.epsilon
            )
        else:
            y = ops.batch_norm(x, self.weight, self.bias, epsilon=self.epsilon)
            with no_grad():
                seen, axes = x.cast(x.scalar_type.accumulator), (0, *range(2, x.ndim))
                self.follow(seen.mean(axes), seen.var(axes, correction=1))
        return y if y.scalar_type is x.scalar_type else y.cast(x.scalar_type)

    def follow(self, mean: Tensor, variance: Tensor) -> None:
        """Let the running statistics follow those of a batch, the variance being unbiased."""
        if self.running_mean is None:
            return
        share: float | Tensor | None = self.momentum
        if self.batches is not None:
            ops.accumulate(self.batches, 1)
            share = self.batches.cast(ScalarType.F64).reciprocal()
        ops.follow(self.running_mean, mean, share)
        ops.follow(self.running_variance, variance, share)


@builder
class BatchNorm1Builder(BatchNormBuilder["BatchNorm1"]):
    """Settings of `BatchNorm1`; `inputs` is inferred where a layer stands before it."""


@dataclass(eq=False, repr=False)
class BatchNorm1(BatchNorm):
    """Each feature standardised over the batch: (N, C) or (N, C, L) the same.

    In training by the batch, whose statistics the running ones follow; otherwise by those. They
    are the mean of those of all batches with momentum=None; there are none with running=False.

    >>> norm = BatchNorm1.builder(inputs=3).build()
    >>> norm(Tensor(np.ones((8, 3), np.float32))).shape
    (8, 3)
    """

    axes: ClassVar[tuple[int, ...]] = (2, 3)

    builder = BuilderOf(BatchNorm1Builder)


@builder
class BatchNorm2Builder(BatchNormBuilder["BatchNorm2"]):
    """Settings of `BatchNorm2`; `inputs` is inferred where a layer stands before it."""


@dataclass(eq=False, repr=False)
class BatchNorm2(BatchNorm):
    """Each channel standardised over the batch: (N, C, H, W) the same; as `BatchNorm1`.

    >>> norm = BatchNorm2.builder(inputs=3).build()
    >>> norm(Tensor(np.ones((8, 3, 4, 4), np.float32))).shape
    (8, 3, 4, 4)
    """

    axes: ClassVar[tuple[int, ...]] = (4,)

    builder = BuilderOf(BatchNorm2Builder)


@builder
class BatchNorm3Builder(BatchNormBuilder["BatchNorm3"]):
    """Settings of `BatchNorm3`; `inputs` is inferred where a layer stands before it."""


@dataclass(eq=False, repr=False)
class BatchNorm3(BatchNorm):
    """Each channel standardised over the batch: (N, C, D, H, W) the same; as `BatchNorm1`.

    >>> norm = BatchNorm3.builder(inputs=3).build()
    >>> norm(Tensor(np.ones((2, 3, 4, 4, 4), np.float32))).shape
    (2, 3, 4, 4, 4)
    """

    axes: ClassVar[tuple[int, ...]] = (5,)

    builder = BuilderOf(BatchNorm3Builder)
