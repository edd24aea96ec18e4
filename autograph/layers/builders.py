"""Builders: what a layer is, as validated, frozen, printable data.

A builder can be compared, changed with `dataclasses.replace`, written to JSON and read back.
A layer is what `build` makes of it on a device.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Generic, ParamSpec, Self, TypeVar, cast, dataclass_transform

from pydantic import AfterValidator, NonNegativeInt, PositiveInt

from ..device import HOST, Device
from ..errors import SettingsError
from ..outline import Outline
from ..scalar_type import F32, ScalarType
from ..settings import Described, frozen
from ..tensor import Tensor
from ..tensor.blank import blank
from .site import Site

P = ParamSpec("P")
C = TypeVar("C")
L = TypeVar("L")
L_co = TypeVar("L_co", covariant=True)


def of_axes(count: int) -> AfterValidator:
    """Makes one number into one for each axis: (depth,) height and width."""
    return AfterValidator(lambda value: (value,) * count if isinstance(value, int) else value)


Size2 = Annotated[PositiveInt | tuple[PositiveInt, PositiveInt], of_axes(2)]
Padding2 = Annotated[NonNegativeInt | tuple[NonNegativeInt, NonNegativeInt], of_axes(2)]
Size3 = Annotated[PositiveInt | tuple[PositiveInt, PositiveInt, PositiveInt], of_axes(3)]
Padding3 = Annotated[
    NonNegativeInt | tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt], of_axes(3)
]


class Builder(Described, Generic[L_co]):
    """Base class of builders: decorate a subclass with `@builder`."""

    @classmethod
    def title(cls) -> str:
        return f"{cls.kind}.builder"

    def build(
        self,
        *,
        device: Device | str = HOST,
        scalar_type: ScalarType | str = F32,
        seed: int = 0,
    ) -> L_co:
        """The layer that these settings describe, with freshly initialised parameters.

        Equal settings, scalar type and seed give equal parameters, on every device.
        """
        if not hasattr(seed, "__index__") or seed < 0:
            raise SettingsError(
                f"build: seed is {seed!r}\n  write  an int from 0 on: build(seed=0)"
            )
        site = Site(Device(device), ScalarType(scalar_type), int(seed), root=self.kind)
        return self.place(site)

    def place(self, site: Site) -> L_co:
        """The layer at a site, which it remembers."""
        layer = self.build_at(site)
        layer.__dict__.update(_builder=self, _site=site)
        return layer

    def build_at(self, site: Site) -> L_co:
        """Make the layer; the site gives parameters their place and first values."""
        raise NotImplementedError(f"{type(self).__name__} does not define build_at")

    def made(self, variant: str = "", /, **fields: Any) -> L_co:
        """The layer of this builder's kind, or a variant of it, which stands beside it, of these
        fields."""
        return getattr(sys.modules[type(self).__module__], variant + self.kind)(**fields)

    def infer(self, x: Tensor) -> tuple[Self, Tensor]:
        """These settings with what `x` tells filled in, and the layer's output for it."""
        resolved = self.resolve(x.outline)
        return resolved, resolved.place(Site.blank(x.outline, self.kind))(x)  # type: ignore[operator]

    def resolve(self, x: Outline) -> Self:
        """These settings with `inputs` filled in from the outline of the input."""
        if "inputs" in self.names() and getattr(self, "inputs", None) is None:
            return replace(cast(Any, self), inputs=self.inputs_of(x))
        return self

    def inputs_of(self, x: Outline) -> int:
        """What `inputs` is for an input: the channels of (N, C, ...)."""
        return x.shape[1] if x.ndim > 1 else x.shape[0]

    def outputs_for(self, inputs: int | None) -> int | None:
        """Channels that go out where `inputs` come in, as far as known without sizes."""
        return getattr(self, "outputs", inputs)


class Plain(Builder[L_co]):
    """Base class of builders that hand their settings to the layer of their kind, which stands
    beside them and has no parameters."""

    def build_at(self, site: Site) -> L_co:
        return self.made(**{name: getattr(self, name) for name in self.names()})


class FieldsBuilder:
    """`LeNet5.builder(dense3=...)`: the builder of a declared layer, fields changed by name."""

    def __get__(self, instance: object, owner: type[L]) -> Callable[..., L]:
        from .declared import Declared

        return cast(Callable[..., L], lambda **changes: Declared.of(owner, changes))


class BuilderOf(FieldsBuilder, Generic[P, L]):
    """`Conv2.builder(...)`: the builder class, typed as what a field of the layer is given."""

    def __init__(self, kind: Callable[P, Builder[L]]) -> None:
        self.kind = kind

    def __get__(self, instance: object, owner: object) -> Callable[P, L]:  # type: ignore[override]
        return cast(Callable[P, L], self.kind)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def builder(cls: type[C]) -> type[C]:
    """Make `cls` a frozen, keyword-only dataclass of validated settings, known by its kind."""
    kind = cls.__name__.removesuffix("Builder")
    cls.__doc__ = cls.__doc__ or f"Settings of `{kind}`."
    made = cast(Any, frozen(cls))
    made.kind = kind
    return cast(type[C], made)


def shaped(shape: tuple[int, ...], scalar_type: ScalarType = F32) -> Tensor:
    """A blank input of one sample: `shape` without the batch."""
    return blank(Outline((1, *shape), scalar_type))
