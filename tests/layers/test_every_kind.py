"""Every kind of layer: told and built again, in every float type; dropout, embedding, values."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import layers, no_grad, ops
from autograph.errors import IndexRangeError, SettingsError
from autograph.layers import (
    KINDS,
    Dropout,
    Embedding,
    Glorot,
    He,
    Normal,
    Orthogonal,
    TruncatedNormal,
    from_description,
)
from autograph.layers.initialise import KINDS as INITIALISERS
from autograph.philox import stream

IMAGE, SEQUENCE, VOLUME, ROWS = (2, 4, 6, 6), (2, 4, 6), (2, 4, 4, 4, 4), (2, 4)
DENSE = layers.Dense.builder(outputs=4)

# What a kind needs to be built, and the shape of an input where it is not an image.
SETTINGS: dict[str, dict[str, Any]] = {
    "Choice": {"options": {"dense": DENSE}, "chosen": "dense"},
    "Conv1": {"outputs": 3, "filter": 2},
    "Conv2": {"outputs": 3, "filter": 2},
    "Conv3": {"outputs": 3, "filter": 2},
    "ConvTransposed1": {"outputs": 3, "filter": 2},
    "ConvTransposed2": {"outputs": 3, "filter": 2},
    "ConvTransposed3": {"outputs": 3, "filter": 2},
    "Dense": {"outputs": 3},
    "Embedding": {"rows": 5, "outputs": 3},
    "GRU": {"outputs": 3},
    "GroupNorm": {"groups": 2},
    "LSTM": {"outputs": 3},
    "MultiheadAttention": {"heads": 2},
    "Optional": {"body": DENSE},
    "Parallel": {"branches": (DENSE, DENSE)},
    "PixelShuffle": {"factor": 2},
    "PixelUnshuffle": {"factor": 2},
    "Repeat": {"body": DENSE, "times": 2},
    "Residual": {"body": DENSE},
    "Unfold": {"filter": 2},
    "Upsample": {"scale": 2},
} | {kind: {"filter": 2} for kind in KINDS if kind.startswith(("MaxPool", "MeanPool"))}
SETTINGS |= {kind: {"size": 2} for kind in KINDS if kind.startswith("Adaptive")}
SHAPES = {kind: SEQUENCE for kind in KINDS if kind.endswith("1")}
SHAPES |= {kind: VOLUME for kind in KINDS if kind.endswith("3")}
SHAPES |= dict.fromkeys(("Choice", "Dense", "Optional", "Parallel", "Repeat", "Residual"), ROWS)
SHAPES |= {"GRU": (2, 6, 4), "LSTM": (2, 6, 4), "MultiheadAttention": (2, 6, 4)}
KNOWN = sorted(kind for kind in KINDS if hasattr(layers, kind))


def of_kind(kind: str, scalar_type: str = "f32") -> tuple[Any, ag.Tensor]:
    """A builder that knows its sizes, and an input."""
    if kind == "Embedding":
        return layers.Embedding.builder(**SETTINGS[kind]), ag.Tensor([[0, 4, 1]])
    x = np.random.default_rng(0).normal(size=SHAPES.get(kind, IMAGE))
    tensor = ag.Tensor(x, scalar_type=scalar_type)
    made: Any = getattr(layers, kind).builder(**SETTINGS.get(kind, {}))
    return made.infer(layers.builders.shaped(x.shape[1:]))[0], tensor


@pytest.mark.parametrize("kind", KNOWN)
def test_a_description_builds_the_same_layer(kind: str) -> None:
    builder, x = of_kind(kind)
    described = json.loads(json.dumps(builder.describe()))
    again: Any = from_description(described)

    assert again.describe() == described
    y, z = builder.build(seed=1)(x), again.build(seed=1)(x)
    np.testing.assert_array_equal(y.numpy(), z.numpy())


@pytest.mark.parametrize("kind", KNOWN)
def test_the_shape_is_known_before_anything_runs(kind: str) -> None:
    if kind == "Embedding":
        return  # whose blank input holds floats
    builder, x = of_kind(kind)

    blank = builder.infer(layers.builders.shaped(x.shape[1:]))[1]

    assert builder.build()(x).shape[1:] == blank.shape[1:]


@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.parametrize("scalar_type", ["bf16", "f16", "f64"])
def test_a_layer_keeps_its_scalar_type(kind: str, scalar_type: str) -> None:
    builder, x = of_kind(kind, scalar_type)
    layer = builder.build(scalar_type=scalar_type)

    y = layer(x)

    assert str(y.scalar_type) == scalar_type
    with no_grad():
        assert str(layer(x).scalar_type) == scalar_type
    if y.requires_grad:
        y.sum().backward()
        assert all(str(each.grad.scalar_type) == scalar_type for each in layer.parameters())


# -- dropout -----------------------------------------------------------------------------


def test_dropout_throws_the_same_at_the_same_seed_and_path() -> None:
    x = ag.Tensor(np.ones((4, 10), np.float32))
    first, second, other = (Dropout.builder().build(seed=seed) for seed in (0, 0, 1))

    runs = [first(x).numpy() for _ in range(3)]

    assert all((run == second(x).numpy()).all() for run in runs)
    assert (runs[0] != runs[1]).any()
    assert (runs[0] != other(x).numpy()).any()


def test_dropout_goes_on_from_a_saved_counter() -> None:
    x = ag.Tensor(np.ones((4, 10), np.float32))
    first, second = Dropout.builder().build(), Dropout.builder().build()
    first(x)
    second.counter[...] = first.counter

    np.testing.assert_array_equal(first(x).numpy(), second(x).numpy())


def test_dropout_does_nothing_in_inference_and_moves_no_counter() -> None:
    dropout, x = Dropout.builder().build(), ag.Tensor(np.ones((4, 10), np.float32))

    with no_grad():
        assert dropout(x) is x
    assert dropout.counter.tolist() == [0, 0]
    with no_grad(), ag.training():
        assert (dropout(x).numpy() == 0).any()


def test_dropout_keeps_the_mean_and_the_share() -> None:
    x = ag.Tensor(np.ones((100, 1000), np.float32), requires_grad=True)

    y = Dropout.builder(rate=0.3).build()(x)
    y.sum().backward()

    assert abs((y.numpy() == 0).mean() - 0.3) < 5e-3
    assert abs(y.numpy().mean() - 1) < 5e-3
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())


def test_part_of_a_batch_throws_as_it_does_in_the_whole() -> None:
    x, key = np.ones((6, 5), np.float32), stream(0, "dropout")
    whole = ops.dropout(x, np.array([0, 3], np.uint64), key=key)
    blocks = 2  # of four words, for a sample of five numbers

    part = ops.dropout(x[4:], np.array([4 * blocks, 3], np.uint64), key=key)

    np.testing.assert_array_equal(part, whole[4:])


# -- embedding ---------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [None, 2])
def test_embedding_is_torchs(padding: int | None) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = np.array([[0, 2, 2], [4, 0, 0]])
    layer = Embedding.builder(rows=5, outputs=3, padding=padding).build(scalar_type="f64")
    module = torch.nn.Embedding(5, 3, padding_idx=padding, dtype=torch.float64)
    with torch.no_grad():
        module.weight.copy_(torch.tensor(layer.weight.numpy()))
    dy = np.random.default_rng(0).normal(size=(2, 3, 3))

    layer(ag.Tensor(x)).backward(dy)
    module(torch.tensor(x)).backward(torch.tensor(dy))

    np.testing.assert_allclose(layer.weight.grad.numpy(), module.weight.grad.numpy())


def test_an_index_without_a_row_is_named() -> None:
    with pytest.raises(IndexRangeError, match=r"embedding: x\[0, 1\] = 5 is out of range"):
        Embedding.builder(rows=5, outputs=3).build()(ag.Tensor([[0, 5]]))
    with pytest.raises(SettingsError, match="padding is no row"):
        Embedding.builder(rows=5, outputs=3, padding=5).build()


# -- first values ------------------------------------------------------------------------


def drawn(initialise: Any, shape: tuple[int, ...] = (400, 300)) -> Any:
    return initialise.values(stream(0, "w"), shape, shape).reshape(shape)


def test_deviations_are_as_described() -> None:
    for initialise, deviation in (
        (Normal(deviation=0.02), 0.02),
        (He(), np.sqrt(2 / 400)),
        (He(fan="out", uniform=True), np.sqrt(2 / 300)),
        (Glorot(), np.sqrt(2 / 700)),
        (Glorot(uniform=False), np.sqrt(2 / 700)),
    ):
        assert abs(drawn(initialise).std() / deviation - 1) < 0.01


def test_an_orthogonal_matrix_has_columns_at_right_angles() -> None:
    w = drawn(Orthogonal(gain=2.0), (40, 30))

    np.testing.assert_allclose(w.T @ w, 4 * np.eye(30), atol=1e-12)


def test_a_truncated_normal_stays_within_its_limit() -> None:
    w = drawn(TruncatedNormal(deviation=0.5, mean=1.0))

    assert np.abs(w - 1).max() <= 1.0
    assert abs(w.mean() - 1) < 0.01


@pytest.mark.parametrize("kind", sorted(INITIALISERS))
def test_initialisers_are_told_with_their_builder(kind: str) -> None:
    settings = {"value": 2.0} if kind == "Fill" else {}
    builder = Embedding.builder(rows=3, outputs=2, initialise=INITIALISERS[kind](**settings))

    again: Any = from_description(json.loads(json.dumps(builder.describe())))

    np.testing.assert_array_equal(again.build().weight.numpy(), builder.build().weight.numpy())


def test_an_unknown_initialiser_is_refused() -> None:
    with pytest.raises(SettingsError, match="write an initialiser"):
        Embedding.builder(rows=3, outputs=2, initialise="normal")  # type: ignore[arg-type]
