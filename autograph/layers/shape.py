"""Layers that change the shape, or nothing."""

from __future__ import annotations

from dataclasses import dataclass

from ..tensor import Tensor
from .base import Layer
from .builders import Builder, BuilderOf, builder
from .site import Site


@builder
class FlattenBuilder(Builder["Flatten"]):
    """`Flatten` has no settings."""

    def outputs_for(self, inputs: int | None) -> int | None:
        return None

    def build_at(self, site: Site) -> Flatten:
        return Flatten()


@dataclass(eq=False, repr=False)
class Flatten(Layer):
    """(N, ...) -> (N, D).

    >>> Flatten.builder().build()(Tensor(np.ones((2, 16, 4, 4), np.float32))).shape
    (2, 256)
    """

    builder = BuilderOf(FlattenBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten()


@builder
class IdentityBuilder(Builder["Identity"]):
    """`Identity` has no settings."""

    def build_at(self, site: Site) -> Identity:
        return Identity()


@dataclass(eq=False, repr=False)
class Identity(Layer):
    """x itself.

    >>> Identity.builder().build()(Tensor([1.0]))
    Tensor(host f32 (1,) [1.])
    """

    builder = BuilderOf(IdentityBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return x
