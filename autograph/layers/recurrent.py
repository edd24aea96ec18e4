"""Recurrent layers: sequences read step by step, in one direction or both, in several layers."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar, TypeVar

from pydantic import PositiveInt

from .. import ops
from ..errors import ShapeError
from ..outline import Outline
from ..tensor import Parameter, Tensor, zeros
from .base import Layer
from .builders import Builder, BuilderOf, builder
from .dense import known_inputs
from .site import Site

L_co = TypeVar("L_co", covariant=True)
State = list[Tensor]  # of each layer and direction, (N, H)


class _RecurrentBuilder(Builder[L_co]):
    """What the settings of `LSTM` and `GRU` share."""

    outputs: int
    inputs: int | None
    layers: int
    bidirectional: bool
    bias: bool

    def inputs_of(self, x: Outline) -> int:
        return x.shape[-1]

    def outputs_for(self, inputs: int | None) -> int | None:
        return self.outputs * (2 if self.bidirectional else 1)

    def fields_at(self, site: Site, gates: int, biases: tuple[str, ...]) -> dict[str, Any]:
        """The fields of the layer: uniform in (-a, a) with a = 1 / sqrt(outputs)."""
        size, directions = self.outputs, 2 if self.bidirectional else 1
        columns, bound = gates * size, 1 / sqrt(size)
        found: dict[str, list[Parameter]] = {"weight_x": [], "weight_h": []}
        found |= {name: [] for name in biases}
        for i in range(self.layers * directions):
            rows = known_inputs(self.inputs, site) if i < directions else size * directions
            shapes: dict[str, tuple[int, ...]]
            shapes = {"weight_x": (rows, columns), "weight_h": (size, columns)}
            shapes |= {name: (columns,) for name in biases if self.bias}
            for name, shape in shapes.items():
                found[name].append(site.uniform(f"{name}.{i}", shape, bound))
        return {**found, "directions": directions}


@dataclass(eq=False, repr=False)
class _Recurrent(Layer):
    weight_x: list[Parameter]  # of each layer and direction, (I, G * H)
    weight_h: list[Parameter]  # (H, G * H)
    directions: int

    states: ClassVar[int]  # how many each layer and direction has

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)[0]

    def run(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The states at all steps, and the last of each layer and direction, from which a later
        call goes on; of an LSTM the hidden ones, then the cells."""
        if x.ndim != 3:
            raise ShapeError(f"{type(self).__name__}: x has 3 axes\n  x  {x.shape}  N T I")
        count, size = len(self.weight_h), self.weight_h[0].shape[0]
        if state is None:
            start = zeros((x.shape[0], size), device=x.device, scalar_type=x.scalar_type)
            state = [start] * (self.states * count)
        if len(state) != self.states * count:
            raise ShapeError(
                f"{type(self).__name__}: {self.states * count} states are wanted\n"
                f"  given  {len(state)}"
            )
        last: State = [*state]
        for i in range(0, count, self.directions):
            ways = []
            for j in range(i, i + self.directions):
                backward = j > i
                seen = x[:, ::-1] if backward else x
                y, *ends = self.read(j, seen, *state[j :: count])
                last[j::count] = ends
                ways.append(y[:, ::-1] if backward else y)
            x = ways[0] if len(ways) == 1 else ops.concat(*ways, axis=2)
        return x, last

    def read(self, i: int, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The states at all steps, and the last ones."""
        raise NotImplementedError(f"{type(self).__name__} does not define read")


def _at(parameters: list[Parameter], i: int) -> Parameter | None:
    return parameters[i] if parameters else None


# -- LSTM --------------------------------------------------------------------------------


@builder
class LSTMBuilder(_RecurrentBuilder["LSTM"]):
    """Settings of `LSTM`; `inputs`, the features, is inferred."""

    outputs: PositiveInt
    inputs: PositiveInt | None = None
    layers: PositiveInt = 1
    bidirectional: bool = False
    bias: bool = False

    def build_at(self, site: Site) -> LSTM:
        return LSTM(**self.fields_at(site, 4, ("bias",)))


@dataclass(eq=False, repr=False)
class LSTM(_Recurrent):
    """Long short-term memory: (N, T, I) -> (N, T, H), or 2 * H with both directions.

    Hochreiter and Schmidhuber, 1997; gates in torch's order i, f, g, o.

    >>> lstm = LSTM.builder(inputs=3, outputs=4, layers=2).build()
    >>> lstm(Tensor(np.ones((2, 5, 3), np.float32))).shape
    (2, 5, 4)
    """

    bias: list[Parameter]  # (4 * H,), or none

    states: ClassVar[int] = 2

    builder = BuilderOf(LSTMBuilder)

    def read(self, i: int, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        gates = ops.linear(x, self.weight_x[i], _at(self.bias, i))
        y, cell = ops.lstm_steps(gates, *state, self.weight_h[i])
        return y, y[:, -1], cell


# -- GRU ---------------------------------------------------------------------------------


@builder
class GRUBuilder(_RecurrentBuilder["GRU"]):
    """Settings of `GRU`; `inputs`, the features, is inferred."""

    outputs: PositiveInt
    inputs: PositiveInt | None = None
    layers: PositiveInt = 1
    bidirectional: bool = False
    bias: bool = False

    def build_at(self, site: Site) -> GRU:
        return GRU(**self.fields_at(site, 3, ("bias_x", "bias_h")))


@dataclass(eq=False, repr=False)
class GRU(_Recurrent):
    """Gated recurrent unit: (N, T, I) -> (N, T, H), or 2 * H with both directions.

    Cho and others, 2014; gates in torch's order r, z, n.

    >>> gru = GRU.builder(inputs=3, outputs=4, bidirectional=True).build()
    >>> gru(Tensor(np.ones((2, 5, 3), np.float32))).shape
    (2, 5, 8)
    """

    bias_x: list[Parameter]  # (3 * H,), or none
    bias_h: list[Parameter]  # (3 * H,), or none

    states: ClassVar[int] = 1

    builder = BuilderOf(GRUBuilder)

    def read(self, i: int, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        gates = ops.linear(x, self.weight_x[i], _at(self.bias_x, i))
        y = ops.gru_steps(gates, *state, self.weight_h[i], _at(self.bias_h, i))
        return y, y[:, -1]
