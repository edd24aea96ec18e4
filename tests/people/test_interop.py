"""Exports and imports: every layer gives the same numbers elsewhere, and comes back the same."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import layers
from autograph.errors import CheckpointError, SettingsError
from autograph.interop import export_onnx, export_script, import_onnx
from autograph.interop.onnx_layers import RULES as ONNX_RULES
from autograph.interop.script import RULES as SCRIPT_RULES
from autograph.layers import Dense, Layer, Relu, from_description, layer, sequential
from examples import char_transformer, resnet_small
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
    "AdaptiveMaxPool": ({"size": 3}, [4, 7, 5]),
    "AdaptiveMeanPool": ({"size": 3}, [4, 7, 5]),
    "Choice": ({"options": {"a": {"kind": "Tanh"}, "b": {"kind": "Relu"}}, "chosen": "b"}, [5]),
    "Embedding": ({"rows": 9, "outputs": 4}, [5]),
    "GRU": ({"outputs": 4, "layers": 2, "bidirectional": True, "bias": True}, [5, 3]),
    "GroupNorm": ({"groups": 3}, IMAGE),
    "InstanceNorm": ({"affine": True}, IMAGE),
    "LSTM": ({"outputs": 4, "layers": 2, "bidirectional": True, "bias": True}, [5, 3]),
    "MultiheadAttention": ({"heads": 2, "causal": True, "bias": True}, [5, 8]),
    "Optional": ({"body": {"kind": "Tanh"}, "present": True}, [5]),
    "Parallel": ({"branches": [{"kind": "Dense", "outputs": 3}, {"kind": "Tanh"}]}, [5]),
    "PixelShuffle": ({"factor": 2}, [8, 3, 4]),
    "PixelUnshuffle": ({"factor": 2}, [2, 4, 6]),
    "PositionalEncoding": ({}, [5, 6]),
    "RMSNorm": ({}, [7]),
    "Repeat": ({"body": {"kind": "Tanh"}, "times": 2}, [5]),
    "Residual": ({"body": {"kind": "Dense", "outputs": 5}}, [5]),
    "Unfold": ({"filter": 2, "padding": 1, "stride": 2}, [3, 5, 6]),
    "Upsample": ({"scale": 2.0, "mode": "linear"}, [3, 4, 5]),
}  # fmt: skip


# Settings that the ops of plain layers do not know.
FURTHER: list[tuple[str, dict[str, Any], list[int]]] = [
    ("Conv1", {"outputs": 4, "filter": 3, "padding": 2, "padding_mode": "circular"}, [3, 7]),
    ("Conv2", {"outputs": 4, "filter": 4, "padding": "same"}, IMAGE),
    ("Conv2", {"outputs": 4, "filter": 3, "padding": 1, "padding_mode": "reflect"}, IMAGE),
    ("Conv3", {"outputs": 4, "filter": 3, "padding": 2, "padding_mode": "replicate"}, [2, 3, 4, 5]),
    ("MaxPool1", {"filter": 3, "dilation": 2, "padding": 1}, [3, 10]),
    ("MaxPool2", {"filter": 3, "stride": 2, "ceil": True}, IMAGE),
    ("MeanPool2", {"filter": 3, "stride": 2, "padding": 1, "count_padding": False}, IMAGE),
    ("MeanPool3", {"filter": 2, "stride": 2, "ceil": True, "divisor": 5}, [2, 5, 4, 3]),
    ("Flatten", {"start": 2}, IMAGE),
    ("LSTM", {"outputs": 4, "layers": 2, "dropout": 0.5}, [5, 3]),
]


def built(
    kind: str, more: tuple[dict[str, Any], list[int]] | None = None
) -> tuple[Layer, np.ndarray]:
    """A model of one such layer, its statistics not those it began with, and samples."""
    settings, shape = more or CASES.get(kind, ({}, [9]))
    fields = {"part": {"kind": kind, **settings}}
    told = {"kind": "Sequential", "name": "One", "fields": fields}
    if kind != "Embedding":  # indices are no floats, on which sizes are inferred
        told["input"] = shape
    model: Layer = from_description(told).build(seed=1)
    rng = np.random.default_rng(0)
    with ag.no_grad():
        for path, each in {**model.named_parameters(), **model.named_buffers()}.items():
            if "counter" not in path and each.scalar_type.is_float:
                each[...] = rng.uniform(0.2, 1.0, each.shape).astype(np.float32)
    if kind == "Embedding":
        return model, rng.integers(0, 9, size=(3, *shape))
    return model, (2 * rng.normal(size=(3, *shape))).astype(np.float32)


def inferred(model: Layer, x: np.ndarray) -> np.ndarray:
    with ag.no_grad():
        return model(ag.Tensor(x)).numpy()


def in_script(model: Layer, x: np.ndarray, path: Path) -> np.ndarray:
    export_script(model, path)
    program: dict[str, Any] = {"__name__": "program"}
    exec(compile(path.read_text(), path, "exec"), program)
    return program["infer"](x)


def run(path: Path, x: np.ndarray) -> np.ndarray:
    """What onnxruntime says."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def in_onnx(model: Layer, x: np.ndarray, path: Path) -> np.ndarray:
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    input_type = "i64" if x.dtype.kind == "i" else "f32"
    export_onnx(model, path, x.shape[1:], input_type=input_type)
    return run(path, x)


def without_description(path: Path) -> Path:
    """The file as others would have written it."""
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    file = onnx.load(str(path))
    del file.metadata_props[:]
    onnx.save(file, str(path))
    return path


@pytest.mark.parametrize("kind", sorted(SCRIPT_RULES))
def test_a_script_gives_the_same_numbers(kind: str, tmp_path: Path) -> None:
    model, x = built(kind)

    found = in_script(model, x, tmp_path / "model.py")

    np.testing.assert_allclose(found, inferred(model, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", sorted(layers.KINDS))
def test_onnxruntime_gives_the_same_numbers_and_the_file_is_read_back(
    kind: str, tmp_path: Path
) -> None:
    model, x = built(kind)
    path = tmp_path / "model.onnx"

    found = in_onnx(model, x, path)

    expected = inferred(model, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    again = import_onnx(path)
    assert model.describe() == again.describe()
    np.testing.assert_array_equal(inferred(again, x), expected)


@pytest.mark.parametrize(("kind", "settings", "shape"), FURTHER)
def test_settings_out_of_the_ordinary_are_exported_to_onnx_alone(
    kind: str, settings: dict[str, Any], shape: list[int], tmp_path: Path
) -> None:
    model, x = built(kind, (settings, shape))

    found = in_onnx(model, x, tmp_path / "model.onnx")

    np.testing.assert_allclose(found, inferred(model, x), rtol=1e-5, atol=1e-5)
    assert import_onnx(tmp_path / "model.onnx").describe() == model.describe()
    with pytest.raises(SettingsError, match="for which there is no rule"):
        export_script(model, tmp_path / "model.py")


def test_settings_that_no_file_can_hold_are_refused(tmp_path: Path) -> None:
    lstm, _ = built("LSTM", ({"outputs": 4, "projection": 2}, [5, 3]))
    norm, _ = built("BatchNorm2", ({"running": False}, IMAGE))

    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    with pytest.raises(SettingsError, match="part projects its states, and ONNX has no such LSTM"):
        export_onnx(lstm, tmp_path / "model.onnx")
    for export in (export_onnx, export_script):
        with pytest.raises(SettingsError, match="part standardises every batch by itself"):
            export(norm, tmp_path / "model")


# Of these a graph alone does not tell that they were one layer.
COMPOSED = {
    "AdaptiveMaxPool", "AdaptiveMeanPool", "Embedding", "GRU", "GroupNorm", "InstanceNorm", "LSTM",
    "MultiheadAttention", "Parallel", "PixelShuffle", "PixelUnshuffle", "PositionalEncoding",
    "RMSNorm", "Softplus", "Unfold", "Upsample",
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(layers.KINDS.keys() - COMPOSED))
def test_files_of_others_are_read_by_their_graph(kind: str, tmp_path: Path) -> None:
    model, x = built(kind)
    in_onnx(model, x, tmp_path / "model.onnx")

    found = import_onnx(without_description(tmp_path / "model.onnx"))

    np.testing.assert_allclose(inferred(found, x), inferred(model, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", sorted(COMPOSED))
def test_what_is_no_layer_is_refused_by_its_node(kind: str, tmp_path: Path) -> None:
    model, x = built(kind)
    in_onnx(model, x, tmp_path / "model.onnx")

    with pytest.raises(CheckpointError, match="there is no rule for it"):
        import_onnx(without_description(tmp_path / "model.onnx"))


def test_residual_networks_are_read_by_their_graph(tmp_path: Path) -> None:
    model = resnet_small.SmallResNet.build(seed=3)
    x = np.random.default_rng(0).random((2, 1, 28, 28)).astype(np.float32)
    in_onnx(model, x, tmp_path / "model.onnx")

    found = import_onnx(without_description(tmp_path / "model.onnx"))

    np.testing.assert_allclose(inferred(found, x), inferred(model, x), rtol=1e-5, atol=1e-5)
    assert model.parameter_count == found.parameter_count


def test_a_network_of_torch_is_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    nn = torch.nn
    body = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.PReLU(4), nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 8), nn.SiLU(), nn.LayerNorm(8),
        nn.GELU(), nn.Linear(8, 5, bias=False),
    ).eval()  # fmt: skip
    x = torch.linspace(-2, 2, 3 * 3 * 9 * 9).reshape(3, 3, 9, 9).sin()
    with warnings.catch_warnings():  # the exporter that needs no more packages is an old one
        warnings.simplefilter("ignore")
        torch.onnx.export(body, x, str(tmp_path / "torch.onnx"), dynamo=False, opset_version=20)

    found = import_onnx(tmp_path / "torch.onnx")

    expected = body(x).detach().numpy()
    np.testing.assert_allclose(inferred(found, x.numpy()), expected, rtol=1e-5, atol=1e-5)


@layer
class Gated(Layer):
    """A forward written by hand, of many ops."""

    value: Dense = Dense.builder(outputs=6)
    gate: Dense = Dense.builder(outputs=6, bias=True)

    def forward(self, x: Any) -> Any:
        y = self.value(x) * self.gate(x).sigmoid()
        a, b = y[:, :3], y[:, 3:]
        y = ag.ops.concat(b - 1.5, (a * a + 1.0).sqrt(), axis=1).reshape(x.shape[0], 2, 3)
        y = ag.ops.where(y > 0.0, y, 0.1 * y).permute_dims(0, 2, 1)
        return (y / (y.square().sum(axis=-1, keepdims=True) + 1.0)).mean(axis=2)


@sequential(input=(4,))
class OfGated(Layer):
    """Numbers (N, 4) -> (N, 3)."""

    gated: Gated
    relu: Relu


def test_forwards_written_by_hand_are_exported(tmp_path: Path) -> None:
    model = OfGated.build()
    x = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)

    found = in_onnx(model, x, tmp_path / "model.onnx")

    np.testing.assert_allclose(found, inferred(model, x), rtol=1e-5, atol=1e-5)
    again = import_onnx(tmp_path / "model.onnx", layers=[Gated])
    np.testing.assert_array_equal(inferred(again, x), inferred(model, x))
    with pytest.raises(CheckpointError) as refused:
        import_onnx(tmp_path / "model.onnx")
    assert "Gated, whose forward is code" in "".join(refused.value.__notes__)


def test_a_transformer_is_exported(tmp_path: Path) -> None:
    model = char_transformer.Writer.build()
    letters = np.random.default_rng(0).integers(0, 128, size=(2, 16))

    found = in_onnx(model, letters, tmp_path / "model.onnx")

    np.testing.assert_allclose(found, inferred(model, letters), rtol=1e-4, atol=1e-5)
    again = import_onnx(tmp_path / "model.onnx", layers=[char_transformer.Writer])
    np.testing.assert_array_equal(inferred(again, letters), inferred(model, letters))


def test_a_description_that_the_graph_is_not_is_not_believed(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    model, x = built("Relu")
    in_onnx(model, x, tmp_path / "model.onnx")
    file = onnx.load(str(tmp_path / "model.onnx"))
    file.graph.node[0].op_type = "Tanh"
    onnx.save(file, str(tmp_path / "model.onnx"))

    found = import_onnx(tmp_path / "model.onnx")

    np.testing.assert_allclose(inferred(found, x), np.tanh(x), rtol=1e-6)


def test_files_that_are_no_models_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    (tmp_path / "noise.onnx").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "empty.onnx").touch()

    for name in ("noise.onnx", "empty.onnx", "."):
        with pytest.raises(CheckpointError, match="is no ONNX file"):
            import_onnx(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        import_onnx(tmp_path / "nothing.onnx")


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
    named = {name.removeprefix("Padded") for name in {*ONNX_RULES, *SCRIPT_RULES}}

    assert named <= set(layers.KINDS)
