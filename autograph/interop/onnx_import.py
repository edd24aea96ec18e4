"""ONNX files read as models: layers found in the graph, with their weights.

A file that `export_onnx` wrote says in its metadata which model it is; that is believed if the
graph is the one which such a model is exported to. Any other file is walked from its input to its
output, through branches that meet again in a sum. Nothing in a file is executed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..device import HOST, Device
from ..errors import AutographError, CheckpointError
from ..layers import Layer, from_description
from ..layers.stored import named_tensors
from ..scalar_type import ScalarType
from ..tensor import Tensor, no_grad
from .onnx_file import KEY, exported, onnx_of
from .onnx_nodes import RULES, Found, Node

Array = np.ndarray[Any, Any]
LARGEST = 2 << 30  # bytes; protocol buffers hold no more


def import_onnx(
    path: str | Path, *, layers: Iterable[type[Layer]] = (), device: Device | str = HOST
) -> Layer:
    """The model of an ONNX file, in f32; `layers` are own classes that it may name."""
    onnx = onnx_of("import_onnx")
    if not Path(path).exists():
        raise FileNotFoundError(2, "no such file", str(path))
    if not Path(path).is_file() or Path(path).stat().st_size > LARGEST:
        raise CheckpointError(f"import_onnx: {path} is no ONNX file")
    try:
        file = onnx.load_model(str(path), load_external_data=False)
        onnx.checker.check_model(file)
    except Exception as error:  # protobuf and onnx raise what they like
        raise CheckpointError(
            f"import_onnx: {path} is no ONNX file ({str(error).splitlines()[0]})"
        ) from None
    reason: Exception | None = None
    try:
        model = _described(onnx, file, layers)
        if model is not None:
            return model.to(device)
    except (AutographError, ValueError, KeyError, TypeError) as error:
        reason = error
    try:
        return _walked(onnx, onnx.shape_inference.infer_shapes(file), str(path)).to(device)
    except AutographError as error:
        if isinstance(reason, AutographError):
            error.add_note(f"  as it describes itself: {reason}")
        raise


def _described(onnx: Any, file: Any, layers: Iterable[type[Layer]]) -> Layer | None:
    """The model that the metadata describes, if the graph is that of such a model."""
    told = next((each.value for each in file.metadata_props if each.key == KEY), None)
    if told is None:
        return None
    said = json.loads(told)
    model: Layer = from_description(said["model"], layers).build()
    values = {each.name: onnx.numpy_helper.to_array(each) for each in file.graph.initializer}
    fill(model, {name: values[name] for name in named_tensors(model) if name in values})
    again = exported(model, tuple(said["input"]), ScalarType(said["input_type"]))
    return model if _parts(again) == _parts(file) else None


def _parts(file: Any) -> tuple[list[bytes], dict[str, bytes]]:
    nodes = [each.SerializeToString(deterministic=True) for each in file.graph.node]
    constants = {
        each.name: each.SerializeToString(deterministic=True) for each in file.graph.initializer
    }
    return nodes, constants


def fill(model: Layer, values: Mapping[str, Array]) -> None:
    """Write values into parameters and buffers by path."""
    tensors = named_tensors(model)
    with no_grad():
        for path, value in values.items():
            tensors[path][...] = Tensor(np.ascontiguousarray(value).reshape(tensors[path].shape))


def _walked(onnx: Any, file: Any, path: str) -> Layer:
    graph = Walk(onnx, file, path)
    inputs = [each for each in file.graph.input if each.name not in graph.constants]
    if len(inputs) != 1 or len(file.graph.output) != 1:
        raise CheckpointError(
            f"import_onnx: {path}: one input and one output are wanted\n"
            f"  inputs   {', '.join(each.name for each in inputs)}\n"
            f"  outputs  {', '.join(each.name for each in file.graph.output)}"
        )
    fields, values = graph.chain(inputs[0].name, file.graph.output[0].name)
    name = re.sub(r"\W", "", file.graph.name) or "Model"
    told: dict[str, Any] = {"kind": "Sequential", "name": name, "fields": fields}
    sizes = [each.dim_value for each in inputs[0].type.tensor_type.shape.dim][1:]
    if sizes and all(sizes):
        told["input"] = sizes
    model: Layer = from_description(told).build()
    fill(model, values)
    return model


class Walk:
    """A graph: who makes each value, who takes it, and which values are constants."""

    def __init__(self, onnx: Any, file: Any, path: str) -> None:
        self.path = path
        to_array = onnx.numpy_helper.to_array
        self.constants: dict[str, Array] = {}
        for each in file.graph.initializer:
            if each.data_location == onnx.TensorProto.EXTERNAL:
                raise CheckpointError(
                    f"import_onnx: {path}: {each.name} lies in another file\n"
                    f"  write the model into one file:  onnx.save(model, path)"
                )
            self.constants[each.name] = to_array(each)
        known = [*file.graph.input, *file.graph.value_info]
        self.ndims = {each.name: len(each.type.tensor_type.shape.dim) for each in known}
        self.takers: dict[str, list[Node]] = {}
        for each in file.graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in each.attribute}
            if each.op_type == "Constant" and "value" in attributes:
                self.constants[each.output[0]] = to_array(attributes["value"])
                continue
            if each.input and set(filter(None, each.input)) <= set(self.constants):
                folded = _folded(each.op_type, [self.constants[i] for i in each.input], attributes)
                if folded is not None:
                    self.constants[each.output[0]] = folded
                    continue
            node = Node(each.op_type, each.name, list(each.input), each.output[0], attributes)
            for name in dict.fromkeys(each.input):
                if name and name not in self.constants:
                    self.takers.setdefault(name, []).append(node)

    def chain(self, start: str, end: str) -> tuple[dict[str, Any], dict[str, Array]]:
        """Descriptions of the layers from one value to another by name, and their weights by
        path."""
        fields: dict[str, Any] = {}
        values: dict[str, Array] = {}
        while start != end:
            found = self._next(start)
            name = _free(found.name, fields)
            if found.told is not None:
                fields[name] = found.told
                values |= {f"{name}.{path}": value for path, value in found.values.items()}
            start = found.output
        return fields, values

    def _next(self, value: str) -> Found:
        """The layer that takes a value."""
        takers = self.takers.get(value, [])
        if not takers:
            raise CheckpointError(f"import_onnx: {self.path}: {value} leads nowhere")
        for node in takers:
            rule = RULES.get(node.kind)
            found = None if rule is None else rule(self, node, value)
            if found is not None and len(takers) <= found.takers:
                return found
        if len(takers) == 2:
            return self._residual(value)
        raise self.refused(takers[0])

    def _residual(self, value: str) -> Found:
        """Two ways that meet again in a sum, one of which may be short."""
        ends = [self._sums(value), self._sums(value)]
        for add in ends[0]:
            for order in ((0, 1), (1, 0)):
                with suppress(CheckpointError):
                    ways = [self._way(value, add.inputs[i]) for i in order]
                    (body, inner), (shortcut, beside) = ways
                    if not body:
                        continue
                    told: dict[str, Any] = {"kind": "Residual", "body": _group("Body", body)}
                    values = {f"body.{name}": each for name, each in inner.items()}
                    if shortcut:
                        told["shortcut"] = _group("Shortcut", shortcut)
                        values |= {f"shortcut.{name}": each for name, each in beside.items()}
                    return Found("residual", told, values, add.output)
        raise self.refused(self.takers[value][0])

    def _way(self, start: str, end: str) -> tuple[dict[str, Any], dict[str, Array]]:
        """The layers of one way, begun with the taker of `start` that leads to `end`."""
        if start == end:
            return {}, {}
        takers = self.takers[start]
        for node in takers:
            self.takers[start] = [node]
            try:
                with suppress(CheckpointError):
                    return self.chain(start, end)
            finally:
                self.takers[start] = takers
        raise CheckpointError("no such way")

    def _sums(self, value: str) -> list[Node]:
        """The sums of two values that come after one, the nearest first."""
        found, seen, ahead = [], {value}, [value]
        while ahead:
            for node in self.takers.get(ahead.pop(0), []):
                if node.kind == "Add" and not any(each in self.constants for each in node.inputs):
                    found.append(node)
                if node.output not in seen:
                    seen.add(node.output)
                    ahead.append(node.output)
        return list({id(each): each for each in found}.values())

    def refused(self, node: Node, why: str = "there is no rule for it") -> CheckpointError:
        """The error of a node that is no layer."""
        return CheckpointError(
            f"import_onnx: {self.path}: {node.name or node.output} is a {node.kind}, and {why}\n"
            f"  rules  {', '.join(sorted(RULES))}"
        )


def _folded(kind: str, given: list[Array], attributes: Mapping[str, Any]) -> Array | None:
    """What a node makes of constants, where it only lays them out."""
    match kind:
        case "Identity":
            return given[0]
        case "Transpose":
            return given[0].transpose(attributes.get("perm"))
        case "Reshape" if 0 not in given[1]:
            return given[0].reshape(given[1])
    return None


def _group(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "Sequential", "name": name, "fields": fields}


def _free(name: str, fields: Mapping[str, Any]) -> str:
    """A name of a field, not taken yet, that hides nothing of Layer."""
    name = re.sub(r"\W", "_", name).strip("_") or "layer"
    name = name if name[0].isalpha() else f"layer_{name}"
    numbers = (f"{name}{i}" for i in range(1, len(fields) + 2))
    taken = name in fields or hasattr(Layer, name)
    return next(each for each in numbers if each not in fields) if taken else name
