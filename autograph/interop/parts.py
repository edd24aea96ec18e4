"""What exporters share; and the layers of a model in the order in which they run, for scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from ..errors import SettingsError
from ..layers import Layer
from ..tensor import Tensor

V = TypeVar("V")
Rule = Callable[[Any, Any, V, str], V]  # (exporter, layer, what comes in, path) -> what goes out


def follow(
    exporter: Any,
    layer: Any,
    x: V,
    path: str,
    rules: Mapping[str, Rule[V]],
    add: Callable[[V, V], V],
) -> V:
    """What goes out of a layer where `x` comes in, by the rule of its kind; through containers
    into what they hold."""
    kind = layer._builder.kind
    if kind in rules and not hasattr(type(layer), "__fields_declared__"):
        return rules[kind](exporter, layer, x, path)

    def inner(name: str, part: Any, x: V) -> V:
        return follow(exporter, part, x, f"{path}.{name}".lstrip("."), rules, add)

    if getattr(type(layer), "__kind__", "") == "Sequential":
        for name in type(layer).__fields_declared__:
            x = inner(name, getattr(layer, name), x)
        return x
    match kind:
        case "Repeat":
            for i, each in enumerate(layer.copies):
                x = inner(f"copies.{i}", each, x)
            return x
        case "Optional" | "Choice":
            return x if layer.body is None else inner("body", layer.body, x)
        case "Residual":
            beside = x if layer.shortcut is None else inner("shortcut", layer.shortcut, x)
            return add(inner("body", layer.body, x), beside)
    raise SettingsError(
        f"export: {path or 'the model'} is a {kind}, for which there is no rule\n"
        f"  rules  {', '.join(sorted(rules))}\n"
        f"  and of containers  Sequential, Repeat, Optional, Choice, Residual"
    )


def sizes(value: int | tuple[int, ...], ndim: int) -> list[int]:
    """A size for each axis behind (N, C), of an array of `ndim` axes, from one number or each."""
    return [value] * (ndim - 2) if isinstance(value, int) else list(value)


def array_of(w: Tensor) -> np.ndarray[Any, Any]:
    """A parameter as an f32 array on the host."""
    return np.ascontiguousarray(w.detach().cast("f32").numpy())


def input_of(model: Layer, input: tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape of a sample, as declared unless said."""
    shape = input or getattr(model._builder, "input", None)
    if shape is None:
        raise SettingsError(
            f"export: the shape of a sample of {type(model).__name__} is not known\n"
            f"  write  input=(1, 28, 28)"
        )
    return tuple(shape)
