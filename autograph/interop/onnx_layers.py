"""Rules of the ONNX export by kind of layer: for those that ONNX has an operator for, and no op has
a rule that says the same.

A rule gets the graph, the layer, the name of what comes in and the layer's path; it adds nodes and
answers the name of what goes out. Every parameter is a constant under its own path and in its own
shape, from which an import reads it back; what ONNX wants otherwise is computed by nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import SettingsError
from .parts import refuse_own_statistics, sizes

Rule = Callable[[Any, Any, str, str], str]


def _conv(kind: str) -> Rule:
    def rule(g: Any, layer: Any, x: str, path: str) -> str:
        ndim = layer.weight.ndim
        names = [x, g.tensor(layer.weight)]
        if layer.bias is not None:
            names.append(g.tensor(layer.bias))
        more = {}
        if kind == "ConvTranspose":
            more["output_padding"] = sizes(layer.output_padding, ndim)
        return g.node(
            kind,
            *names,
            strides=sizes(layer.stride, ndim),
            pads=sizes(layer.padding, ndim) * 2,
            dilations=sizes(layer.dilation, ndim),
            group=layer.groups,
            **more,
        )

    return rule


def _padded(g: Any, layer: Any, x: str, path: str) -> str:
    modes = {"replicate": "edge", "circular": "wrap"}
    mode = modes.get(layer.padding_mode, layer.padding_mode)
    before, after = zip(*layer.widths, strict=True)
    around = g.node("Pad", x, g.ints(*before, *after), mode=mode)
    return _conv("Conv")(g, layer, around, path)


def _pool(kind: str, axes: int, **more: Any) -> Rule:
    def rule(g: Any, layer: Any, x: str, path: str) -> str:
        return g.node(
            kind,
            x,
            kernel_shape=sizes(layer.filter, axes + 2),
            strides=sizes(layer.filter if layer.stride is None else layer.stride, axes + 2),
            pads=sizes(layer.padding, axes + 2) * 2,
            **more,
        )

    return rule


def _global(kind: str) -> Rule:
    return lambda g, layer, x, path: g.node("Flatten", g.node(kind, x), axis=1)


def _batch_norm(g: Any, layer: Any, x: str, path: str) -> str:
    refuse_own_statistics(layer, path)
    mean, variance = g.tensor(layer.running_mean), g.tensor(layer.running_variance)
    size = layer.running_mean.size
    names = [
        g.constant(f"{path}.{name}", np.full(size, value, np.float32))
        if getattr(layer, name) is None
        else g.tensor(getattr(layer, name))
        for name, value in (("weight", 1), ("bias", 0))
    ]
    return g.node("BatchNormalization", x, *names, mean, variance, epsilon=layer.epsilon)


def _prelu(g: Any, layer: Any, x: str, path: str) -> str:
    slope = g.tensor(layer.slope)
    ndim = len(g.shapes[x])
    if layer.slope.size > 1 and ndim > 2:
        slope = g.node("Reshape", slope, g.ints(-1, *[1] * (ndim - 2)))
    return g.node("PRelu", x, slope)


def _softplus(g: Any, layer: Any, x: str, path: str) -> str:
    if layer.beta == 1:
        return g.node("Softplus", x)
    beta = g.number(layer.beta)
    return g.node("Div", g.node("Softplus", g.node("Mul", x, beta)), beta)


def _recurrent(kind: str, gates: tuple[int, ...], **fixed: Any) -> Rule:
    """ONNX reads (T, N, I) with weights (1, G * H, I), its gates in an order of its own."""

    def turned(g: Any, weight: Any) -> str:
        """(I, G * H), or a bias (G * H,), as (1, G * H, I) with the gates in ONNX's order."""
        name = g.tensor(weight)
        if weight.ndim == 2:
            name = g.node("Transpose", name, perm=[1, 0])
        parts = g.nodes_of("Split", len(gates), name, axis=0, num_outputs=len(gates))
        joined = g.node("Concat", *[parts[each] for each in gates], axis=0)
        return g.node("Unsqueeze", joined, g.ints(0))

    def biases(g: Any, layer: Any, i: int) -> str:
        """Those of the input beside those of the state."""
        first = layer.bias if kind == "LSTM" else layer.bias_x
        if not first:
            return ""
        one = turned(g, first[i])
        if kind == "GRU":
            return g.node("Concat", one, turned(g, layer.bias_h[i]), axis=1)
        zeros = g.constant(f"zeros {first[i].size}", np.zeros((1, first[i].size), np.float32))
        return g.node("Concat", one, zeros, axis=1)

    def rule(g: Any, layer: Any, x: str, path: str) -> str:
        size = layer.weight_h[0].shape[0]
        if getattr(layer, "projection", None):
            raise SettingsError(
                f"export: {path} projects its states, and ONNX has no such {kind}\n"
                f"  write  projection=None"
            )
        x = g.node("Transpose", x, perm=[1, 0, 2])  # (T, N, I)
        for first in range(0, len(layer.weight_h), layer.directions):
            places = range(first, first + layer.directions)
            inputs = [
                [turned(g, layer.weight_x[i]) for i in places],
                [turned(g, layer.weight_h[i]) for i in places],
                [biases(g, layer, i) for i in places],
            ]
            names = [
                each[0] if len(each) == 1 or not each[0] else g.node("Concat", *each, axis=0)
                for each in inputs
            ]
            y = g.node(
                kind,
                x,
                *names,
                hidden_size=size,
                direction="forward" if layer.directions == 1 else "bidirectional",
                **fixed,
            )  # (T, D, N, H)
            y = g.node("Transpose", y, perm=[0, 2, 1, 3])
            x = g.node("Reshape", y, g.ints(0, 0, layer.directions * size))
        return g.node("Transpose", x, perm=[1, 0, 2])

    return rule


RULES: dict[str, Rule] = {
    **{f"Conv{i}": _conv("Conv") for i in (1, 2, 3)},
    **{f"PaddedConv{i}": _padded for i in (1, 2, 3)},
    **{f"ConvTransposed{i}": _conv("ConvTranspose") for i in (1, 2, 3)},
    **{f"MaxPool{i}": _pool("MaxPool", i) for i in (1, 2, 3)},
    **{f"MeanPool{i}": _pool("AveragePool", i, count_include_pad=1) for i in (1, 2, 3)},
    **{f"BatchNorm{i}": _batch_norm for i in (1, 2, 3)},
    "GlobalMaxPool": _global("GlobalMaxPool"),
    "GlobalMeanPool": _global("GlobalAveragePool"),
    "LSTM": _recurrent("LSTM", (0, 3, 1, 2)),
    "GRU": _recurrent("GRU", (1, 0, 2), linear_before_reset=1),
    "Flatten": lambda g, layer, x, path: g.node("Flatten", x, axis=1),
    "Hardsigmoid": lambda g, layer, x, path: g.node("HardSigmoid", x, alpha=1 / 6, beta=0.5),
    "Softplus": _softplus,
    "Prelu": _prelu,
    "LeakyRelu": lambda g, layer, x, path: g.node("LeakyRelu", x, alpha=layer.slope),
    "Elu": lambda g, layer, x, path: g.node("Elu", x, alpha=layer.alpha),
    "Celu": lambda g, layer, x, path: g.node("Celu", x, alpha=layer.alpha),
    "Relu6": lambda g, layer, x, path: g.node("Clip", x, g.number(0.0), g.number(6.0)),
    "Hardtanh": lambda g, layer, x, path: g.node(
        "Clip", x, g.number(layer.low), g.number(layer.high)
    ),
}
