"""Dropout: in training, values set to zero by throws that a key and a counter decide."""

from __future__ import annotations

from dataclasses import dataclass

from .. import ops
from ..philox import stream
from ..scalar_type import ScalarType
from ..settings import Share
from ..tensor import Buffer, Tensor, is_training
from .base import Layer
from .builders import Builder, BuilderOf, builder
from .site import Site


@builder
class DropoutBuilder(Builder["Dropout"]):
    """Settings of `Dropout`: the share of values that are set to zero."""

    rate: Share = 0.5

    def build_at(self, site: Site) -> Dropout:
        key, counter = throws_at(site)
        return Dropout(rate=self.rate, key=key, counter=counter)


def throws_at(site: Site) -> tuple[tuple[int, int], Buffer]:
    """The key and the counter of a layer that throws."""
    key = stream(site.seed, site.child("counter").path)
    return key, site.buffer((2,), 0, ScalarType.U64)


@dataclass(eq=False, repr=False)
class Dropout(Layer):
    """In training x * mask / (1 - rate), otherwise x itself: any shape, the same.

    The mask follows from the seed, the path and how often the layer has trained, which its
    counter remembers: a model that is saved and loaded throws on as if it had never stopped.

    >>> dropout = Dropout.builder(rate=0.5).build(seed=0)
    >>> dropout(Tensor(np.ones((1, 8), np.float32)))
    Tensor(host f32 (1, 8) [[2., 0., 2., 0., 0., 2., 0., 0.]])
    """

    rate: float
    key: tuple[int, int]
    counter: Buffer  # the first block of words, and the stream: the forwards in training so far

    builder = BuilderOf(DropoutBuilder)

    def forward(self, x: Tensor) -> Tensor:
        if not is_training() or self.rate == 0:
            return x
        y = ops.dropout(x, self.counter, key=self.key, rate=self.rate)
        ops.advance(self.counter)
        return y
