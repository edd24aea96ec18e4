"""ONNX files (onnx.ai) of declared models, for batches of any size. It needs the extra `onnx`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import write_whole
from ..errors import SettingsError
from ..layers import Layer
from .parts import Rule, array_of, follow, input_of, sizes

OPSET, IR = 21, 10


def export_onnx(model: Layer, path: str | Path, input: tuple[int, ...] | None = None) -> None:
    """Write a model as it infers, in f32: `x` (batch, ...) to `y`."""
    try:
        import onnx
        from onnx import helper
    except ImportError:
        raise SettingsError(
            "export_onnx: onnx is not installed\n  pip install 'autograph-nn[onnx]'"
        ) from None
    shape = input_of(model, input)
    graph = Graph(helper, len(shape) + 1)
    y = follow(graph, model, "x", "", RULES, lambda a, b: graph.node("Add", a, b))
    graph.nodes.append(helper.make_node("Identity", [y], ["y"]))
    floats = onnx.TensorProto.FLOAT
    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            type(model).__name__,
            [helper.make_tensor_value_info("x", floats, ["batch", *shape])],
            [helper.make_tensor_value_info("y", floats, None)],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="autograph",
    )
    made = onnx.shape_inference.infer_shapes(made)
    onnx.checker.check_model(made, full_check=True)
    write_whole(Path(path), [made.SerializeToString()])


class Graph:
    """Nodes and constants as they are added."""

    def __init__(self, helper: Any, ndim: int) -> None:
        self.helper, self.ndim = helper, ndim
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; the name of its output."""
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def constant(self, name: str, array: np.ndarray[Any, Any]) -> str:
        """Add a constant; its name."""
        from onnx import numpy_helper

        if all(each.name != name for each in self.constants):
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def number(self, value: float) -> str:
        """Add a number as a constant."""
        return self.constant(f"number {value!r}", np.array(value, np.float32))


# -- rules -----------------------------------------------------------------------------


def _dense(g: Graph, layer: Any, x: str, path: str) -> str:
    y = g.node("MatMul", x, g.constant(f"{path}.weight", array_of(layer.weight)))
    if layer.bias is None:
        return y
    return g.node("Add", y, g.constant(f"{path}.bias", array_of(layer.bias)))


def _conv(kind: str) -> Rule[str]:
    def rule(g: Graph, layer: Any, x: str, path: str) -> str:
        names = [x, g.constant(f"{path}.weight", array_of(layer.weight))]
        if layer.bias is not None:
            names.append(g.constant(f"{path}.bias", array_of(layer.bias)))
        more = {}
        if kind == "ConvTranspose":
            more["output_padding"] = sizes(layer.output_padding, g.ndim)
        return g.node(
            kind,
            *names,
            strides=sizes(layer.stride, g.ndim),
            pads=sizes(layer.padding, g.ndim) * 2,
            dilations=sizes(layer.dilation, g.ndim),
            group=layer.groups,
            **more,
        )

    return rule


def _pool(kind: str, **more: Any) -> Rule[str]:
    def rule(g: Graph, layer: Any, x: str, path: str) -> str:
        return g.node(
            kind,
            x,
            kernel_shape=sizes(layer.filter, g.ndim),
            strides=sizes(layer.filter if layer.stride is None else layer.stride, g.ndim),
            pads=sizes(layer.padding, g.ndim) * 2,
            **more,
        )

    return rule


def _plain(kind: str, **fixed: Any) -> Rule[str]:
    return lambda g, layer, x, path: g.node(kind, x, **fixed)


def _same(g: Graph, layer: Any, x: str, path: str) -> str:
    return x


def _flatten(g: Graph, layer: Any, x: str, path: str) -> str:
    g.ndim = 2
    return g.node("Flatten", x, axis=1)


def _global(kind: str) -> Rule[str]:
    def rule(g: Graph, layer: Any, x: str, path: str) -> str:
        g.ndim = 2
        return g.node("Flatten", g.node(kind, x), axis=1)

    return rule


def _affine(g: Graph, layer: Any, path: str, size: int = 0) -> tuple[str, str]:
    weight = np.ones(size, np.float32) if layer.weight is None else array_of(layer.weight)
    bias = getattr(layer, "bias", None)
    shift = np.zeros(weight.shape, np.float32) if bias is None else array_of(bias)
    return g.constant(f"{path}.weight", weight), g.constant(f"{path}.bias", shift)


def _batch_norm(g: Graph, layer: Any, x: str, path: str) -> str:
    scale, shift = _affine(g, layer, path, layer.running_mean.size)
    mean = g.constant(f"{path}.running_mean", array_of(layer.running_mean))
    variance = g.constant(f"{path}.running_variance", array_of(layer.running_variance))
    return g.node("BatchNormalization", x, scale, shift, mean, variance, epsilon=layer.epsilon)


def _layer_norm(g: Graph, layer: Any, x: str, path: str) -> str:
    if layer.weight is None:
        raise SettingsError(f"export: {path} has no weight, which ONNX wants\n  build it affine")
    scale, shift = _affine(g, layer, path)
    return g.node("LayerNormalization", x, scale, shift, axis=-layer.axes, epsilon=layer.epsilon)


def _prelu(g: Graph, layer: Any, x: str, path: str) -> str:
    slope = array_of(layer.slope)
    if slope.size > 1:
        slope = slope.reshape(-1, *[1] * (g.ndim - 2))
    return g.node("PRelu", x, g.constant(f"{path}.slope", slope))


def _softplus(g: Graph, layer: Any, x: str, path: str) -> str:
    if layer.beta == 1:
        return g.node("Softplus", x)
    beta = g.number(layer.beta)
    return g.node("Div", g.node("Softplus", g.node("Mul", x, beta)), beta)


def _gelu(g: Graph, layer: Any, x: str, path: str) -> str:
    return g.node("Gelu", x, approximate="tanh" if layer.approximate else "none")


RULES: dict[str, Rule[str]] = {
    "Dense": _dense,
    **{f"Conv{i}": _conv("Conv") for i in (1, 2, 3)},
    **{f"ConvTransposed{i}": _conv("ConvTranspose") for i in (1, 2, 3)},
    **{f"MaxPool{i}": _pool("MaxPool") for i in (1, 2, 3)},
    **{f"MeanPool{i}": _pool("AveragePool", count_include_pad=1) for i in (1, 2, 3)},
    **{f"BatchNorm{i}": _batch_norm for i in (1, 2, 3)},
    "GlobalMaxPool": _global("GlobalMaxPool"),
    "GlobalMeanPool": _global("GlobalAveragePool"),
    "LayerNorm": _layer_norm,
    "Flatten": _flatten,
    "Identity": _same,
    "Dropout": _same,
    "Relu": _plain("Relu"),
    "Tanh": _plain("Tanh"),
    "Sigmoid": _plain("Sigmoid"),
    "Softsign": _plain("Softsign"),
    "Mish": _plain("Mish"),
    "Selu": _plain("Selu"),
    "Hardswish": _plain("HardSwish"),
    "Hardsigmoid": _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    "Gelu": _gelu,
    "Silu": lambda g, layer, x, path: g.node("Mul", x, g.node("Sigmoid", x)),
    "Softplus": _softplus,
    "Prelu": _prelu,
    "LeakyRelu": lambda g, layer, x, path: g.node("LeakyRelu", x, alpha=layer.slope),
    "Elu": lambda g, layer, x, path: g.node("Elu", x, alpha=layer.alpha),
    "Celu": lambda g, layer, x, path: g.node("Celu", x, alpha=layer.alpha),
    "Relu6": lambda g, layer, x, path: g.node("Clip", x, g.number(0.0), g.number(6.0)),
    "Hardtanh": lambda g, layer, x, path: g.node(
        "Clip", x, g.number(layer.low), g.number(layer.high)
    ),
    "Softmax": lambda g, layer, x, path: g.node("Softmax", x, axis=layer.axis),
    "LogSoftmax": lambda g, layer, x, path: g.node("LogSoftmax", x, axis=layer.axis),
}
