"""ONNX files (onnx.ai) of models, for batches of any size. It needs the extra `onnx`.

The forward is run once on a value that has a shape, a name and no numbers: each layer, or op where
a forward is written by hand, adds the nodes of its rule.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import write_whole
from ..errors import SettingsError
from ..imports import needed
from ..layers import Layer, hooks
from ..layers.stored import named_tensors
from ..op import Op
from ..outline import Outline
from ..plan import promoted
from ..scalar_type import F32, ScalarType
from ..tensor import Tensor, no_grad
from ..tensor.blank import Blank, apply_blank, blank
from .onnx_layers import RULES as LAYERS
from .onnx_ops import BATCH
from .onnx_ops import RULES as OPS
from .parts import array_of, input_of

OPSET, IR = 21, 10
KEY = "autograph"  # of the description, in the file's metadata


def onnx_of(caller: str) -> Any:
    """The package; refused with the remedy where it is missing."""
    return needed("onnx", caller, "'autograph-nn[onnx]'")


def export_onnx(
    model: Layer,
    path: str | Path,
    input: tuple[int, ...] | None = None,
    *,
    input_type: ScalarType | str = F32,
) -> None:
    """Write a model as it infers, in f32: `x` (batch, ...) to `y`.

    `input` is the shape of a sample where the declaration does not say it, `input_type` i64 for
    models of indices.
    """
    made = exported(model, input_of(model, input), ScalarType(input_type))
    write_whole(Path(path), [made.SerializeToString()])


def exported(model: Layer, shape: tuple[int, ...], scalar_type: ScalarType) -> Any:
    """The model as onnx has it in memory."""
    onnx = onnx_of("export_onnx")
    helper = onnx.helper
    kinds = {each.scalar_type for each in model.parameters()}
    if any(each.is_float and each is not F32 for each in kinds):
        model = copy.deepcopy(model).cast(F32)
    graph = Graph(onnx, model)
    x = _traced(Outline((BATCH, *shape), scalar_type), graph, "x")
    with _followed(graph), no_grad():
        y = model(x)
    if not isinstance(y, Traced):
        raise SettingsError(
            f"export: {type(model).__name__} answers a {type(y).__name__}\n  one tensor is wanted"
        )
    graph.nodes.append(helper.make_node("Identity", [y.name], ["y"]))
    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            type(model).__name__,
            [helper.make_tensor_value_info("x", graph.type_of(x.outline), ["batch", *shape])],
            [helper.make_tensor_value_info("y", graph.type_of(y.outline), None)],
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="autograph",
    )
    told = {"model": model.describe(), "input": [*shape], "input_type": str(scalar_type)}
    helper.set_model_props(made, {KEY: json.dumps(told)})
    made = onnx.shape_inference.infer_shapes(made)
    onnx.checker.check_model(made, full_check=True)
    return made


class Graph:
    """Nodes and constants as they are added."""

    def __init__(self, onnx: Any, model: Layer) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}  # of values that enter a layer
        self.layers = {id(each): path for path, each in model.named_layers().items()}
        tensors = named_tensors(model)
        self._paths = {id(each): path for path, each in tensors.items()}

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; the name of its output."""
        return self.nodes_of(kind, 1, *inputs, **attributes)[0]

    def nodes_of(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node; the names of its outputs."""
        name = f"{kind.lower()}{len(self.nodes)}"
        names = [name] if count == 1 else [f"{name}.{i}" for i in range(count)]
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, names, name, **attributes))
        return names

    def constant(self, name: str, array: Any) -> str:
        """Add a constant; its name."""
        if name not in self.constants:
            values = np.asarray(array, order="C")
            self.constants[name] = self.onnx.numpy_helper.from_array(values, name)
        return name

    def number(self, value: float, scalar_type: ScalarType = F32) -> str:
        """Add a number as a constant."""
        return self.constant(f"{scalar_type} {value!r}", np.array(value, scalar_type.dtype))

    def ints(self, *values: int) -> str:
        """Add whole numbers as a constant."""
        return self.constant(f"i64 {values}", np.array(values, np.int64))

    def tensor(self, x: Tensor) -> str:
        """Add a parameter, a buffer, or a tensor that a forward has made; its name."""
        path = self._paths.get(id(x))
        if path is not None:
            return self.constant(path, array_of(x) if x.scalar_type.is_float else x.numpy())
        if BATCH in x.shape:
            raise SettingsError(
                f"export: a tensor is made for a batch of one size\n  shape  {x.shape}\n"
                f"  make it of sizes that do not depend on the batch"
            )
        return self.constant(f"made {len(self.nodes)} {len(self.constants)}", x.numpy())

    def type_of(self, outline: Outline) -> int:
        """How onnx calls a scalar type."""
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(outline.scalar_type.dtype)))


class Traced(Blank):
    """A value of a graph: it has a shape and a name."""

    __slots__ = ("graph", "name")
    __apply_rank__ = 2

    graph: Graph
    name: str

    @staticmethod
    def __apply__(op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
        graph = next(each.graph for each in inputs if isinstance(each, Traced))
        y = apply_blank(op, inputs, settings)
        rule = OPS.get(op.name)
        if rule is None or not isinstance(y, Blank):
            raise SettingsError(
                f"export: there is no rule for the op {op.name}\n  rules  {', '.join(sorted(OPS))}"
            )
        given: list[Any] = [*inputs, *[None] * (len(op.inputs) - len(inputs))]
        known = [each.outline if isinstance(each, Tensor) else _kind(each) for each in given]
        outlines: Any = promoted(op, known, None)[0]
        names = [_name(graph, each, wanted) for each, wanted in zip(given, outlines, strict=True)]
        name = rule(graph, names, outlines, op.complete(settings), y.outline)
        return _traced(y.outline, graph, name)


def _kind(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return Outline.of(np.asarray(value))
    return None if value is None else type(value)


def _name(graph: Graph, value: Any, wanted: Any) -> str:
    """The name of an input, cast to the scalar type in which the op computes."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        scalar_type = wanted.scalar_type if isinstance(wanted, Outline) else F32
        return graph.number(value, scalar_type)
    if isinstance(value, np.ndarray | np.generic):
        value = Tensor(np.asarray(value))
    name = value.name if isinstance(value, Traced) else graph.tensor(value)
    if isinstance(wanted, Outline) and wanted.scalar_type is not value.scalar_type:
        name = graph.node("Cast", name, to=graph.type_of(wanted))
    return name


def _traced(outline: Outline, graph: Graph, name: str) -> Any:
    made = blank(outline, Traced)
    made.graph, made.name = graph, name
    return made


@contextmanager
def _followed(graph: Graph) -> Iterator[None]:
    """Within the block, layers that are called with a traced value and have a rule add its nodes,
    each by itself; others run their forward."""
    call, apart = Layer.__call__, hooks.apart.wanted

    def called(self: Layer, *inputs: Any, **settings: Any) -> Any:
        x = inputs[0] if inputs else None
        path = graph.layers.get(id(self))
        if not isinstance(x, Traced) or x.graph is not graph or path is None:
            return call(self, *inputs, **settings)
        declared = hasattr(type(self), "__fields_declared__")
        rule = None if declared else LAYERS.get(type(self).__name__)  # with plain settings
        if rule is None or len(inputs) > 1 or settings:
            return call(self, *inputs, **settings)
        y: Any = call(self, blank(x.outline))
        graph.shapes[x.name] = x.shape
        return _traced(y.outline, graph, rule(graph, self, x.name, path))

    Layer.__call__, hooks.apart.wanted = called, True  # type: ignore[method-assign]
    try:
        yield
    finally:
        Layer.__call__, hooks.apart.wanted = call, apart  # type: ignore[method-assign]
