"""Recurrent layers: sequences read step by step, in one direction or both, in several layers."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

from pydantic import PositiveInt

from .. import ops
from ..errors import SettingsError, ShapeError
from ..outline import Outline
from ..settings import Share
from ..tensor import Parameter, Tensor, zeros
from .base import Layer
from .builders import Builder, BuilderOf, L_co, builder
from .dense import known_inputs
from .dropout import Dropout, DropoutBuilder
from .site import Site

State = list[Tensor]  # of each layer and direction, (N, H)


@builder
class RecurrentBuilder(Builder[L_co]):
    """What the settings of `LSTM` and `GRU` share."""

    outputs: PositiveInt
    inputs: PositiveInt | None = None
    layers: PositiveInt = 1
    bidirectional: bool = False
    bias: bool = False
    dropout: Share = 0.0

    @property
    def features(self) -> int:
        """How many each direction answers."""
        return self.outputs

    def inputs_of(self, x: Outline) -> int:
        return x.shape[-1]

    def outputs_for(self, inputs: int | None) -> int | None:
        return self.features * (2 if self.bidirectional else 1)

    def fields_at(self, site: Site, gates: int, biases: tuple[str, ...]) -> dict[str, Any]:
        """The fields of the layer: uniform in (-a, a) with a = 1 / sqrt(outputs)."""
        size, directions = self.features, 2 if self.bidirectional else 1
        columns, bound = gates * self.outputs, 1 / sqrt(self.outputs)
        found: dict[str, list[Parameter]] = {"weight_x": [], "weight_h": []}
        found |= {name: [] for name in biases}
        for i in range(self.layers * directions):
            rows = known_inputs(self.inputs, site) if i < directions else size * directions
            shapes: dict[str, tuple[int, ...]]
            shapes = {"weight_x": (rows, columns), "weight_h": (size, columns)}
            shapes |= {name: (columns,) for name in biases if self.bias}
            for name, shape in shapes.items():
                found[name].append(site.uniform(f"{name}.{i}", shape, bound))
        between = DropoutBuilder(rate=self.dropout).place(site.child("dropout"))
        return {**found, "directions": directions, "dropout": between if self.dropout else None}


@dataclass(eq=False, repr=False)
class _Recurrent(Layer):
    weight_x: list[Parameter]  # of each layer and direction, (I, G * H)
    weight_h: list[Parameter]  # (H, G * H)
    directions: int
    dropout: Dropout | None  # of what one layer hands to the next

    states: ClassVar[int]  # how many each layer and direction has
    gates: ClassVar[int]

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)[0]

    def run(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The states at all steps, and the last of each layer and direction, from which a later
        call goes on; of an LSTM the hidden ones, then the cells."""
        if x.ndim != 3 or not x.shape[1]:
            rule = "x has 3 axes, and at least one step"
            raise ShapeError(f"{type(self).__name__}: {rule}\n  x  {x.shape}  N T I")
        (size, columns), count = self.weight_h[0].shape, len(self.weight_h)
        if state is None:
            sizes = (size, columns // self.gates)[: self.states]
            place: Any = {"device": x.device, "scalar_type": x.scalar_type}
            state = [zeros((x.shape[0], n), **place) for n in sizes for _ in range(count)]
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
                y, *ends = self.read(j, seen, *state[j::count])
                last[j::count] = ends
                ways.append(y[:, ::-1] if backward else y)
            x = ways[0] if len(ways) == 1 else ops.concat(*ways, axis=2)
            if self.dropout is not None and i + self.directions < count:
                x = self.dropout(x)
        return x, last

    def read(self, i: int, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The states at all steps, and the last ones."""
        raise NotImplementedError(f"{type(self).__name__} does not define read")


def _at(parameters: list[Parameter], i: int) -> Parameter | None:
    return parameters[i] if parameters else None


@builder
class LSTMBuilder(RecurrentBuilder["LSTM"]):
    """Settings of `LSTM`; `inputs`, the features, is inferred."""

    projection: PositiveInt | None = None

    @property
    def features(self) -> int:
        return self.outputs if self.projection is None else self.projection

    def build_at(self, site: Site) -> LSTM:
        if self.projection is not None and self.projection >= self.outputs:
            raise SettingsError(
                f"{site.name}: a projection is to fewer features\n"
                f"  outputs     {self.outputs}\n  projection  {self.projection}"
            )
        fields, made = self.fields_at(site, LSTM.gates, ("bias",)), []
        if self.projection is not None:
            shape, bound = (self.outputs, self.projection), 1 / sqrt(self.outputs)
            count = len(fields["weight_h"])
            made = [site.uniform(f"projection.{i}", shape, bound) for i in range(count)]
        return LSTM(**fields, projection=made)


@dataclass(eq=False, repr=False)
class LSTM(_Recurrent):
    """Long short-term memory: (N, T, I) -> (N, T, H), or 2 * H with both directions.

    Hochreiter and Schmidhuber, 1997; gates in torch's order i, f, g, o. With a `projection` to P
    features these are what comes out, and what the next step sees (Sak, Senior and Beaufays,
    2014); `dropout` is the share of them set to zero from one layer to the next in training.

    >>> lstm = LSTM.builder(inputs=3, outputs=4, layers=2).build()
    >>> lstm(Tensor(np.ones((2, 5, 3), np.float32))).shape
    (2, 5, 4)
    """

    bias: list[Parameter]  # (4 * H,), or none
    projection: list[Parameter]  # (H, P), or none

    states: ClassVar[int] = 2
    gates: ClassVar[int] = 4

    builder = BuilderOf(LSTMBuilder)

    def read(self, i: int, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        gates = ops.linear(x, self.weight_x[i], _at(self.bias, i))
        y, cell = ops.lstm_steps(gates, *state, self.weight_h[i], _at(self.projection, i))
        return y, y[:, -1], cell


@builder
class GRUBuilder(RecurrentBuilder["GRU"]):
    """Settings of `GRU`; `inputs`, the features, is inferred."""

    def build_at(self, site: Site) -> GRU:
        return GRU(**self.fields_at(site, GRU.gates, ("bias_x", "bias_h")))


@dataclass(eq=False, repr=False)
class GRU(_Recurrent):
    """Gated recurrent unit: (N, T, I) -> (N, T, H), or 2 * H with both directions.

    Cho and others, 2014; gates in torch's order r, z, n; `dropout` as in `LSTM`.

    >>> gru = GRU.builder(inputs=3, outputs=4, bidirectional=True).build()
    >>> gru(Tensor(np.ones((2, 5, 3), np.float32))).shape
    (2, 5, 8)
    """

    bias_x: list[Parameter]  # (3 * H,), or none
    bias_h: list[Parameter]  # (3 * H,), or none

    states: ClassVar[int] = 1
    gates: ClassVar[int] = 3

    builder = BuilderOf(GRUBuilder)

    def read(self, i: int, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        gates = ops.linear(x, self.weight_x[i], _at(self.bias_x, i))
        y = ops.gru_steps(gates, *state, self.weight_h[i], _at(self.bias_h, i))
        return y, y[:, -1]
