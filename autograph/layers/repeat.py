"""Layers made of a layer: repeated, left out, or chosen by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, cast

from pydantic import Field, NonNegativeInt

from ..errors import SettingsError
from ..tensor import Tensor
from .base import Layer
from .builders import Builder, BuilderOf, builder
from .combine import Named, Part, Parts, made_of
from .site import Site


@builder
class RepeatBuilder(Builder["Repeat"]):
    """Settings of `Repeat`. Every copy has parameters of its own."""

    body: Part
    times: NonNegativeInt
    resolved: Annotated[Parts, Field(min_length=0)] = ()  # the copies, once sizes are known

    def parts(self) -> list[Builder[Any]]:
        """The builder of each copy."""
        return [made_of(each) for each in self.resolved or (self.body,) * self.times]

    def infer(self, x: Tensor) -> tuple[Any, Tensor]:
        found = []
        for each in self.parts():
            made, x = each.infer(x)
            found.append(made)
        return replace(cast(Any, self), resolved=tuple(found)), x

    def outputs_for(self, inputs: int | None) -> int | None:
        for each in self.parts():
            inputs = each.outputs_for(inputs)
        return inputs

    def build_at(self, site: Site) -> Repeat:
        if self.resolved and len(self.resolved) != self.times:
            raise SettingsError(
                f"{site.name}: resolved has {len(self.resolved)} copies, and times is {self.times}"
            )
        at = site.child("copies")
        return Repeat(copies=[each.place(at.child(i)) for i, each in enumerate(self.parts())])


@dataclass(eq=False, repr=False)
class Repeat(Layer):
    """A layer so many times, one after the other: the shapes that it takes and answers.

    >>> from autograph.layers import Dense
    >>> stack = Repeat.builder(body=Dense.builder(inputs=3, outputs=3), times=4).build()
    >>> len(stack.parameters()), stack(Tensor(np.ones((2, 3), np.float32))).shape
    (4, (2, 3))
    """

    copies: list[Layer]

    builder = BuilderOf(RepeatBuilder)

    def forward(self, x: Tensor) -> Tensor:
        for each in self.copies:
            x = each(x)
        return x


@builder
class OptionalBuilder(Builder["Optional"]):
    """Settings of `Optional`: a layer, and whether it is there."""

    body: Part
    present: bool = True

    def infer(self, x: Tensor) -> tuple[Any, Tensor]:
        if not self.present:
            return self, x
        body, y = made_of(self.body).infer(x)
        return replace(cast(Any, self), body=body), y

    def outputs_for(self, inputs: int | None) -> int | None:
        return made_of(self.body).outputs_for(inputs) if self.present else inputs

    def build_at(self, site: Site) -> Optional:
        body = made_of(self.body).place(site.child("body")) if self.present else None
        return Optional(body=body)


@dataclass(eq=False, repr=False)
class Optional(Layer):
    """A layer, or x itself.

    >>> from autograph.layers import Dense
    >>> Optional.builder(body=Dense.builder(outputs=9), present=False).build()(Tensor([1.0]))
    Tensor(host f32 (1,) [1.])
    """

    body: Layer | None

    builder = BuilderOf(OptionalBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return x if self.body is None else self.body(x)


@builder
class ChoiceBuilder(Builder["Choice"]):
    """Settings of `Choice`: layers by name, and the name of the one that is built."""

    options: Named
    chosen: str

    def option(self) -> Builder[Any]:
        """The builder that is chosen."""
        found = self.options.get(self.chosen)
        if found is None:
            raise SettingsError(
                f"Choice.builder: {self.chosen!r} is no option\n"
                f"  options  {', '.join(self.options)}"
            )
        return made_of(found)

    def infer(self, x: Tensor) -> tuple[Any, Tensor]:
        made, y = self.option().infer(x)
        return replace(cast(Any, self), options={**self.options, self.chosen: made}), y

    def outputs_for(self, inputs: int | None) -> int | None:
        return self.option().outputs_for(inputs)

    def build_at(self, site: Site) -> Choice:
        return Choice(body=self.option().place(site.child("body")))


@dataclass(eq=False, repr=False)
class Choice(Layer):
    """One of several layers, chosen by name where the model is declared.

    >>> from autograph.layers import Relu
    >>> options = {"relu": Relu.builder(), "none": Identity.builder()}
    >>> Choice.builder(options=options, chosen="relu").build()(Tensor([-1.0]))
    Tensor(host f32 (1,) [0.])
    """

    body: Layer

    builder = BuilderOf(ChoiceBuilder)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)
