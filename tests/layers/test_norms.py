"""Normalisation layers beside torch's: outputs, gradients, running statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import layers, no_grad, ops
from autograph.errors import ShapeError
from autograph.testing import check_gradient

from .comparison import assert_close, compare

AFFINE = {"weight": "weight", "bias": "bias"}


def spread(layer: ag.Layer) -> ag.Layer:
    """The layer with parameters that are not ones and zeros."""
    rng = np.random.default_rng(5)
    for each in layer.parameters():
        each[...] = ag.Tensor(rng.normal(size=each.shape).astype(each.dtype))
    return layer


CASES: list[tuple[str, dict[str, Any], str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("LayerNorm", {"inputs": 5}, "LayerNorm", (5,), {}, (3, 4, 5)),
    ("LayerNorm", {"inputs": (4, 5), "epsilon": 1e-3}, "LayerNorm", ((4, 5),), {"eps": 1e-3},
     (3, 4, 5)),
    ("LayerNorm", {"inputs": 5, "bias": False}, "LayerNorm", (5,), {"bias": False}, (3, 5)),
    ("LayerNorm", {"inputs": 5, "affine": False}, "LayerNorm", (5,), {"elementwise_affine": False},
     (3, 5)),
    ("RMSNorm", {"inputs": 5, "epsilon": 1e-5}, "RMSNorm", (5,), {"eps": 1e-5}, (3, 4, 5)),
    ("GroupNorm", {"inputs": 6, "groups": 3}, "GroupNorm", (3, 6), {}, (2, 6, 4, 3)),
    ("GroupNorm", {"inputs": 6, "groups": 1, "affine": False}, "GroupNorm", (1, 6),
     {"affine": False}, (2, 6, 4)),
    ("InstanceNorm", {}, "InstanceNorm2d", (3,), {}, (2, 3, 4, 5)),
    ("InstanceNorm", {"inputs": 3, "affine": True}, "InstanceNorm1d", (3,), {"affine": True},
     (2, 3, 7)),
    ("InstanceNorm", {"inputs": 3, "running": True, "momentum": 0.3}, "InstanceNorm2d", (3,),
     {"track_running_stats": True, "momentum": 0.3}, (4, 3, 5, 2)),
    ("InstanceNorm", {"inputs": 3, "running": True, "affine": True, "epsilon": 1e-3},
     "InstanceNorm1d", (3,), {"track_running_stats": True, "affine": True, "eps": 1e-3}, (2, 3, 7)),
    ("BatchNorm1", {"inputs": 3}, "BatchNorm1d", (3,), {}, (6, 3)),
    ("BatchNorm1", {"inputs": 3, "affine": False}, "BatchNorm1d", (3,), {"affine": False},
     (6, 3, 4)),
    ("BatchNorm2", {"inputs": 3, "momentum": 0.3}, "BatchNorm2d", (3,), {"momentum": 0.3},
     (4, 3, 5, 2)),
    ("BatchNorm3", {"inputs": 3, "epsilon": 1e-2}, "BatchNorm3d", (3,), {"eps": 1e-2},
     (2, 3, 2, 3, 4)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("kind", "settings", "theirs", "words", "named", "shape"), CASES)
def test_norms_are_torchs(
    kind: str,
    settings: dict[str, Any],
    theirs: str,
    words: tuple[Any, ...],
    named: dict[str, Any],
    shape: tuple[int, ...],
    dtype: Any,
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = (np.random.default_rng(0).normal(size=shape) * 2 + 1).astype(dtype)
    scalar_type = "f32" if dtype is np.float32 else "f64"
    layer = spread(getattr(layers, kind).builder(**settings).build(scalar_type=scalar_type))
    module = getattr(torch.nn, theirs)(*words, **named).to(getattr(torch, np.dtype(dtype).name))
    names = {path: AFFINE[path] for path in layer.named_parameters()}

    for step in range(3):
        for each in (*module.parameters(), *layer.parameters()):
            each.grad = None
        compare(layer, module, x + dtype(step), names)
        for ours, other in (("running_mean", "running_mean"), ("running_variance", "running_var")):
            if ours in layer.named_buffers():
                assert_close(layer.named_buffers()[ours], getattr(module, other), dtype, ours)

    with no_grad():
        assert_close(layer(ag.Tensor(x)), module.eval()(torch.tensor(x)), dtype, "inference")


def test_inference_with_running_statistics_has_torchs_gradients() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = np.random.default_rng(0).normal(size=(4, 3, 5))
    layer = spread(layers.BatchNorm1.builder(inputs=3).build(scalar_type="f64"))
    module = torch.nn.BatchNorm1d(3, dtype=torch.float64).eval()

    with ag.training(False):
        compare(layer, module, x, AFFINE)


def test_batch_norm_has_the_gradients_of_its_formula() -> None:
    rng = np.random.default_rng(0)

    check_gradient(
        lambda x, w, b: ops.batch_norm(x, w, b, None, None),
        [rng.normal(size=(4, 3, 2)), rng.normal(size=3), rng.normal(size=3)],
    )


def test_batch_norm_trains_by_the_same_formula_in_higher_order() -> None:
    rng = np.random.default_rng(0)
    x = ag.Tensor(rng.normal(size=(4, 3, 2)), requires_grad=True)
    fused, parts = (layers.BatchNorm1.builder(inputs=3).build(scalar_type="f64") for _ in range(2))

    y = fused(x)
    with ag.higher_order():
        z = parts(x)

    assert_close(z, y)
    for name in ("running_mean", "running_variance"):
        assert_close(parts.named_buffers()[name], fused.named_buffers()[name])


def test_running_statistics_of_a_bf16_model_are_f32() -> None:
    layer = layers.BatchNorm2.builder(inputs=3).build(scalar_type="bf16")
    x = ag.Tensor(np.random.default_rng(0).normal(size=(4, 3, 5, 5)) + 1).cast("bf16")

    y = layer(x)

    assert str(y.scalar_type) == "bf16"
    assert str(layer.running_mean.scalar_type) == "f32"
    expected = 0.1 * x.cast("f32").numpy().mean(axis=(0, 2, 3))
    np.testing.assert_allclose(layer.running_mean.numpy(), expected, rtol=1e-5)


def test_a_large_mean_does_not_cost_the_variance() -> None:
    x = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32) + 1e4

    y = layers.BatchNorm1.builder(inputs=2).build()(ag.Tensor(x)).numpy()

    wide = x.astype(np.float64)
    expected = (wide - wide.mean(axis=0)) / np.sqrt(wide.var(axis=0) + 1e-5)
    np.testing.assert_allclose(y, expected, atol=4e-3)  # four units of the last place of 1e4


def test_one_value_for_each_channel_is_refused_in_training() -> None:
    layer = layers.BatchNorm1.builder(inputs=2).build()
    x = ag.Tensor(np.ones((1, 2), np.float32))

    with pytest.raises(ShapeError, match="needs more than one value"):
        layer(x)
    with no_grad():
        assert layer(x).shape == (1, 2)


def test_batch_norm_wants_its_own_number_of_axes() -> None:
    with pytest.raises(ShapeError, match="BatchNorm2: x has 4 axes"):
        layers.BatchNorm2.builder(inputs=2).build()(ag.Tensor(np.ones((3, 2), np.float32)))


def test_channels_are_inferred_in_a_chain() -> None:
    @layers.sequential(input=(1, 8, 8))
    class Net(layers.Layer):
        conv: layers.Conv2 = layers.Conv2.builder(outputs=4, filter=3)
        norm: layers.BatchNorm2
        act: layers.Prelu
        group: layers.GroupNorm = layers.GroupNorm.builder(groups=2)

    shapes = {path: each.shape for path, each in Net.build().named_parameters().items()}

    assert shapes["norm.weight"] == shapes["act.slope"] == shapes["group.bias"] == (4,)
