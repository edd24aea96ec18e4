"""Activations: layers that apply one function to each element."""

from __future__ import annotations

from dataclasses import dataclass

from .. import ops
from ..tensor import Tensor
from .builders import Builder, BuilderOf, builder
from .base import Layer
from .site import Site


@builder
class ReluBuilder(Builder["Relu"]):
    """`Relu` has no settings."""

    def build_at(self, site: Site) -> Relu:
        return Relu()


@dataclass(eq=False, repr=False)
class Relu(Layer):
    """max(x, 0), elementwise.

    >>> Relu.builder().build()(Tensor([-1.0, 2.0]))
    Tensor(host f32 (2,) [0., 2.])
    """

    builder = BuilderOf(ReluBuilder)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = ops.relu(x)
        return y
