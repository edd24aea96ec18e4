"""Declared layers: classes whose fields are builders, composed by `@sequential` or `@layer`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import MISSING, dataclass, field, replace
from dataclasses import fields as dataclass_fields
from functools import wraps
from typing import Any, TypeVar, cast, dataclass_transform, get_type_hints, overload

from ..errors import AutographError, DeclarationError, SettingsError, ShapeError
from ..settings import plain
from ..tensor import Tensor
from . import hooks
from .base import Layer
from .builders import Builder, shaped
from .site import Site

C = TypeVar("C")


@overload
def sequential(cls: type[C], /) -> type[C]: ...


@overload
def sequential(
    *, input: tuple[int, ...] | None = None, tie: Mapping[str, str] | None = None
) -> Callable[[type[C]], type[C]]: ...


@dataclass_transform(kw_only_default=True)
def sequential(cls: Any = None, /, *, input: Any = None, tie: Any = None) -> Any:
    """Derive a layer from its fields: forward applies them in order.

    A bare annotation means the layer's builder with its defaults. `input` is the shape of one
    sample, from which all sizes are inferred and checked here, where the model is declared;
    without it the first layer states `inputs`. `tie={"head.weight": "embedding.weight"}` makes
    one parameter of two. The class is changed in place.

    >>> @sequential(input=(784,))
    ... class Classifier(Layer):
    ...     dense1: Dense = Dense.builder(outputs=64)
    ...     relu1: Relu
    ...     dense2: Dense = Dense.builder(outputs=10, bias=True)
    >>> list(Classifier.build(seed=0).named_parameters())
    ['dense1.weight', 'dense2.weight', 'dense2.bias']
    """
    if cls is None:
        return lambda cls: _derive(cls, "Sequential", input, tie)
    return _derive(cls, "Sequential", None, None)


@overload
def layer(cls: type[C], /) -> type[C]: ...


@overload
def layer(
    *, input: tuple[int, ...] | None = None, tie: Mapping[str, str] | None = None
) -> Callable[[type[C]], type[C]]: ...


@dataclass_transform(kw_only_default=True)
def layer(cls: Any = None, /, *, input: Any = None, tie: Any = None) -> Any:
    """Derive a layer from its fields, with a `forward` written by hand.

    Fields are layers (a builder, or bare) and settings (any JSON value). Sizes are inferred by
    running `forward` once on tensors that have shapes and no values.

    >>> @layer
    ... class Residual(Layer):
    ...     body: Dense = Dense.builder(inputs=8, outputs=8)
    ...     scale: float = 0.5
    ...     def forward(self, x):
    ...         return x + self.body(x) * self.scale
    >>> Residual.build()(Tensor(np.ones((2, 8), np.float32))).shape
    (2, 8)
    """
    if cls is None:
        return lambda cls: _derive(cls, "Layer", input, tie)
    return _derive(cls, "Layer", None, None)


def _derive(cls: Any, kind: str, input: Any, tie: Any) -> Any:
    if not issubclass(cls, Layer):
        raise DeclarationError(
            f"{cls.__name__}: a declared layer inherits from Layer\n"
            f"  write  class {cls.__name__}(Layer):"
        )
    if kind == "Layer" and cls.forward is Layer.forward:
        raise DeclarationError(
            f"{cls.__name__}: @layer wants a forward\n"
            f"  write  def forward(self, x): ...   or declare it with @sequential"
        )
    for name, value in vars(cls).items():
        if isinstance(value, Builder) and name not in inspect.get_annotations(cls):
            raise DeclarationError(
                f"{cls.__name__}.{name}: a field is annotated\n"
                f"  write  {name}: {value.kind} = {value.kind}.builder(...)"
            )
    if "__init__" in vars(cls):
        raise DeclarationError(
            f"{cls.__name__}: a declared layer has no __init__, it is built from its fields\n"
            f"  write  name: Dense = Dense.builder(...)  for each layer, and take __init__ away"
        )
    own = {name: _declared(cls, name) for name in inspect.get_annotations(cls)}
    for name in own:
        if hasattr(Layer, name) or name.startswith("_"):
            raise DeclarationError(
                f"{cls.__name__}.{name}: this name belongs to Layer\n  choose another name"
            )
        if name in cls.__dict__:
            delattr(cls, name)
    above: Mapping[str, Any] = getattr(cls, "__fields_declared__", {})
    cls.__fields_declared__ = {**above, **own}
    cls.__kind__ = kind
    input = (input,) if isinstance(input, int) else input
    cls.__input__ = getattr(cls, "__input__", None) if input is None else tuple(input)
    cls.__tie__ = {**getattr(cls, "__tie__", {}), **(tie or {})}
    if kind == "Sequential":
        cls.forward = _forward_in_order
        for name, each in cls.__fields_declared__.items():
            if not isinstance(each, Builder):
                raise DeclarationError(
                    f"{cls.__name__}.{name}: @sequential holds layers alone\n"
                    f"  write a setting in an @layer class with a forward of its own"
                )
    derived = dataclass(eq=False, kw_only=True, repr=False)(cls)
    derived.__init__ = _made_of_fields(derived.__init__, cls.__name__)
    Declared.of(derived, {}).resolved()
    return derived


def _made_of_fields(init: Callable[..., None], name: str) -> Callable[..., None]:
    """`init`, which takes built layers by name; anybody else is told how a model is built."""

    @wraps(init)
    def made(self: Any, *unnamed: Any, **fields: Any) -> None:
        if unnamed or fields.keys() != self.__fields_declared__.keys():
            raise DeclarationError(
                f"{name}: a layer is built by its declaration\n  write  {name}.build(seed=0)"
            )
        init(self, **fields)

    return made


def _forward_in_order(self: Any, x: Any) -> Any:
    for run in runs_of(self):
        x = run(x)
    return x


def runs_of(layer: Any) -> Sequence[Callable[[Any], Any]]:
    """What a sequential layer calls, one after the other: its fields, some of them fused."""
    fields = [layer.__dict__[name] for name in layer.__fields_declared__]
    if hooks.apart.wanted:
        return fields
    known = layer.__dict__.get("_runs")
    fresh = known is not None and known[2] == hooks.watched
    if fresh and known[0] == fields:  # layers are equal where they are the same
        return known[1]
    if not all(isinstance(each, Layer) for each in fields):
        return fields  # sizes are being inferred
    from .fusion import fused

    runs = list(fused(fields))
    layer.__dict__["_runs"] = (fields, runs, hooks.watched)
    return runs


def _declared(cls: Any, name: str) -> Any:
    """The builder or setting of a field: as written, or the defaults of a bare annotation."""
    value = cls.__dict__.get(name, MISSING)
    if isinstance(value, Builder):
        _check_kind(cls, name, value)
        return value
    if _holds_layers(value):
        raise DeclarationError(
            f"{cls.__name__}.{name}: layers in a {type(value).__name__} are not built\n"
            f"  write  a field for each, or  Repeat.builder(...)  or  Parallel.builder(...)"
        )
    wanted = _annotation(cls, name)
    if not (isinstance(wanted, type) and issubclass(wanted, Layer)):
        if value is MISSING:
            raise DeclarationError(
                f"{cls.__name__}.{name}: a setting needs a default\n  write  {name}: ... = VALUE"
            )
        return value
    if value is not MISSING:
        raise DeclarationError(
            f"{cls.__name__}.{name} is a {type(value).__name__}, not a builder\n"
            f"  write  {name}: {wanted.__name__} = {wanted.__name__}.builder(...)"
        )
    make = cast(Any, wanted.builder)
    required = [
        each.name
        for each in (dataclass_fields(make) if isinstance(make, type) else ())
        if each.init and each.default is MISSING and each.default_factory is MISSING
    ]
    if required:
        wants = ", ".join(f"{each}=..." for each in required)
        raise DeclarationError(
            f"{cls.__name__}.{name} needs settings\n"
            f"  write  {name}: {wanted.__name__} = {wanted.__name__}.builder({wants})"
        )
    return make()


def _check_kind(cls: Any, name: str, part: Builder[Any]) -> None:
    """Refuse a builder of another layer than the one annotated."""
    try:
        wanted = _annotation(cls, name)
    except (DeclarationError, TypeError):  # for type checkers alone
        return
    if not (isinstance(wanted, type) and issubclass(wanted, Layer)):
        return
    if "__fields_declared__" in vars(wanted):
        fits = isinstance(part, Declared) and issubclass(part.layer, wanted)
    else:
        maker: Any = wanted.builder
        fits = not isinstance(maker, type) or isinstance(part, maker)
    if not fits:
        raise DeclarationError(
            f"{cls.__name__}.{name} is annotated {wanted.__name__}, and built as {part.kind}\n"
            f"  write  {name}: {part.kind} = {part.kind}.builder(...)"
        )


def _holds_layers(value: Any) -> bool:
    """Whether layers or their builders are in a list, tuple or dict."""
    inner = value.values() if isinstance(value, dict) else value
    return isinstance(value, list | tuple | dict) and any(
        isinstance(each, Builder | Layer) or _holds_layers(each) for each in inner
    )


def _annotation(cls: Any, name: str) -> Any:
    try:
        return get_type_hints(cls)[name]
    except NameError:
        text = inspect.get_annotations(cls)[name]
        frame = sys._getframe(1)
        while frame is not None:  # a class declared inside a function sees its locals
            found = {**frame.f_builtins, **frame.f_globals, **frame.f_locals}.get(text)
            if found is not None:
                return found
            frame = frame.f_back  # type: ignore[assignment]
        raise DeclarationError(
            f"{cls.__name__}.{name}: {text} is not a name here\n  import it first"
        ) from None


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
        for target, source in self.tie.items():
            _tie(layer, self.name, target, source)
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


def _tie(layer: Any, name: str, target: str, source: str) -> None:
    """Make the parameter at `target` the one at `source`."""
    named = layer.named_parameters()
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
