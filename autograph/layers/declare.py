"""Declared layers: classes whose fields are builders, composed by `@sequential` or `@layer`."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from dataclasses import fields as dataclass_fields
from functools import wraps
from typing import Any, TypeVar, cast, dataclass_transform, get_type_hints, overload

from ..errors import DeclarationError
from . import base, hooks
from .base import Layer
from .builders import Builder
from .declared import Declared as Declared

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
    if kind == "Sequential" and cls.forward not in (Layer.forward, _forward_in_order):
        raise DeclarationError(
            f"{cls.__name__}: @sequential runs its fields in order, and has a forward besides\n"
            f"  write  @layer  above  class {cls.__name__}, or take forward away"
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
    own = {
        name: _declared(cls, name)
        for name, told in inspect.get_annotations(cls).items()
        if not re.match(r"(\w+\.)*ClassVar\b", str(told))
    }
    for name in own:
        if hasattr(Layer, name) or name.startswith("_"):
            raise DeclarationError(
                f"{cls.__name__}.{name}: this name belongs to Layer\n  choose another name"
            )
        if name in cls.__dict__:
            delattr(cls, name)
    above: dict[str, Any] = {}
    tied: dict[str, str] = {}
    shape = None
    for parent in reversed(cls.__mro__[1:]):  # the order in which dataclasses have their fields
        above |= vars(parent).get("__fields_declared__", {})
        tied |= vars(parent).get("__tie__", {})
        shape = vars(parent).get("__input__") or shape
    cls.__fields_declared__ = {**above, **own}
    cls.__kind__ = kind
    input = (input,) if isinstance(input, int) else input
    cls.__input__ = shape if input is None else tuple(input)
    cls.__tie__ = {**tied, **(tie or {})}
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


_forward_in_order.__name__ = "forward"  # by which a bound method is pickled


def runs_of(layer: Any) -> Sequence[Callable[[Any], Any]]:
    """What a sequential layer calls, one after the other: its fields, some of them fused."""
    known, now = layer.__dict__.get("_runs"), (base._structure, hooks.watched)
    if known is not None and known[2] == now and not hooks.apart.wanted:
        return known[1]
    fields = [layer.__dict__[name] for name in layer.__fields_declared__]
    if hooks.apart.wanted:
        return fields
    if known is not None and known[0] == fields and known[2][1] == hooks.watched:
        runs = known[1]  # layers are equal where they are the same
    elif all(isinstance(each, Layer) for each in fields):
        from .fusion import fused

        runs = list(fused(fields))
    else:
        return fields  # sizes are being inferred
    layer.__dict__["_runs"] = fields, runs, now
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
