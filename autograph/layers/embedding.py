"""Embedding: a learned vector for each of a number of words, classes or positions."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import NonNegativeInt, PositiveInt

from .. import ops
from ..errors import SettingsError
from ..outline import Outline
from ..scalar_type import F32
from ..tensor import Parameter, Tensor
from ..tensor.blank import blank
from .base import Layer
from .builders import Builder, BuilderOf, builder
from .initialise import Initialise, Normal
from .site import Site


@builder
class EmbeddingBuilder(Builder["Embedding"]):
    """Settings of `Embedding`: how many rows, and how long they are."""

    rows: PositiveInt
    outputs: PositiveInt
    padding: NonNegativeInt | None = None
    initialise: Initialise = Normal(deviation=1.0)

    def infer(self, x: Tensor) -> tuple[EmbeddingBuilder, Tensor]:
        """Of indices, which `input=` has as a shape alone."""
        shape = (*x.shape, self.outputs)
        return self, blank(Outline(shape, F32, x.device))

    def build_at(self, site: Site) -> Embedding:
        if self.padding is not None and self.padding >= self.rows:
            raise SettingsError(
                f"{site.name}: padding is no row\n  rows     {self.rows}\n  padding  {self.padding}"
            )
        shape = (self.rows, self.outputs)
        weight = self.initialise.at(site, "weight", shape, zero_row=self.padding)
        return Embedding(weight=weight, padding=self.padding)


@dataclass(eq=False, repr=False)
class Embedding(Layer):
    """The rows of a table at indices: (...) of integers -> (..., E).

    The row `padding` is zero and gets no gradient.

    >>> embedding = Embedding.builder(rows=10, outputs=4).build()
    >>> embedding(Tensor([[1, 2, 9]])).shape
    (1, 3, 4)
    """

    weight: Parameter  # (V, E)
    padding: int | None

    builder = BuilderOf(EmbeddingBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.embedding(x, self.weight, padding=self.padding)
