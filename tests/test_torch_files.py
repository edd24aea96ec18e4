"""torch's state dicts: what is read computes what torch's module does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import Tensor
from autograph.errors import CheckpointError, SettingsError
from autograph.interop import load_torch, save_torch, torch_state
from autograph.layers import (
    GRU,
    LSTM,
    BatchNorm2,
    Conv2,
    ConvTransposed2,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Layer,
    LayerNorm,
    MultiheadAttention,
    Prelu,
    Relu,
    sequential,
)

torch: Any = pytest.importorskip("torch", reason="torch is not installed")
nn = torch.nn
RNG = np.random.default_rng(0)


@sequential(input=(2, 6, 6))
class Network(Layer):
    """Images (N, 2, 6, 6) -> scores (N, 5)."""

    conv: Conv2 = Conv2.builder(outputs=3, filter=3, bias=True)
    norm: BatchNorm2
    relu: Relu
    up: ConvTransposed2 = ConvTransposed2.builder(outputs=2, filter=2)
    flatten: Flatten
    dropout: Dropout
    head: Dense = Dense.builder(outputs=5, bias=True)


NAMES = {"conv": "0", "norm": "1", "up": "3", "head": "6"}


def twin() -> Any:
    """The same network in torch, with statistics that are not those it began with."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(),
        nn.ConvTranspose2d(3, 2, 2, bias=False), nn.Flatten(), nn.Dropout(), nn.Linear(50, 5),
    )  # fmt: skip
    module(torch.randn(8, 2, 6, 6))
    return module.eval()


def images() -> np.ndarray:
    return RNG.normal(size=(3, 2, 6, 6)).astype(np.float32)


def test_a_file_of_torchs_is_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    module, model, x = twin(), Network.build(seed=1), images()
    save_file(module.state_dict(), tmp_path / "module.safetensors")

    load_torch(model, tmp_path / "module.safetensors", names=NAMES)

    with ag.no_grad():
        y = model(Tensor(x)).numpy()
    np.testing.assert_allclose(y, module(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_torch_reads_what_is_written(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    module, model, x = twin(), Network.build(seed=1), images()
    save_torch(tmp_path / "model.safetensors", model, names=NAMES)

    missing, extra = module.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=False)

    assert ([], []) == (missing, extra)
    with ag.no_grad():
        y = model(Tensor(x)).numpy()
    np.testing.assert_allclose(y, module(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("both", [False, True])
def test_recurrent_layers_are_torchs(bias: bool, both: bool) -> None:
    x = RNG.normal(size=(2, 5, 3)).astype(np.float32)
    for kind, theirs in ((LSTM, nn.LSTM), (GRU, nn.GRU)):
        model = kind.builder(inputs=3, outputs=4, layers=2, bidirectional=both, bias=bias).build()
        module = theirs(3, 4, 2, bidirectional=both, bias=bias, batch_first=True)

        load_torch(model, module.state_dict())
        expected = module(torch.tensor(x))[0].detach().numpy()

        np.testing.assert_allclose(model(Tensor(x)).numpy(), expected, rtol=1e-5, atol=1e-6)
        module.load_state_dict({k: torch.tensor(v) for k, v in torch_state(model).items()})
        again = module(torch.tensor(x))[0].detach().numpy()
        np.testing.assert_allclose(again, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bias", [False, True])
def test_attention_is_torchs(bias: bool) -> None:
    x = RNG.normal(size=(2, 5, 8)).astype(np.float32)
    model = MultiheadAttention.builder(inputs=8, heads=2, bias=bias).build()
    module = nn.MultiheadAttention(8, 2, bias=bias, batch_first=True)

    load_torch(model, module.state_dict())

    y = torch.tensor(x)
    expected = module(y, y, y, need_weights=False)[0].detach().numpy()
    np.testing.assert_allclose(model(Tensor(x)).numpy(), expected, rtol=1e-4, atol=1e-6)
    assert module.state_dict().keys() == torch_state(model).keys()


def test_other_layers_have_torchs_names() -> None:
    for model, module in (
        (Embedding.builder(rows=5, outputs=3).build(), nn.Embedding(5, 3)),
        (LayerNorm.builder(inputs=4).build(), nn.LayerNorm(4)),
    ):
        load_torch(model, module.state_dict())
        for name, value in module.state_dict().items():
            np.testing.assert_array_equal(value.numpy(), torch_state(model)[name])


@sequential(input=(4,), tie={"last.weight": "first.weight"})
class Tied(Layer):
    """Two layers with one weight."""

    first: Dense = Dense.builder(outputs=4, bias=True)
    prelu: Prelu
    last: Dense = Dense.builder(outputs=4, bias=True)


def test_tied_weights_have_both_names_there() -> None:
    module = nn.ModuleDict(
        {"first": nn.Linear(4, 4), "prelu": nn.PReLU(4), "last": nn.Linear(4, 4)}
    )
    module["last"].weight = module["first"].weight
    model, state = Tied.build(), module.state_dict()
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    load_torch(model, state)

    y = module["last"](module["prelu"](module["first"](torch.tensor(x)))).detach().numpy()
    np.testing.assert_allclose(model(Tensor(x)).numpy(), y, rtol=1e-5, atol=1e-6)
    assert model.first.weight is model.last.weight
    back = {name: torch.from_numpy(each) for name, each in torch_state(model).items()}
    assert not any(module.load_state_dict(back))
    load_torch(model, {name: state[name] for name in state if name != "last.weight"})
    with pytest.raises(CheckpointError, match=r"last\.weight is tied here to first\.weight"):
        load_torch(model, {**state, "last.weight": torch.ones(4, 4)})


def test_halves_are_read() -> None:
    model = Dense.builder(inputs=2, outputs=3).build(scalar_type="bf16")
    module = nn.Linear(2, 3, bias=False).to(torch.bfloat16)

    load_torch(model, module.state_dict())

    found = model.weight.cast("f32").numpy()
    np.testing.assert_array_equal(module.weight.detach().float().numpy().T, found)


def test_what_does_not_fit_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    model, state = Network.build(seed=1), twin().state_dict()
    before = {path: w.numpy().copy() for path, w in model.named_parameters().items()}

    with pytest.raises(CheckpointError, match=r"wanted and not there  conv\.weight, conv\.bias"):
        load_torch(model, state)
    with pytest.raises(CheckpointError, match=r"there and not wanted  7\.weight"):
        load_torch(model, state | {"7.weight": torch.ones(2)}, names=NAMES)
    with pytest.raises(CheckpointError, match=r"head\.bias  \(5,\) here, \(9,\) there"):
        load_torch(model, state | {"6.bias": torch.ones(9)}, names=NAMES)
    with pytest.raises(SettingsError, match="names fit no path here: tail"):
        load_torch(model, state, names={**NAMES, "tail": "9"})
    with pytest.raises(CheckpointError, match="pickles hold programs"):
        load_torch(model, tmp_path / "model.pt")
    for path, w in model.named_parameters().items():
        np.testing.assert_array_equal(before[path], w.numpy())
