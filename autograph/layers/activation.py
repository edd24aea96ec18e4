"""Activations that are straight on a side: rectifiers and what is cut from lines."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from .. import ops
from ..tensor import Parameter, Tensor
from .base import Layer
from .builders import Builder, BuilderOf, Plain, builder
from .dense import known_inputs
from .site import Site


@builder
class ReluBuilder(Plain["Relu"]):
    """`Relu` has no settings."""


@dataclass(eq=False, repr=False)
class Relu(Layer):
    """max(x, 0), elementwise.

    >>> Relu.builder().build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [0., 2.])
    """

    builder = BuilderOf(ReluBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(x)


@builder
class LeakyReluBuilder(Plain["LeakyRelu"]):
    slope: NonNegativeFloat = 0.01


@dataclass(eq=False, repr=False)
class LeakyRelu(Layer):
    """x where it is positive, else slope * x, elementwise.

    >>> LeakyRelu.builder(slope=0.1).build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [-0.1,  2. ])
    """

    slope: float

    builder = BuilderOf(LeakyReluBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.leaky_relu(x, self.slope)


@builder
class Relu6Builder(Plain["Relu6"]):
    """`Relu6` has no settings."""


@dataclass(eq=False, repr=False)
class Relu6(Layer):
    """x kept within 0 and 6, elementwise.

    >>> Relu6.builder().build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [0., 2.])
    """

    builder = BuilderOf(Relu6Builder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu6(x)


@builder
class EluBuilder(Plain["Elu"]):
    alpha: PositiveFloat = 1.0


@dataclass(eq=False, repr=False)
class Elu(Layer):
    """x where it is positive, else alpha * (exp(x) - 1), elementwise.

    >>> Elu.builder().build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [-0.6321,  2.    ])
    """

    alpha: float

    builder = BuilderOf(EluBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.elu(x, self.alpha)


@builder
class CeluBuilder(Plain["Celu"]):
    alpha: PositiveFloat = 1.0


@dataclass(eq=False, repr=False)
class Celu(Layer):
    """x where it is positive, else alpha * (exp(x / alpha) - 1), elementwise.

    >>> Celu.builder(alpha=2.0).build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [-0.7869,  2.    ])
    """

    alpha: float

    builder = BuilderOf(CeluBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.celu(x, self.alpha)


@builder
class SeluBuilder(Plain["Selu"]):
    """`Selu` has no settings."""


@dataclass(eq=False, repr=False)
class Selu(Layer):
    """An `Elu` scaled so that deep nets keep mean 0 and variance 1, elementwise.

    >>> Selu.builder().build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [-1.1113,  2.1014])
    """

    builder = BuilderOf(SeluBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.selu(x)


@builder
class HardtanhBuilder(Plain["Hardtanh"]):
    low: float = -1.0
    high: float = 1.0


@dataclass(eq=False, repr=False)
class Hardtanh(Layer):
    """x kept within low and high, elementwise.

    >>> Hardtanh.builder().build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [-1.,  1.])
    """

    low: float
    high: float

    builder = BuilderOf(HardtanhBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.hardtanh(x, self.low, self.high)


@builder
class HardsigmoidBuilder(Plain["Hardsigmoid"]):
    """`Hardsigmoid` has no settings."""


@dataclass(eq=False, repr=False)
class Hardsigmoid(Layer):
    """x / 6 + 1/2 kept within 0 and 1, elementwise.

    >>> Hardsigmoid.builder().build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [0.3333, 0.8333])
    """

    builder = BuilderOf(HardsigmoidBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.hardsigmoid(x)


@builder
class HardswishBuilder(Plain["Hardswish"]):
    """`Hardswish` has no settings."""


@dataclass(eq=False, repr=False)
class Hardswish(Layer):
    """x * hardsigmoid(x), elementwise (Howard and others, 2019).

    >>> Hardswish.builder().build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [-0.3333,  1.6667])
    """

    builder = BuilderOf(HardswishBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.hardswish(x)


@builder
class PreluBuilder(Builder["Prelu"]):
    """Settings of `Prelu`; `inputs` is inferred where a layer stands before it."""

    inputs: PositiveInt | None = None
    shared: bool = False
    slope: float = 0.25

    def build_at(self, site: Site) -> Prelu:
        count = 1 if self.shared else known_inputs(self.inputs, site)
        return Prelu(slope=site.constant("slope", (count,), self.slope))


@dataclass(eq=False, repr=False)
class Prelu(Layer):
    """A `LeakyRelu` that learns its slope, of each channel or one for all: (N, C, ...) the same.

    He, Zhang, Ren and Sun, 2015.

    >>> Prelu.builder(inputs=3).build()(Tensor(np.ones((2, 3, 5), np.float32))).shape
    (2, 3, 5)
    """

    slope: Parameter  # (C,) or (1,)

    builder = BuilderOf(PreluBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.prelu(x, self.slope)
