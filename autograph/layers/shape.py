"""Layers that change the shape, or nothing."""

from __future__ import annotations

from dataclasses import dataclass

from ..tensor import Tensor
from .base import Layer
from .builders import Builder, BuilderOf, Plain, builder
from .site import Site


@builder
class FlattenBuilder(Builder["Flatten"]):
    """Settings of `Flatten`: the axes that become one, all but the batch unless said."""

    start: int = 1
    end: int = -1

    def outputs_for(self, inputs: int | None) -> int | None:
        return None

    def build_at(self, site: Site) -> Flatten:
        plain = (self.start, self.end) == (1, -1)
        return Flatten() if plain else FlattenPart(start=self.start, end=self.end)


@dataclass(eq=False, repr=False)
class Flatten(Layer):
    """(N, ...) -> (N, D).

    >>> Flatten.builder().build()(Tensor(np.ones((2, 16, 4, 4), np.float32))).shape
    (2, 256)
    """

    builder = BuilderOf(FlattenBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten()


@dataclass(eq=False, repr=False)
class FlattenPart(Flatten):
    """A `Flatten` of some axes: (N, C, H, W) -> (N, C, H * W) with start=2."""

    start: int
    end: int

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(start=self.start, end=self.end)


@builder
class IdentityBuilder(Plain["Identity"]):
    """`Identity` has no settings."""


@dataclass(eq=False, repr=False)
class Identity(Layer):
    """x itself.

    >>> Identity.builder().build()(Tensor([1.0]))
    Tensor(host f32 (1,) [1.])
    """

    builder = BuilderOf(IdentityBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return x
