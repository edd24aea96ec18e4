"""Descriptions: plain JSON from which a layer is built again, and how two of them differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import make_dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

from ..errors import CheckpointError, SettingsError
from ..settings import plain
from . import KINDS
from .base import Layer
from .builders import Builder
from .declare import _forward_in_order
from .declared import Declared

# The classes given to the description under way, for the layers inside of combinations.
_own: ContextVar[Mapping[str, Any]] = ContextVar("own", default=MappingProxyType({}))
DEPTH = 64  # of nested layers; deeper is no model


def from_description(
    description: Mapping[str, Any], layers: Iterable[type[Layer]] = ()
) -> Builder[Any]:
    """The builder that a description came from.

    Kinds are those of `autograph.layers`, and the classes given as `layers`, by name; nothing
    is ever imported because a file names it. A `Sequential` needs no class: its fields are its
    forward.

    >>> from_description(Relu.builder().describe())
    ReluBuilder()
    """
    own = {each.__name__: each for each in layers} or _own.get()
    before = _own.set(own)
    try:
        return _builder_of(description, own, "", 0)
    finally:
        _own.reset(before)


def _builder_of(given: Any, own: Mapping[str, Any], path: str, depth: int) -> Builder[Any]:
    place = path or "the model"
    if not isinstance(given, dict) or not isinstance(given.get("kind"), str) or depth > DEPTH:
        raise CheckpointError(f"description: {place} is not the description of a layer")
    settings = dict(given)
    kind = settings.pop("kind")
    if kind in ("Sequential", "Layer"):
        return _declared_of(kind, settings, own, path, depth)
    cls = own.get(kind)
    if cls is None and kind in KINDS:
        cls = getattr(import_module(f".{KINDS[kind]}", __package__), kind)
    if cls is None:
        raise CheckpointError(
            f"description: {place} is a {kind}, which is not known here\n"
            f"  give its class: ag.load(path, layers=[{kind}])"
        )
    try:
        return cls.builder.from_settings(settings)
    except (SettingsError, RecursionError) as error:
        raise CheckpointError(f"description: {place} cannot be read\n{error}") from None


def _declared_of(
    kind: str, told: dict[str, Any], own: Mapping[str, Any], path: str, depth: int
) -> Declared:
    name, fields, shape = told.get("name"), told.get("fields"), told.get("input")
    tie = told.get("tie", {})
    sound = (
        isinstance(name, str)
        and isinstance(fields, dict)
        and (shape is None or (isinstance(shape, list) and all(type(n) is int for n in shape)))
        and isinstance(tie, dict)
        and all(isinstance(each, str) for each in tie.values())
        and all(each.isidentifier() and not hasattr(Layer, each) for each in fields)
    )
    if not sound:
        raise CheckpointError(f"description: {path or 'the model'} is not a declared layer")
    assert isinstance(name, str)
    assert isinstance(fields, dict)
    layer = own.get(name)
    if kind == "Layer" and layer is None:
        raise CheckpointError(
            f"description: {path or 'the model'} is a {name}, whose forward is code\n"
            f"  give its class: ag.load(path, layers=[{name}])"
        )
    parts = {
        each: _builder_of(part, own, f"{path}.{each}".lstrip("."), depth + 1)
        if isinstance(part, dict) and "kind" in part
        else _as_written(part, getattr(layer, "__fields_declared__", {}).get(each))
        for each, part in fields.items()
    }
    return Declared(
        name=name,
        family=kind,
        fields=parts,
        input=None if shape is None else tuple(shape),
        tie=dict(tie),
        layer=layer or nameless_sequential(name, parts),
    )


def _as_written(told: Any, declared: Any) -> Any:
    """A setting as its class has it, where JSON made lists of tuples."""
    if plain(declared) == told:
        return declared
    return tuple(told) if isinstance(declared, tuple) and isinstance(told, list) else told


def nameless_sequential(name: str, parts: Mapping[str, Any]) -> type[Layer]:
    """The class of a sequential layer whose source is not at hand."""
    namespace = {
        "forward": _forward_in_order,
        "__fields_declared__": dict(parts),
        "__kind__": "Sequential",
        "__input__": None,
        "__tie__": {},
    }
    return make_dataclass(
        name if name.isidentifier() else "Sequential",
        [(each, Layer) for each in parts],
        bases=(Layer,),
        namespace=namespace,
        eq=False,
        repr=False,
        kw_only=True,
    )


def differences(here: Any, there: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(path, value here, value there) wherever two descriptions differ; "absent" for none."""
    if isinstance(here, dict) and isinstance(there, dict):
        for name in [*here, *(each for each in there if each not in here)]:
            inner = f"{path}.{name}".lstrip(".")
            yield from differences(here.get(name, "absent"), there.get(name, "absent"), inner)
        if list(here) != list(there) and sorted(here) == sorted(there) and "kind" not in here:
            yield f"{path} (order)", ", ".join(here), ", ".join(there)
    elif here != there or type(here) is not type(there):
        yield path, here, there
