"""Settings beside torch's modules: borders of convolutions, windows of pools, statistics of norms,
dropout and projection of recurrent layers."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import layers
from autograph.errors import SettingsError, ShapeError
from autograph.interop import torch_state
from autograph.layers import GRU, LSTM

from .comparison import assert_close, compare

SHAPES = {1: (3, 4, 11), 2: (2, 4, 7, 6), 3: (2, 4, 6, 5, 7)}


def normal(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def beside(kind: str, settings: dict[str, Any], module: Any, x: np.ndarray[Any, Any]) -> Any:
    """The layer that a description builds, compared with a module: outputs and gradients."""
    told = {"kind": kind, **json.loads(json.dumps(settings))}
    layer: Any = layers.from_description(told).build(scalar_type="f64")
    compare(layer, module, x, {path: path for path in layer.named_parameters()})
    assert isinstance(layer, getattr(layers, kind))
    return layer


# -- convolutions ------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_borders_of_convolutions_are_torchs(mode: str, axes: int) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x, kind = normal(*SHAPES[axes]), getattr(torch.nn, f"Conv{axes}d")
    for padding, filter, dilation, groups in product(("same", 2), (2, 3), (1, 2), (1, 2)):
        words: dict[str, Any] = {"padding": padding, "dilation": dilation, "groups": groups}
        words |= {"padding_mode": mode, "bias": True}
        module = kind(4, 6, filter, dtype=torch.float64, **words)
        settings = {"inputs": 4, "outputs": 6, "filter": filter, **words}
        layer = beside(f"Conv{axes}", settings, module, x)
        if padding == "same":
            assert layer(ag.Tensor(x)).shape == (x.shape[0], 6, *x.shape[2:])


def test_the_same_size_wants_stride_1() -> None:
    with pytest.raises(SettingsError, match="as large as what goes in only with stride 1"):
        layers.Conv2.builder(inputs=1, outputs=2, filter=3, padding="same", stride=2).build()


def test_a_border_wider_than_the_image_is_refused_where_it_is_declared() -> None:
    with pytest.raises(ShapeError, match="reflect has no 3 elements") as caught:

        @layers.sequential(input=(1, 3, 3))
        class Net(layers.Layer):
            conv: layers.Conv2 = layers.Conv2.builder(
                outputs=2, filter=3, padding=3, padding_mode="reflect"
            )

    assert "  in Net.conv" in caught.value.__notes__


# -- pools -------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize("filter", [2, 3])
def test_windows_of_pools_are_torchs(filter: int, axes: int) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = normal(*SHAPES[axes])
    largest, mean = (getattr(torch.nn, f"{name}Pool{axes}d") for name in ("Max", "Avg"))
    for stride, padding, ceil in product((1, 2, 3), (0, 1), (False, True)):
        ours = {"filter": filter, "stride": stride, "padding": padding, "ceil": ceil}
        for dilation in (1, 2):
            module = largest(filter, stride, padding, dilation, ceil_mode=ceil)
            beside(f"MaxPool{axes}", {**ours, "dilation": dilation}, module, x)
        for counted, divisor in product((False, True), (None, 5) if axes > 1 else (None,)):
            more = {"divisor_override": divisor} if axes > 1 else {}
            module = mean(filter, stride, padding, ceil, counted, **more)
            settings = {**ours, "count_padding": counted, "divisor": divisor}
            beside(f"MeanPool{axes}", settings, module, x)


def test_windows_of_padding_alone_are_refused() -> None:
    x = ag.Tensor(normal(1, 1, 9))

    with pytest.raises(SettingsError, match="padding is more than half of the dilated filter"):
        layers.MaxPool1.builder(filter=2, dilation=2, padding=2).build()(x)
    with pytest.raises(SettingsError, match="padding is more than half of the filter"):
        layers.MeanPool1.builder(filter=2, padding=2, ceil=True).build()(x)
    with pytest.raises(ShapeError, match="mean_pool: x has 3, 4 or 5 axes"):
        ag.ops.mean_pool(x[0], filter=2)


@pytest.mark.parametrize("scalar_type", ["f32", "bf16", "f16"])
def test_layers_with_such_settings_run_by_themselves(scalar_type: str) -> None:
    """No fusion with their neighbours leaves a setting out."""

    @layers.sequential(input=(2, 7, 7))
    class Net(layers.Layer):
        conv: layers.Conv2 = layers.Conv2.builder(
            outputs=3, filter=4, padding="same", padding_mode="circular"
        )
        relu: layers.Relu
        pool: layers.MaxPool2 = layers.MaxPool2.builder(filter=2, ceil=True)
        mean: layers.MeanPool2 = layers.MeanPool2.builder(filter=3, ceil=True, count_padding=False)

    model = Net.build(scalar_type=scalar_type)
    x = ag.Tensor(normal(2, 2, 7, 7), scalar_type=scalar_type)

    apart = x
    for layer in (model.conv, model.relu, model.pool, model.mean):
        apart = layer(apart)
    y = model(x)
    assert (y.shape, str(y.scalar_type)) == ((2, 3, 2, 2), scalar_type)
    np.testing.assert_array_equal(y.cast("f32").numpy(), apart.cast("f32").numpy())


@pytest.mark.parametrize(("start", "end"), [(2, -1), (0, 1), (-2, -1), (1, 2)])
def test_flattened_axes_are_torchs(start: int, end: int) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")

    module = torch.nn.Flatten(start, end)
    beside("Flatten", {"start": start, "end": end}, module, normal(2, 3, 4, 5))


@pytest.mark.parametrize("size", [3, 5, 11, 16])
def test_the_nearest_by_the_middles_is_torchs(size: int) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    module = torch.nn.Upsample(size, mode="nearest-exact")

    beside("Upsample", {"size": size, "mode": "nearest_exact"}, module, normal(2, 3, 7))
    beside("PixelUnshuffle", {"factor": 2}, torch.nn.PixelUnshuffle(2), normal(2, 3, 4, 6))


# -- norms -------------------------------------------------------------------------------


@pytest.mark.parametrize("scalar_type", ["f32", "f64"])
@pytest.mark.parametrize(("momentum", "running"), [(None, True), (0.2, False), (None, False)])
@pytest.mark.parametrize("bias", [False, True])
def test_statistics_of_batch_norm_are_torchs(
    bias: bool, momentum: float | None, running: bool, scalar_type: str
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    layer = layers.BatchNorm2.builder(
        inputs=3, momentum=momentum, running=running, bias=bias
    ).build(scalar_type=scalar_type)
    dtype = {"f32": np.float32, "f64": np.float64}[scalar_type]
    module = torch.nn.BatchNorm2d(
        3, momentum=momentum, track_running_stats=running, bias=bias,
        dtype=getattr(torch, np.dtype(dtype).name),
    )  # fmt: skip
    x = normal(4, 3, 5, 2).astype(dtype)

    for step in range(4):
        for each in (*module.parameters(), *layer.parameters()):
            each.grad = None
        compare(layer, module, x * dtype(step + 1) + dtype(step), {"weight": "weight"})
        if running:
            assert_close(layer.running_mean, module.running_mean, dtype)
            assert_close(layer.running_variance, module.running_var, dtype)
            assert layer.batches.item() == module.num_batches_tracked
    with ag.no_grad():
        assert_close(layer(ag.Tensor(x)), module.eval()(torch.tensor(x)), dtype, "inference")


def test_the_mean_over_all_batches_counts_those_of_captured_steps() -> None:
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(60, 4)).astype(np.float32), rng.integers(0, 4, size=60)

    @layers.sequential(input=(4,))
    class Net(layers.Layer):
        norm: layers.BatchNorm1 = layers.BatchNorm1.builder(momentum=None, affine=False)
        dense: layers.Dense = layers.Dense.builder(outputs=4)

    model = Net.build()
    for _ in ag.fit(model, ag.optim.SGD(learning_rate=0.1), (x, t), epochs=3, batch_size=10):
        pass
    assert model.norm.batches.item() == 18
    np.testing.assert_allclose(model.norm.running_mean.numpy(), x.mean(axis=0), rtol=1e-4)


@pytest.mark.parametrize("kind", ["GroupNorm", "InstanceNorm"])
def test_norms_without_a_bias_are_torchs(kind: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    settings: dict[str, Any] = {"inputs": 4, "affine": True, "bias": False}
    if kind == "GroupNorm":
        module = torch.nn.GroupNorm(2, 4, bias=False, dtype=torch.float64)
        settings["groups"] = 2
    else:
        module = torch.nn.InstanceNorm2d(4, affine=True, bias=False, dtype=torch.float64)

    assert list(beside(kind, settings, module, normal(3, 4, 5, 2)).named_parameters()) == ["weight"]


# -- recurrent layers --------------------------------------------------------------------


def of_torch(layer: Any, **words: Any) -> Any:
    """torch's module with the weights of a layer of 3 features and 4 states."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    kind, count = getattr(torch.nn, type(layer).__name__), len(layer.weight_h) // layer.directions
    module = kind(3, 4, count, batch_first=True, dtype=torch.float64, **words)
    module.load_state_dict({k: torch.from_numpy(v) for k, v in torch_state(layer).items()})
    return module


@pytest.mark.parametrize(("count", "both", "bias"), [(1, False, True), (2, True, False)])
def test_a_projected_lstm_is_torchs(count: int, both: bool, bias: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    settings: dict[str, Any] = {"bidirectional": both, "bias": bias}
    builder = LSTM.builder(inputs=3, outputs=4, layers=count, projection=2, **settings)
    layer = builder.build(scalar_type="f64")
    module = of_torch(layer, proj_size=2, **settings)
    array, n = normal(2, 5, 3), len(layer.weight_h)
    states = [normal(2, 2 if i < n else 4) for i in range(2 * n)]
    x, z = ag.Tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
    stacked = [torch.tensor(np.stack(each)) for each in (states[:n], states[n:])]

    y, last = layer.run(x, [ag.Tensor(each) for each in states])
    expected, ends = module(z, tuple(stacked))
    assert_close(y, expected)
    for ours, theirs in zip((last[:n], last[n:]), ends, strict=True):
        assert_close(np.stack([each.numpy() for each in ours]), theirs)
    dy = normal(*y.shape)
    ((y * ag.Tensor(dy)).sum() + last[0].sum() + last[-1].sum()).backward()
    ((expected * torch.tensor(dy)).sum() + ends[0][0].sum() + ends[1][-1].sum()).backward()
    assert_close(x.grad, z.grad)
    gradients = {name: w.grad for name, w in module.named_parameters()}
    for each in layer.parameters():
        each[...] = each.grad  # so that they are told by torch's names
    for name, found in torch_state(layer).items():
        if not name.startswith("bias_hh"):  # ours has the sum of both
            assert_close(found, gradients[name], what=name)


@pytest.mark.parametrize("kind", [LSTM, GRU])
@pytest.mark.parametrize("rate", [0.4, 1.0])
def test_dropout_between_layers_is_torchs_where_nothing_is_left_to_chance(
    rate: float, kind: Any
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    words: dict[str, Any] = {"bidirectional": True, "bias": True, "dropout": rate}
    layer = kind.builder(inputs=3, outputs=4, layers=3, **words).build(scalar_type="f64")
    module, x = of_torch(layer, **words), normal(2, 5, 3)

    with ag.no_grad():
        assert_close(layer(ag.Tensor(x)), module.eval()(torch.tensor(x))[0])
    if rate == 1:
        assert_close(layer(ag.Tensor(x)), module.train()(torch.tensor(x))[0])


def test_dropout_between_layers_throws_anew_and_again_from_a_saved_counter() -> None:
    builder = LSTM.builder(inputs=3, outputs=4, layers=3, dropout=0.5)
    first, second = builder.build(), builder.build()
    x = ag.Tensor(normal(2, 5, 3).astype(np.float32))

    runs = [first(x).numpy() for _ in range(2)]
    assert (runs[0] != runs[1]).any()
    second.dropout.counter[...] = ag.Tensor(np.array([0, 2], np.uint64))  # two throws in a run
    np.testing.assert_array_equal(second(x).numpy(), runs[1])


def test_a_projection_is_to_fewer_features() -> None:
    with pytest.raises(SettingsError, match="a projection is to fewer features"):
        LSTM.builder(inputs=3, outputs=4, projection=4).build()


# -- attention ---------------------------------------------------------------------------


def test_attention_to_a_context_of_other_features_is_torchs() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    builder = layers.MultiheadAttention.builder(inputs=6, heads=2, context=4, bias=True)
    layer = builder.build(scalar_type="f64")
    module = torch.nn.MultiheadAttention(
        6, 2, kdim=4, vdim=4, batch_first=True, dtype=torch.float64
    )
    module.load_state_dict({k: torch.from_numpy(v) for k, v in torch_state(layer).items()})
    arrays, dy = (normal(2, 5, 6), normal(2, 3, 4)), normal(2, 5, 6)
    ours = [ag.Tensor(each, requires_grad=True) for each in arrays]
    theirs = [torch.tensor(each, requires_grad=True) for each in arrays]

    y = layer(*ours)
    z, _ = module(theirs[0], theirs[1], theirs[1], need_weights=False)
    assert_close(y, z)
    y.backward(dy)
    z.backward(torch.tensor(dy))
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a.grad, b.grad)
    assert_close(layer.key.grad.numpy().T, module.k_proj_weight.grad)
    assert_close(layer.value.grad.numpy().T, module.v_proj_weight.grad)


def test_numbers_of_numpy_are_settings() -> None:
    told = layers.Conv2.builder(inputs=np.int64(2), outputs=np.int32(3), filter=(np.int64(3), 2))

    assert told == layers.Conv2.builder(inputs=2, outputs=3, filter=(3, 2))
    assert json.loads(json.dumps(told.describe())) == told.describe()
