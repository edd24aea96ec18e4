"""Layers made of layers: beside a shortcut, and side by side.

Their settings are builders. Each part is built under the combination's own path, and its sizes are
inferred by running the combination on a tensor without values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, PlainValidator

from .. import ops
from ..errors import ShapeError
from ..tensor import Tensor
from .base import Layer
from .builders import Builder, BuilderOf, builder
from .shape import Identity
from .site import Site


def part_of(value: Any) -> Builder[Any]:
    """A builder, also from its description."""
    if isinstance(value, Builder):
        return value
    if isinstance(value, dict):
        from .describe import from_description

        return from_description(value)
    raise ValueError("write a builder: Dense.builder(outputs=64)")


def listed(value: Any) -> Any:
    """A list as a tuple: either is written."""
    return tuple(value) if isinstance(value, list) else value


if TYPE_CHECKING:
    Part = Layer  # as which type checkers see a builder, in a field as here
    Parts = tuple[Layer, ...]
    Named = dict[str, Layer]
else:
    Part = Annotated[Builder, PlainValidator(part_of)]
    Parts = Annotated[tuple[Part, ...], Field(min_length=1)]
    Named = Annotated[dict[str, Part], Field(min_length=1)]


def made_of(part: Any) -> Builder[Any]:
    """The builder that type checkers see as a layer."""
    return part


@builder
class ResidualBuilder(Builder["Residual"]):
    """Settings of `Residual`; the shortcut is x itself unless said."""

    body: Part
    shortcut: Part = Identity.builder()

    def infer(self, x: Tensor) -> tuple[Any, Tensor]:
        shortcut, kept = made_of(self.shortcut).infer(x)
        body, y = made_of(self.body).infer(x)
        made = replace(cast(Any, self), body=body, shortcut=shortcut)
        return made, _sum(self.kind, [kept, y])

    def outputs_for(self, inputs: int | None) -> int | None:
        return made_of(self.body).outputs_for(inputs)

    def build_at(self, site: Site) -> Residual:
        return Residual(
            body=made_of(self.body).place(site.child("body")),
            shortcut=made_of(self.shortcut).place(site.child("shortcut")),
        )


@dataclass(eq=False, repr=False)
class Residual(Layer):
    """shortcut(x) + body(x), of equal shapes (He, Zhang, Ren and Sun, 2016): as the body.

    >>> from autograph.layers import Dense
    >>> block = Residual.builder(body=Dense.builder(inputs=3, outputs=3)).build()
    >>> block(Tensor(np.ones((2, 3), np.float32))).shape
    (2, 3)
    """

    body: Layer
    shortcut: Layer

    builder = BuilderOf(ResidualBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return _sum("Residual", [self.shortcut(x), self.body(x)])


def _sum(kind: str, values: list[Tensor]) -> Tensor:
    if len({each.shape for each in values}) > 1:
        sides = "\n".join(f"  {each.shape}" for each in values)
        raise ShapeError(f"{kind}: what is added has different shapes\n{sides}")
    total = values[0]
    for each in values[1:]:
        total = total + each
    return total


@builder
class ParallelBuilder(Builder["Parallel"]):
    """Settings of `Parallel`: its branches, and how their outputs are joined."""

    branches: Annotated[Parts, BeforeValidator(listed)]
    join: Literal["concat", "sum"] = "concat"
    axis: int = 1

    def infer(self, x: Tensor) -> tuple[Any, Tensor]:
        made, found = zip(*[made_of(each).infer(x) for each in self.branches], strict=True)
        y = _joined(self.join, self.axis, [*found])
        return replace(cast(Any, self), branches=made), y

    def outputs_for(self, inputs: int | None) -> int | None:
        counts = [made_of(each).outputs_for(inputs) for each in self.branches]
        if self.join == "sum":
            return counts[0]
        known = [each for each in counts if each is not None]
        return sum(known) if self.axis == 1 and len(known) == len(counts) else None

    def build_at(self, site: Site) -> Parallel:
        at = site.child("branches")
        branches = [made_of(each).place(at.child(i)) for i, each in enumerate(self.branches)]
        return Parallel(branches=branches, join=self.join, axis=self.axis)


@dataclass(eq=False, repr=False)
class Parallel(Layer):
    """The outputs of all branches for one x, joined along an axis or added.

    >>> from autograph.layers import Dense
    >>> branches = (Dense.builder(inputs=3, outputs=2), Dense.builder(inputs=3, outputs=5))
    >>> Parallel.builder(branches=branches).build()(Tensor(np.ones((4, 3), np.float32))).shape
    (4, 7)
    """

    branches: list[Layer]
    join: str
    axis: int

    builder = BuilderOf(ParallelBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return _joined(self.join, self.axis, [each(x) for each in self.branches])


def _joined(join: str, axis: int, values: list[Tensor]) -> Tensor:
    if join == "sum":
        return _sum("Parallel", values)
    return ops.concat(*values, axis=axis)
