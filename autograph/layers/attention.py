"""Attention over sequences, and the encoding of places that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

from pydantic import PositiveFloat, PositiveInt

from .. import ops
from ..errors import SettingsError, ShapeError
from ..outline import Outline
from ..settings import Share
from ..tensor import Buffer, Parameter, Tensor, is_training
from .base import Layer
from .builders import Builder, BuilderOf, Plain, builder
from .dense import known_inputs
from .dropout import throws_at
from .site import Site


@builder
class MultiheadAttentionBuilder(Builder["MultiheadAttention"]):
    """Settings of `MultiheadAttention`; `inputs`, the features, is inferred. `context` is how many
    features what it attends to has, as many unless said."""

    heads: PositiveInt
    inputs: PositiveInt | None = None
    context: PositiveInt | None = None
    causal: bool = False
    bias: bool = False
    dropout: Share = 0.0

    def inputs_of(self, x: Outline) -> int:
        return x.shape[-1]

    def build_at(self, site: Site) -> MultiheadAttention:
        size = known_inputs(self.inputs, site)
        if size % self.heads:
            raise SettingsError(
                f"{site.name}: the features are not divided by the heads\n"
                f"  inputs  {size}\n  heads   {self.heads}"
            )
        fields: dict[str, Any] = {"heads": self.heads, "causal": self.causal}
        seen = self.context or size
        for name, rows in {"query": size, "key": seen, "value": seen, "output": size}.items():
            bound = sqrt(3 / rows)  # keeps the variance of what goes through
            fields[name] = site.uniform(name, (rows, size), bound)
            name = f"{name}_bias"
            fields[name] = site.constant(name, (size,), 0.0) if self.bias else None
        key, counter = throws_at(site) if self.dropout else (None, None)
        fields |= {"rate": self.dropout, "random_key": key, "counter": counter}
        return MultiheadAttention(**fields)


@dataclass(eq=False, repr=False)
class MultiheadAttention(Layer):
    """Every place looks at others, in several ways at once: (N, L, E) -> (N, L, E).

    `layer(x)` attends to x itself, `layer(x, context)` to a (N, S, C) of another length, where C is
    E unless the builder says another `context`. `mask` broadcasts to (N, heads, L, S): bools of
    what is seen, or floats added to the scores. With `causal` no place sees a later one; `dropout`
    is the share of the weights that are set to zero in training, by throws as `Dropout` makes them.
    Vaswani and others, 2017.

    >>> attention = MultiheadAttention.builder(inputs=8, heads=2, causal=True).build()
    >>> attention(Tensor(np.ones((3, 5, 8), np.float32))).shape
    (3, 5, 8)
    """

    query: Parameter  # (E, E)
    key: Parameter  # (C, E)
    value: Parameter  # (C, E)
    output: Parameter  # (E, E)
    query_bias: Parameter | None  # (E,), as are the next three
    key_bias: Parameter | None
    value_bias: Parameter | None
    output_bias: Parameter | None
    heads: int
    causal: bool
    rate: float
    random_key: tuple[int, int] | None
    counter: Buffer | None  # as that of `Dropout`

    builder = BuilderOf(MultiheadAttentionBuilder)

    def forward(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        if x.ndim != 3:
            raise ShapeError(f"MultiheadAttention: x has 3 axes\n  x  {x.shape}  N L E")
        seen = x if context is None else context
        throws: dict[str, Any] = {}
        if self.counter is not None and is_training():
            throws = {"key": self.random_key, "rate": self.rate}
        attended = ops.scaled_dot_product_attention(
            self._by_head(ops.linear(x, self.query, self.query_bias)),
            self._by_head(ops.linear(seen, self.key, self.key_bias)),
            self._by_head(ops.linear(seen, self.value, self.value_bias)),
            mask,
            self.counter if throws else None,
            causal=self.causal,
            **throws,
        )
        if throws:
            ops.advance(self.counter)
        together = attended.permute_dims(0, 2, 1, 3).reshape(x.shape)
        return ops.linear(together, self.output, self.output_bias)

    def _by_head(self, x: Tensor) -> Tensor:
        """(N, L, E) -> (N, heads, L, E / heads)."""
        n, length, size = x.shape
        return x.reshape(n, length, self.heads, size // self.heads).permute_dims(0, 2, 1, 3)


@builder
class PositionalEncodingBuilder(Plain["PositionalEncoding"]):
    base: PositiveFloat = 10000.0


@dataclass(eq=False, repr=False)
class PositionalEncoding(Layer):
    """x with sines and cosines of each place added to its features: (N, L, E) the same.

    >>> encode = PositionalEncoding.builder().build()
    >>> encode(Tensor(np.zeros((1, 2, 4), np.float32)))[0, 1]
    Tensor(host f32 (4,) [0.8415, 0.5403, 0.01  , 0.9999])
    """

    base: float

    builder = BuilderOf(PositionalEncodingBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return ops.positional_encoding(x, base=self.base)
