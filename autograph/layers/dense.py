"""Dense: every output is a weighted sum of every input."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import PositiveInt

from .. import ops
from ..errors import SettingsError
from ..outline import Outline
from ..tensor import Parameter, Tensor
from .base import Layer
from .builders import Builder, BuilderOf, builder
from .initialise import Initialise, Uniform
from .site import Site


@builder
class DenseBuilder(Builder["Dense"]):
    """Settings of `Dense`; `inputs` is inferred where a layer stands before it."""

    outputs: PositiveInt
    inputs: PositiveInt | None = None
    bias: bool = False
    initialise: Initialise = Uniform()
    initialise_bias: Initialise = Uniform()

    def inputs_of(self, x: Outline) -> int:
        return x.shape[-1]

    def build_at(self, site: Site) -> Dense:
        inputs = known_inputs(self.inputs, site)
        fans, size = (inputs, self.outputs), (self.outputs,)
        return Dense(
            weight=self.initialise.at(site, "weight", fans, fans),
            bias=self.initialise_bias.at(site, "bias", size, fans) if self.bias else None,
        )


def known_inputs(inputs: int | None, site: Site) -> int:
    """`inputs`, refused where nobody has said or inferred it."""
    if inputs is None:
        raise SettingsError(
            f"{site.name}: inputs is not known\n"
            f"  write  inputs=...  here, or  @sequential(input=...)  above the class"
        )
    return inputs


@dataclass(eq=False, repr=False)
class Dense(Layer):
    """y = x @ weight + bias: (..., I) -> (..., O).

    Weight and bias start uniform in (-a, a) with a = sqrt(2 / inputs), or as `initialise` says.

    >>> dense = Dense.builder(inputs=3, outputs=2, bias=True).build()
    >>> dense(Tensor(np.ones((4, 3), np.float32))).shape
    (4, 2)
    """

    weight: Parameter  # (I, O)
    bias: Parameter | None  # (O,)

    builder = BuilderOf(DenseBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight, self.bias)
