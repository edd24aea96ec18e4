"""Rules of the ONNX import: which layer a node, or a node and the next, stands for.

A rule gets the walk, a node and the value it takes, and answers what was found: None where the
node is no such layer. Settings that no layer has are refused, never left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class Node(NamedTuple):
    """A node of a graph."""

    kind: str
    name: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]


@dataclass
class Found:
    """A layer: its name, its description (None: nothing), its weights by path, what comes out,
    and how many nodes may take its input."""

    name: str
    told: dict[str, Any] | None
    values: dict[str, Array] = field(default_factory=dict)
    output: str = ""
    takers: int = 1


Rule = Callable[[Any, Node, str], Found | None]


def _weights(walk: Any, node: Node) -> list[Array] | None:
    """The constants that a node takes after its data; None if one of them is none."""
    names = [each for each in node.inputs[1:] if each]
    return [walk.constants[each] for each in names] if set(names) <= set(walk.constants) else None


def _name(node: Node, kind: str) -> str:
    """The layer's path of its weight; else one of its kind."""
    for each in node.inputs[1:]:
        path, dot, last = each.rpartition(".")
        if dot and last in ("weight", "bias", "slope"):
            return path
    parts = node.name.split("/")  # torch writes /conv1/Conv
    return parts[-2] if len(parts) > 2 else kind.lower()


def _must(walk: Any, node: Node, **wanted: Any) -> None:
    """Refuse attributes that are not what a layer computes."""
    for name, value in wanted.items():
        given = node.attributes.get(name, value)
        given = given.decode() if isinstance(given, bytes) else given
        if given != value:
            raise walk.refused(node, f"its {name} is {given}, not {value}")


def _only_taker(walk: Any, value: str, kind: str) -> Node | None:
    takers = walk.takers.get(value, [])
    return takers[0] if len(takers) == 1 and takers[0].kind == kind else None


def _dense(walk: Any, node: Node, value: str) -> Found | None:
    """MatMul, or Gemm, with what an Add after it adds."""
    given = _weights(walk, node)
    if given is None or node.inputs[0] != value or given[0].ndim != 2:
        return None
    weight = given[0]
    bias = given[1] if len(given) > 1 else None
    output, name = node.output, _name(node, "dense")
    if node.kind == "Gemm":
        _must(walk, node, alpha=1.0, beta=1.0, transA=0)
        weight = weight.T if node.attributes.get("transB") else weight
    elif (add := _only_taker(walk, output, "Add")) is not None:
        others = [walk.constants.get(each) for each in add.inputs if each != output]
        if len(others) == 1 and others[0] is not None and others[0].shape == weight.shape[1:]:
            bias, output = others[0], add.output
    told = {"kind": "Dense", "outputs": weight.shape[1], "inputs": weight.shape[0]}
    values = {"weight": weight}
    if bias is not None:
        values["bias"] = np.broadcast_to(bias, (weight.shape[1],))
    return Found(name, {**told, "bias": bias is not None}, values, output)


def _around(walk: Any, node: Node, axes: int) -> dict[str, Any]:
    """Stride, padding and dilation of a convolution or a pool."""
    given = node.attributes
    told = {"stride": list(given.get("strides", [1] * axes))}
    told["dilation"] = list(given.get("dilations", [1] * axes))
    if given.get("auto_pad") == b"SAME_UPPER" and node.kind == "Conv":
        return {**told, "padding": "same"}
    _must(walk, node, auto_pad="NOTSET")
    pads = list(given.get("pads", [0] * 2 * axes))
    if pads[:axes] != pads[axes:]:
        raise walk.refused(node, f"its padding differs from side to side: {pads}")
    return {**told, "padding": pads[:axes]}


def _sized(told: dict[str, Any], axes: int) -> dict[str, Any]:
    """Sizes of one axis as numbers."""
    if axes > 1:
        return told
    return {k: v[0] if isinstance(v, list) else v for k, v in told.items()}


def _conv(kind: str) -> Rule:
    def rule(walk: Any, node: Node, value: str) -> Found | None:
        given = _weights(walk, node)
        if given is None or node.inputs[0] != value:
            return None
        weight, axes = given[0], given[0].ndim - 2
        if axes not in (1, 2, 3):
            raise walk.refused(node, f"it has {axes} axes")
        groups = node.attributes.get("group", 1)
        outputs, inputs = weight.shape[0], weight.shape[1] * groups
        told: dict[str, Any] = {**_around(walk, node, axes), "filter": list(weight.shape[2:])}
        if kind == "ConvTransposed":
            outputs, inputs = weight.shape[1] * groups, weight.shape[0]
            extra = node.attributes.get("output_padding", [0] * axes)
            told["output_padding"] = list(extra)
            if "output_shape" in node.attributes:
                raise walk.refused(node, "it says output_shape; write output_padding")
        told = {"kind": f"{kind}{axes}", **_sized(told, axes)}
        told |= {"outputs": outputs, "inputs": inputs, "groups": groups, "bias": len(given) > 1}
        values = dict(zip(("weight", "bias"), given, strict=False))
        return Found(_name(node, "conv"), told, values, node.output)

    return rule


def _pool(kind: str) -> Rule:
    def rule(walk: Any, node: Node, value: str) -> Found | None:
        filter = list(node.attributes["kernel_shape"])
        around = _around(walk, node, len(filter))
        if kind == "MeanPool":
            if around.pop("dilation") != [1] * len(filter):
                raise walk.refused(node, "it is dilated")
            if any(around["padding"]):
                around["count_padding"] = bool(node.attributes.get("count_include_pad"))
        told = _sized({**around, "filter": filter}, len(filter))
        told = {"kind": f"{kind}{len(filter)}", **told}
        if node.attributes.get("ceil_mode"):
            told["ceil"] = True
        return Found(_name(node, "pool"), told, {}, node.output)

    return rule


def _batch_norm(walk: Any, node: Node, value: str) -> Found | None:
    given = _weights(walk, node)
    if given is None:
        return None
    _must(walk, node, training_mode=0)
    names = ("weight", "bias", "running_mean", "running_variance")
    axes = max(walk.ndims.get(value, 4) - 2, 1)
    told = {
        "kind": f"BatchNorm{axes}",
        "inputs": len(given[0]),
        "epsilon": float(node.attributes.get("epsilon", 1e-5)),
    }
    return Found(_name(node, "norm"), told, dict(zip(names, given, strict=True)), node.output)


def _layer_norm(walk: Any, node: Node, value: str) -> Found | None:
    given = _weights(walk, node)
    axis = node.attributes.get("axis", -1)
    if given is None or axis >= 0 or given[0].ndim != -axis:
        return None
    told = {
        "kind": "LayerNorm",
        "inputs": list(given[0].shape) if axis < -1 else given[0].size,
        "epsilon": float(node.attributes.get("epsilon", 1e-5)),
        "bias": len(given) > 1,
    }
    values = dict(zip(("weight", "bias"), given, strict=False))
    return Found(_name(node, "norm"), told, values, node.output)


def _flatten(walk: Any, node: Node, value: str) -> Found | None:
    if node.kind == "Flatten":
        _must(walk, node, axis=1)
    else:
        given = _weights(walk, node)
        if given is None or len(given[0]) != 2 or (given[0][1] != -1 and given[0][0] > 0):
            return None
    return Found(_name(node, "flatten"), {"kind": "Flatten"}, {}, node.output)


def _global(kind: str) -> Rule:
    """A pool to size 1 that keeps its axes."""
    return lambda walk, node, value: Found("pool", {"kind": kind, "size": 1}, {}, node.output)


def _nothing(walk: Any, node: Node, value: str) -> Found | None:
    return Found("identity", None, {}, node.output)


def _plain(kind: str, **settings: tuple[str, float]) -> Rule:
    """A layer by its kind, its settings being attributes with their defaults."""

    def rule(walk: Any, node: Node, value: str) -> Found | None:
        told = {
            ours: float(node.attributes.get(theirs, default))
            for ours, (theirs, default) in settings.items()
        }
        return Found(_name(node, kind), {"kind": kind, **told}, {}, node.output)

    return rule


def _hard_sigmoid(walk: Any, node: Node, value: str) -> Found | None:
    alpha, beta = (node.attributes.get(k, d) for k, d in (("alpha", 0.2), ("beta", 0.5)))
    if abs(alpha - 1 / 6) > 1e-6 or beta != 0.5:
        raise walk.refused(node, f"it is {alpha:g} x + {beta:g}, not x / 6 + 1/2")
    return Found("hardsigmoid", {"kind": "Hardsigmoid"}, {}, node.output)


def _clip(walk: Any, node: Node, value: str) -> Found | None:
    given = _weights(walk, node)
    if given is None or len(given) != 2:
        return None
    low, high = (float(each) for each in given)
    told = {"kind": "Hardtanh", "low": low, "high": high}
    told = {"kind": "Relu6"} if (low, high) == (0.0, 6.0) else told
    return Found(str(told["kind"]).lower(), told, {}, node.output)


def _prelu(walk: Any, node: Node, value: str) -> Found | None:
    given = _weights(walk, node)
    if given is None:
        return None
    count = given[0].size
    told = {"kind": "Prelu", "shared": True} if count == 1 else {"kind": "Prelu", "inputs": count}
    return Found(_name(node, "prelu"), told, {"slope": given[0]}, node.output)


def _sigmoid(walk: Any, node: Node, value: str) -> Found | None:
    """A sigmoid; x times its sigmoid is Silu."""
    product = _only_taker(walk, node.output, "Mul")
    if product is not None and set(product.inputs) == {value, node.output}:
        return Found("silu", {"kind": "Silu"}, {}, product.output, takers=2)
    return Found("sigmoid", {"kind": "Sigmoid"}, {}, node.output)


def _gelu(walk: Any, node: Node, value: str) -> Found | None:
    approximate = node.attributes.get("approximate", b"none") == b"tanh"
    return Found("gelu", {"kind": "Gelu", "approximate": approximate}, {}, node.output)


def _softmax(walk: Any, node: Node, value: str) -> Found | None:
    told = {"kind": node.kind, "axis": node.attributes.get("axis", -1)}
    return Found(node.kind.lower(), told, {}, node.output)


RULES: dict[str, Rule] = {
    "MatMul": _dense,
    "Gemm": _dense,
    "Conv": _conv("Conv"),
    "ConvTranspose": _conv("ConvTransposed"),
    "MaxPool": _pool("MaxPool"),
    "AveragePool": _pool("MeanPool"),
    "GlobalMaxPool": _global("AdaptiveMaxPool"),
    "GlobalAveragePool": _global("AdaptiveMeanPool"),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Flatten": _flatten,
    "Reshape": _flatten,
    "Identity": _nothing,
    "Dropout": _nothing,
    **{kind: _plain(kind) for kind in ("Relu", "Tanh", "Softsign", "Softplus", "Mish", "Selu")},
    "HardSwish": _plain("Hardswish"),
    "HardSigmoid": _hard_sigmoid,
    "Clip": _clip,
    "PRelu": _prelu,
    "LeakyRelu": _plain("LeakyRelu", slope=("alpha", 0.01)),
    "Elu": _plain("Elu", alpha=("alpha", 1.0)),
    "Celu": _plain("Celu", alpha=("alpha", 1.0)),
    "Sigmoid": _sigmoid,
    "Gelu": _gelu,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
}
