"""Activations that are smooth: of sigmoid form, or made with one."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import PositiveFloat

from .. import ops
from ..tensor import Tensor
from .base import Layer
from .builders import BuilderOf, Plain, builder


@builder
class SigmoidBuilder(Plain["Sigmoid"]):
    """`Sigmoid` has no settings."""


@dataclass(eq=False, repr=False)
class Sigmoid(Layer):
    """1 / (1 + exp(-x)), elementwise.

    >>> Sigmoid.builder().build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [0.2689, 0.8808])
    """

    builder = BuilderOf(SigmoidBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.sigmoid(x)


@builder
class TanhBuilder(Plain["Tanh"]):
    """`Tanh` has no settings."""


@dataclass(eq=False, repr=False)
class Tanh(Layer):
    """The hyperbolic tangent, elementwise.

    >>> Tanh.builder().build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [-0.7616,  0.964 ])
    """

    builder = BuilderOf(TanhBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.tanh(x)


@builder
class SoftsignBuilder(Plain["Softsign"]):
    """`Softsign` has no settings."""


@dataclass(eq=False, repr=False)
class Softsign(Layer):
    """x / (1 + |x|), elementwise.

    >>> Softsign.builder().build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [-0.5   ,  0.6667])
    """

    builder = BuilderOf(SoftsignBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.softsign(x)


@builder
class SoftplusBuilder(Plain["Softplus"]):
    beta: PositiveFloat = 1.0


@dataclass(eq=False, repr=False)
class Softplus(Layer):
    """log(1 + exp(beta * x)) / beta, elementwise.

    >>> Softplus.builder().build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [0.3133, 2.1269])
    """

    beta: float

    builder = BuilderOf(SoftplusBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.softplus(x, self.beta)


@builder
class SiluBuilder(Plain["Silu"]):
    """`Silu` has no settings."""


@dataclass(eq=False, repr=False)
class Silu(Layer):
    """x * sigmoid(x), elementwise; also called swish.

    >>> Silu.builder().build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [-0.2689,  1.7616])
    """

    builder = BuilderOf(SiluBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.silu(x)


@builder
class GeluBuilder(Plain["Gelu"]):
    approximate: bool = False


@dataclass(eq=False, repr=False)
class Gelu(Layer):
    """x times the share of normal numbers below it, elementwise.

    `approximate` takes a tanh for the normal distribution, as GPT-2 does.

    >>> Gelu.builder().build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [-0.1587,  1.9545])
    """

    approximate: bool

    builder = BuilderOf(GeluBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.gelu_tanh(x) if self.approximate else ops.gelu(x)


@builder
class MishBuilder(Plain["Mish"]):
    """`Mish` has no settings."""


@dataclass(eq=False, repr=False)
class Mish(Layer):
    """x * tanh(softplus(x)), elementwise.

    >>> Mish.builder().build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [-0.3034,  1.944 ])
    """

    builder = BuilderOf(MishBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.mish(x)


@builder
class SoftmaxBuilder(Plain["Softmax"]):
    axis: int = -1


@dataclass(eq=False, repr=False)
class Softmax(Layer):
    """exp(x) over its sum along an axis: the same shape, each row a distribution.

    >>> Softmax.builder().build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [0.0474, 0.9526])
    """

    axis: int

    builder = BuilderOf(SoftmaxBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.softmax(x, axis=self.axis)


@builder
class LogSoftmaxBuilder(Plain["LogSoftmax"]):
    axis: int = -1


@dataclass(eq=False, repr=False)
class LogSoftmax(Layer):
    """The logarithm of `Softmax`, without its rounding: the same shape.

    >>> LogSoftmax.builder().build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [-3.0486, -0.0486])
    """

    axis: int

    builder = BuilderOf(LogSoftmaxBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.log_softmax(x, axis=self.axis)
