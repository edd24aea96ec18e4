"""Declared: the builder of a declared layer, which fills in the sizes of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, cast

from ..errors import AutographError, DeclarationError, SettingsError, ShapeError
from ..settings import plain
from ..tensor import Parameter, Tensor
from .builders import Builder, shaped
from .site import Site


@dataclass(frozen=True, eq=False, kw_only=True)
class Declared(Builder[Any]):
    """The builder of a declared layer: its fields as written, and as inferred from `input`."""

    name: str
    family: str  # "Sequential", whose fields are its forward, or "Layer"
    fields: dict[str, Any]
    input: tuple[int, ...] | None = None
    tie: dict[str, str] = field(default_factory=dict)
    layer: Any = field(default=None, repr=False)

    @classmethod
    def of(cls, layer: Any, changes: Mapping[str, Any]) -> Declared:
        """The builder of a declared class with some fields changed."""
        if "__fields_declared__" not in layer.__dict__:
            raise DeclarationError(
                f"{layer.__name__} is not declared\n"
                f"  write  @sequential  or  @layer  above  class {layer.__name__}(Layer):"
            )
        known = layer.__fields_declared__
        unknown = [name for name in changes if name not in known]
        if unknown:
            raise SettingsError(
                f"{layer.__name__}.builder: no such field\n"
                f"  given   {', '.join(unknown)}\n  fields  {', '.join(known)}"
            )
        for name, value in changes.items():
            if isinstance(known[name], Builder) and not isinstance(value, Builder):
                raise SettingsError(
                    f"{layer.__name__}.builder: {name} is a {type(value).__name__}\n"
                    f"  write  {name}={known[name].kind}.builder(...)"
                )
        return cls(
            name=layer.__name__,
            family=layer.__kind__,
            fields={**known, **changes},
            input=layer.__input__,
            tie=dict(layer.__tie__),
            layer=layer,
        )

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.name

    def build(self, **place: Any) -> Any:
        """The layer, all its sizes inferred, with freshly initialised parameters."""
        return super(Declared, self.resolved()).build(**place)

    def resolved(self) -> Declared:
        """This builder with every size that can be inferred filled in; refused where one
        layer does not fit the next."""
        if self.input is not None:
            return self.infer(shaped(self.input))[0]
        if self.family == "Sequential":
            return self._with_channels(None)
        return self

    def resolve(self, x: Any) -> Declared:
        return self

    def infer(self, x: Tensor) -> tuple[Declared, Tensor]:
        """Every field's settings filled in by running forward on a blank."""
        layer = object.__new__(self.layer)
        layer.__dict__.update({n: v for n, v in self.fields.items() if not isinstance(v, Builder)})
        found: dict[str, Builder[Any]] = {}
        chain: list[tuple[str, tuple[int, ...]]] = [("input", x.shape[1:])]
        for name, part in self.fields.items():
            if isinstance(part, Builder):
                layer.__dict__[name] = _Resolving(self.name, name, part, found, chain)
        y = layer.forward(x)
        return replace(self, fields={**self.fields, **found}), y

    def outputs_for(self, inputs: int | None) -> int | None:
        for part in self.fields.values():
            inputs = part.outputs_for(inputs) if isinstance(part, Builder) else inputs
        return inputs

    def _with_channels(self, channels: int | None) -> Declared:
        """What can be filled in and checked from channels alone, without sizes."""
        fields: dict[str, Any] = {}
        for name, part in self.fields.items():
            if isinstance(part, Declared) and part.family == "Sequential":
                part = part._with_channels(channels)
            elif hasattr(part, "inputs"):
                if part.inputs is None and channels is not None:
                    part = replace(cast(Any, part), inputs=channels)
                elif channels not in (None, part.inputs):
                    raise ShapeError(
                        f"{self.name}.{name}: takes {part.inputs} channels, but gets {channels}\n"
                        f"  write  inputs={channels}, or leave inputs out"
                    )
            fields[name] = part
            channels = part.outputs_for(channels)
        return replace(self, fields=fields)

    def build_at(self, site: Site) -> Any:
        layer = object.__new__(self.layer)
        for name, part in self.fields.items():
            is_layer = isinstance(part, Builder)  # settings are copied: models share nothing
            built = part.place(site.child(name)) if is_layer else deepcopy(part)
            layer.__dict__[name] = built
        named = layer.named_parameters()
        for target, source in self.tie.items():
            for _ in self.tie:  # which may be tied itself
                source = self.tie.get(source, source)
            _tie(layer, self.name, named, target, source)
        return layer

    def describe(self) -> dict[str, Any]:
        told: dict[str, Any] = {"kind": self.family, "name": self.name}
        if self.input is not None:
            told["input"] = list(self.input)
        if self.tie:
            told["tie"] = self.tie
        return {**told, "fields": plain(self.fields)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Declared) and self.describe() == other.describe()

    __hash__ = None  # type: ignore[assignment]


@dataclass
class _Resolving:
    """Stands for a field while sizes are inferred: fills in its builder when it is called."""

    owner: str
    name: str
    part: Builder[Any]
    found: dict[str, Builder[Any]]
    chain: list[tuple[str, tuple[int, ...]]]

    def __call__(self, x: Tensor) -> Tensor:
        part = self.found.get(self.name, self.part)
        try:
            self.found[self.name], y = part.infer(x)
        except AutographError as error:
            width = max(len(name) for name, _ in self.chain)
            error.add_note(f"  in {self.owner}.{self.name}")
            lines = [f"    {name:<{width}}  {shape}" for name, shape in self.chain]
            error.add_note("\n".join(["  the chain so far, without the batch:", *lines]))
            raise
        if isinstance(y, Tensor):
            self.chain.append((self.name, y.shape[1:]))
        return y

    def __getattr__(self, asked: str) -> Any:
        raise DeclarationError(
            f"{self.owner}.{self.name}: {asked} is asked for while sizes are inferred, "
            f"and there is none yet\n"
            f"  write  @layer  without input=, and give sizes by hand"
        )


def _tie(layer: Any, name: str, named: Mapping[str, Parameter], target: str, source: str) -> None:
    """Make the parameter at `target` the one at `source`."""
    for path in (target, source):
        if path not in named:
            raise DeclarationError(
                f"{name}: tie names {path}, which is not a parameter\n"
                f"  parameters  {', '.join(named)}"
            )
    if named[target].shape != named[source].shape:
        raise ShapeError(
            f"{name}: tied parameters have different shapes\n"
            f"  {target}  {named[target].shape}\n  {source}  {named[source].shape}"
        )
    *place, last = target.split(".")
    holder = layer
    for part in place:
        holder = holder[int(part)] if isinstance(holder, list | tuple) else getattr(holder, part)
    setattr(holder, last, named[source])
