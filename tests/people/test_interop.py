"""Exports: every layer that has a rule gives the same numbers elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import layers
from autograph.errors import SettingsError
from autograph.interop import export_onnx, export_script
from autograph.interop.onnx_file import RULES as ONNX_RULES
from autograph.interop.script import RULES as SCRIPT_RULES
from autograph.layers import Layer, from_description
from examples.mnist.lenet5 import LeNet5

IMAGE = [6, 9, 8]
# The settings of a layer where its defaults are not enough, and the shape of a sample.
CASES: dict[str, tuple[dict[str, Any], list[int]]] = {
    "Dense": ({"outputs": 5, "bias": True}, [7]),
    "Conv1": ({"outputs": 4, "filter": 3, "stride": 2, "padding": 1, "bias": True}, [6, 11]),
    "Conv2": (
        {"outputs": 4, "filter": [3, 2], "stride": [2, 1], "padding": [1, 0], "dilation": [1, 2],
         "groups": 2, "bias": True}, IMAGE,
    ),
    "Conv3": ({"outputs": 3, "filter": 2}, [2, 4, 5, 4]),
    "ConvTransposed1": ({"outputs": 4, "filter": 3, "stride": 2}, [6, 7]),
    "ConvTransposed2": (
        {"outputs": 4, "filter": 3, "stride": 2, "padding": 1, "output_padding": 1, "groups": 2},
        IMAGE,
    ),
    "ConvTransposed3": ({"outputs": 2, "filter": 2}, [3, 3, 4, 3]),
    "MaxPool1": ({"filter": 3, "stride": 2, "padding": 1}, [3, 10]),
    "MaxPool2": ({"filter": 3, "stride": 2, "padding": 1}, IMAGE),
    "MaxPool3": ({"filter": 2}, [2, 4, 4, 4]),
    "MeanPool1": ({"filter": 2}, [3, 10]),
    "MeanPool2": ({"filter": 3, "stride": 2, "padding": 1}, IMAGE),
    "MeanPool3": ({"filter": 2}, [2, 4, 4, 4]),
    "BatchNorm1": ({}, [5]),
    "BatchNorm2": ({}, IMAGE),
    "BatchNorm3": ({"affine": False}, [2, 3, 3, 3]),
    "LayerNorm": ({}, [5]),
    "GlobalMaxPool": ({}, IMAGE),
    "GlobalMeanPool": ({}, IMAGE),
    "Flatten": ({}, IMAGE),
    "Prelu": ({}, IMAGE),
    "LeakyRelu": ({"slope": 0.2}, [9]),
    "Softplus": ({"beta": 2.0}, [9]),
    "Hardtanh": ({"low": -0.5, "high": 0.5}, [9]),
    "Gelu": ({"approximate": True}, [9]),
}  # fmt: skip


def built(kind: str) -> tuple[Layer, np.ndarray]:
    """A model of one such layer, its statistics not those it began with, and samples."""
    settings, shape = CASES.get(kind, ({}, [9]))
    fields = {"part": {"kind": kind, **settings}}
    told = {"kind": "Sequential", "name": "One", "input": shape, "fields": fields}
    model: Layer = from_description(told).build(seed=1)
    rng = np.random.default_rng(0)
    with ag.no_grad():
        for path, each in {**model.named_parameters(), **model.named_buffers()}.items():
            if "counter" not in path and each.scalar_type.is_float:
                each[...] = rng.uniform(0.2, 1.0, each.shape).astype(np.float32)
    return model, (2 * rng.normal(size=(3, *shape))).astype(np.float32)


def inferred(model: Layer, x: np.ndarray) -> np.ndarray:
    with ag.no_grad():
        return model(ag.Tensor(x)).numpy()


def in_script(model: Layer, x: np.ndarray, path: Path) -> np.ndarray:
    export_script(model, path)
    program: dict[str, Any] = {"__name__": "program"}
    exec(compile(path.read_text(), path, "exec"), program)
    return program["infer"](x)


def in_onnx(model: Layer, x: np.ndarray, path: Path) -> np.ndarray:
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    export_onnx(model, path)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("kind", sorted(SCRIPT_RULES))
def test_a_script_gives_the_same_numbers(kind: str, tmp_path: Path) -> None:
    model, x = built(kind)

    found = in_script(model, x, tmp_path / "model.py")

    np.testing.assert_allclose(found, inferred(model, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", sorted(ONNX_RULES))
def test_onnxruntime_gives_the_same_numbers(kind: str, tmp_path: Path) -> None:
    model, x = built(kind)

    found = in_onnx(model, x, tmp_path / "model.onnx")

    np.testing.assert_allclose(found, inferred(model, x), rtol=1e-4, atol=1e-5)


def test_lenet5_is_exported_both_ways(tmp_path: Path) -> None:
    model = LeNet5.build(scalar_type="bf16")
    x = np.random.default_rng(0).random((3, 1, 28, 28)).astype(np.float32)
    expected = inferred(model.cast("f32"), x)

    np.testing.assert_allclose(in_script(model, x, tmp_path / "lenet5.py"), expected, atol=1e-5)
    np.save(tmp_path / "x.npy", x)
    command = [sys.executable, str(tmp_path / "lenet5.py"), str(tmp_path / "x.npy")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.startswith("[[")
    np.testing.assert_allclose(in_onnx(model, x, tmp_path / "l.onnx"), expected, atol=1e-5)


def test_containers_are_taken_apart(tmp_path: Path) -> None:
    dense = {"kind": "Dense", "outputs": 4, "bias": True}
    body = {"kind": "Sequential", "name": "Body", "fields": {"a": dense, "relu": {"kind": "Relu"}}}
    fields = {
        "first": dense,
        "beside": {"kind": "Residual", "body": body},
        "stack": {"kind": "Repeat", "body": {"kind": "Tanh"}, "times": 2},
    }
    told = {"kind": "Sequential", "name": "Nested", "input": [3], "fields": fields}
    model: Layer = from_description(told).build()
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)

    found = in_script(model, x, tmp_path / "nested.py")

    np.testing.assert_allclose(found, inferred(model, x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(in_onnx(model, x, tmp_path / "n.onnx"), found, rtol=1e-5, atol=1e-6)


def test_what_has_no_rule_is_refused_by_its_path(tmp_path: Path) -> None:
    fields = {"words": {"kind": "Embedding", "rows": 5, "outputs": 3}}
    told = {"kind": "Sequential", "name": "Words", "fields": fields}
    model: Layer = from_description(told).build()

    with pytest.raises(SettingsError, match="words is a Embedding, for which there is no rule"):
        export_script(model, tmp_path / "model.py", input=(4,))
    with pytest.raises(SettingsError, match="the shape of a sample of Words is not known"):
        export_script(model, tmp_path / "model.py")
    assert [] == list(tmp_path.iterdir())


def test_rules_are_of_layers_that_exist() -> None:
    assert set(ONNX_RULES) | set(SCRIPT_RULES) <= set(layers.KINDS)
