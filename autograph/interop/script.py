"""Models as one Python file that needs NumPy alone: its weights inside, `infer(x)` its forward."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import write_whole
from ..errors import SettingsError
from ..layers import Layer
from .parts import array_of, input_of, refuse_own_statistics, sizes

HEAD = '''"""{name}, exported by autograph: infer(x) takes float32 (N, {shape}).

{parameters:,} parameters; run it with samples in an .npy file: python {file} samples.npy
"""

import base64
import sys

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def array(text, *shape):
    return np.frombuffer(base64.b85decode(text), "<f4").reshape(shape)


def windows(x, filter, stride, padding, dilation, value=0.0):
    """(N, C, P..., R...): what lies under the filter at each place."""
    around = [(0, 0), (0, 0), *((p, p) for p in padding)]
    x = np.pad(x, around, constant_values=value)
    axes = tuple(range(2, x.ndim))
    seen = sliding_window_view(x, [d * (r - 1) + 1 for r, d in zip(filter, dilation)], axes)
    steps = [slice(None, None, each) for each in (*stride, *dilation)]
    return seen[(slice(None), slice(None), *steps)]


def conv(x, weight, bias, stride, padding, dilation, groups):
    seen = windows(x, weight.shape[2:], stride, padding, dilation)
    k = weight.ndim - 2
    axes = [1, *range(2 + k, 2 + 2 * k)], [1, *range(2, 2 + k)]
    parts = zip(np.split(seen, groups, 1), np.split(weight, groups))
    y = np.concatenate([np.moveaxis(np.tensordot(a, b, axes), -1, 1) for a, b in parts], 1)
    return y if bias is None else y + bias.reshape(-1, *[1] * k)


def pool(x, filter, stride, padding, largest):
    seen = windows(x, filter, stride, padding, [1] * len(filter), -np.inf if largest else 0.0)
    axes = tuple(range(2 + len(filter), seen.ndim))
    return seen.max(axes) if largest else seen.mean(axes)


def normalise(x, mean, variance, weight, bias, epsilon):
    y = (x - mean) / np.sqrt(variance + epsilon)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def sigmoid(x):
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def softplus(x):
    return np.logaddexp(0.0, x)


def softmax(x, axis):
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


'''
FOOT = """

if __name__ == "__main__":
    np.set_printoptions(suppress=True)
    print(infer(np.load(sys.argv[1]).astype(np.float32)))
"""


def export_script(model: Layer, path: str | Path, input: tuple[int, ...] | None = None) -> None:
    """Write a model as it infers, in f32."""
    shape = input_of(model, input)
    script = Script(len(shape) + 1)
    result = follow(script, model, "x", "")
    head = HEAD.format(
        name=type(model).__name__,
        shape=", ".join(map(str, shape)),
        parameters=model.parameter_count,
        file=Path(path).name,
    )
    weights = "".join(script.weights)
    body = "".join(f"    {line}\n" for line in script.lines)
    text = f"{head}{weights}\n\ndef infer(x):\n{body}    return {result}\n{FOOT}"
    write_whole(Path(path), [text.encode()])


class Script:
    """Lines and weights as they are added."""

    def __init__(self, ndim: int) -> None:
        self.ndim = ndim
        self.lines: list[str] = []
        self.weights: list[str] = []
        self._known: dict[str, str] = {}

    def line(self, expression: str) -> str:
        """Add a value; its name."""
        name = f"y{len(self.lines)}"
        self.lines.append(f"{name} = {expression}")
        return name

    def weight(self, path: str, value: Any) -> str:
        """Add a parameter, or None; its name."""
        if value is None:
            return "None"
        if path not in self._known:
            array: np.ndarray[Any, Any] = array_of(value)
            name = self._known[path] = path.replace(".", "_").upper()
            text = base64.b85encode(array.astype("<f4").tobytes()).decode()
            shape = ", ".join(map(str, array.shape))
            self.weights.append(f"{name} = array({text!r}, {shape})  # {path}\n")
        return self._known[path]


def follow(s: Script, layer: Any, x: str, path: str) -> str:
    """What goes out of a layer where `x` comes in, by the rule of its kind; through containers
    into what they hold."""
    kind = type(layer).__name__  # other than its builder's where a setting is out of the ordinary
    if kind in RULES and not hasattr(type(layer), "__fields_declared__"):
        return RULES[kind](s, layer, x, path)

    def inner(name: str, part: Any, x: str) -> str:
        return follow(s, part, x, f"{path}.{name}".lstrip("."))

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
            beside = inner("shortcut", layer.shortcut, x)
            return s.line(f"{inner('body', layer.body, x)} + {beside}")
    raise SettingsError(
        f"export: {path or 'the model'} is a {kind}, for which there is no rule\n"
        f"  rules  {', '.join(sorted(RULES))}\n"
        f"  and of containers  Sequential, Repeat, Optional, Choice, Residual"
    )


Rule = Callable[[Script, Any, str, str], str]  # as `follow`


def _dense(s: Script, layer: Any, x: str, path: str) -> str:
    y = s.line(f"{x} @ {s.weight(f'{path}.weight', layer.weight)}")
    return y if layer.bias is None else s.line(f"{y} + {s.weight(f'{path}.bias', layer.bias)}")


def _conv(s: Script, layer: Any, x: str, path: str) -> str:
    weight, bias = (s.weight(f"{path}.{each}", getattr(layer, each)) for each in ("weight", "bias"))
    settings = [sizes(each, s.ndim) for each in (layer.stride, layer.padding, layer.dilation)]
    told = ", ".join(map(str, [*settings, layer.groups]))
    return s.line(f"conv({x}, {weight}, {bias}, {told})")


def _pool(largest: bool) -> Rule:
    def rule(s: Script, layer: Any, x: str, path: str) -> str:
        stride = layer.filter if layer.stride is None else layer.stride
        settings = [sizes(each, s.ndim) for each in (layer.filter, stride, layer.padding)]
        return s.line(f"pool({x}, {', '.join(map(str, settings))}, {largest})")

    return rule


def _batch_norm(s: Script, layer: Any, x: str, path: str) -> str:
    refuse_own_statistics(layer, path)
    names = ("running_mean", "running_variance", "weight", "bias")
    around = f".reshape(-1{', 1' * (s.ndim - 2)})"
    told = [
        "None" if getattr(layer, each) is None
        else s.weight(f"{path}.{each}", getattr(layer, each)) + around
        for each in names
    ]  # fmt: skip
    return s.line(f"normalise({x}, {', '.join(told)}, {layer.epsilon})")


def _layer_norm(s: Script, layer: Any, x: str, path: str) -> str:
    axes = tuple(range(-layer.axes, 0))
    weight, bias = (s.weight(f"{path}.{each}", getattr(layer, each)) for each in ("weight", "bias"))
    moments = f"{x}.mean({axes}, keepdims=True), {x}.var({axes}, keepdims=True)"
    return s.line(f"normalise({x}, {moments}, {weight}, {bias}, {layer.epsilon})")


def _flatten(s: Script, layer: Any, x: str, path: str) -> str:
    s.ndim = 2
    return s.line(f"{x}.reshape(len({x}), -1)")


def _global(how: str) -> Rule:
    def rule(s: Script, layer: Any, x: str, path: str) -> str:
        axes, s.ndim = tuple(range(2, s.ndim)), 2
        return s.line(f"{x}.{how}({axes})")

    return rule


def _written(expression: str) -> Rule:
    """A rule of an expression of x, and of the layer's settings by name."""

    def rule(s: Script, layer: Any, x: str, path: str) -> str:
        settings = {name: each for name, each in vars(layer).items() if name[0] != "_"}
        return s.line(expression.format(x=x, **settings))

    return rule


RULES: dict[str, Rule] = {
    "Dense": _dense,
    **{f"Conv{i}": _conv for i in (1, 2, 3)},
    **{f"MaxPool{i}": _pool(True) for i in (1, 2, 3)},
    **{f"MeanPool{i}": _pool(False) for i in (1, 2, 3)},
    **{f"BatchNorm{i}": _batch_norm for i in (1, 2, 3)},
    "LayerNorm": _layer_norm,
    "GlobalMaxPool": _global("max"),
    "GlobalMeanPool": _global("mean"),
    "Flatten": _flatten,
    "Identity": lambda s, layer, x, path: x,
    "Dropout": lambda s, layer, x, path: x,
    "Relu": _written("np.maximum({x}, 0.0)"),
    "Relu6": _written("np.clip({x}, 0.0, 6.0)"),
    "Hardtanh": _written("np.clip({x}, {low}, {high})"),
    "Hardsigmoid": _written("np.clip({x} / 6.0 + 0.5, 0.0, 1.0)"),
    "Hardswish": _written("{x} * np.clip({x} / 6.0 + 0.5, 0.0, 1.0)"),
    "LeakyRelu": _written("np.where({x} > 0.0, {x}, {slope} * {x})"),
    "Elu": _written("np.where({x} > 0.0, {x}, {alpha} * np.expm1(np.minimum({x}, 0.0)))"),
    "Celu": _written("np.maximum({x}, 0.0) + np.minimum(0.0, {alpha} * np.expm1({x} / {alpha}))"),
    "Selu": _written(
        "1.0507009873554805 * np.where("
        "{x} > 0.0, {x}, 1.6732632423543772 * np.expm1(np.minimum({x}, 0.0)))"
    ),
    "Tanh": _written("np.tanh({x})"),
    "Sigmoid": _written("sigmoid({x})"),
    "Silu": _written("{x} * sigmoid({x})"),
    "Softplus": _written("softplus({beta} * {x}) / {beta}"),
    "Softsign": _written("{x} / (1.0 + np.abs({x}))"),
    "Mish": _written("{x} * np.tanh(softplus({x}))"),
    "Softmax": _written("softmax({x}, {axis})"),
    "LogSoftmax": _written("np.log(softmax({x}, {axis}))"),
}
