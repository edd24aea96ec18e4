"""Activation layers beside torch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import layers

from .comparison import assert_close, compare

CASES: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("Relu", {}, "ReLU", {}),
    ("LeakyRelu", {"slope": 0.2}, "LeakyReLU", {"negative_slope": 0.2}),
    ("Relu6", {}, "ReLU6", {}),
    ("Elu", {"alpha": 1.5}, "ELU", {"alpha": 1.5}),
    ("Celu", {"alpha": 1.5}, "CELU", {"alpha": 1.5}),
    ("Selu", {}, "SELU", {}),
    ("Hardtanh", {"low": -0.5, "high": 2.0}, "Hardtanh", {"min_val": -0.5, "max_val": 2.0}),
    ("Hardsigmoid", {}, "Hardsigmoid", {}),
    ("Hardswish", {}, "Hardswish", {}),
    ("Sigmoid", {}, "Sigmoid", {}),
    ("Tanh", {}, "Tanh", {}),
    ("Softsign", {}, "Softsign", {}),
    ("Softplus", {}, "Softplus", {}),
    ("Softplus", {"beta": 2.0}, "Softplus", {"beta": 2.0}),
    ("Silu", {}, "SiLU", {}),
    ("Gelu", {}, "GELU", {}),
    ("Gelu", {"approximate": True}, "GELU", {"approximate": "tanh"}),
    ("Mish", {}, "Mish", {}),
    ("Softmax", {}, "Softmax", {"dim": -1}),
    ("Softmax", {"axis": 1}, "Softmax", {"dim": 1}),
    ("LogSoftmax", {"axis": 0}, "LogSoftmax", {"dim": 0}),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("kind", "settings", "theirs", "words"), CASES)
def test_activations_are_torchs(
    kind: str, settings: dict[str, Any], theirs: str, words: dict[str, Any], dtype: Any
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    rng = np.random.default_rng(0)
    special = np.array([[0.0, -3.0, 3.0, 6.0, -30.0, 30.0, 1e-4]])
    x = np.concatenate([rng.normal(size=(20, 7)) * 4, special, -special]).astype(dtype)

    compare(
        getattr(layers, kind).builder(**settings).build(), getattr(torch.nn, theirs)(**words), x
    )


@pytest.mark.parametrize(("kind", "settings", "theirs", "words"), CASES)
def test_activations_hide_no_nan_and_do_not_overflow(
    kind: str, settings: dict[str, Any], theirs: str, words: dict[str, Any]
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if "Softmax" in kind:
        return  # where one NaN is in all of a row
    x = np.array([np.nan, 1e4, -1e4, 3e38, -3e38, 90.0, -90.0], np.float32)

    y = getattr(layers, kind).builder(**settings).build()(ag.Tensor(x))

    expected = getattr(torch.nn, theirs)(**words)(torch.tensor(x).double())
    assert_close(y, expected.float(), np.float32)


@pytest.mark.parametrize("shared", [False, True])
def test_prelu_is_torchs(shared: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = np.random.default_rng(0).normal(size=(4, 3, 5))
    layer = layers.Prelu.builder(inputs=3, shared=shared).build(scalar_type="f64")
    module = torch.nn.PReLU(1 if shared else 3, dtype=torch.float64)

    compare(layer, module, x, {"slope": "weight"})
