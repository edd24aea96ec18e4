"""Layers made of layers: sizes, paths, descriptions, errors."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph.errors import SettingsError, ShapeError
from autograph.layers import (
    BatchNorm2,
    Choice,
    Conv2,
    Dense,
    Flatten,
    Gelu,
    Identity,
    Layer,
    Optional,
    Parallel,
    Relu,
    Repeat,
    Residual,
    from_description,
    sequential,
)


@sequential
class Body(Layer):
    conv: Conv2 = Conv2.builder(outputs=4, filter=3, padding=1)
    norm: BatchNorm2
    relu: Relu


@sequential(input=(3, 8, 8))
class Net(Layer):
    """Every combination in one."""

    first: Parallel = Parallel.builder(
        branches=(
            Conv2.builder(outputs=3, filter=3, padding=1),
            Conv2.builder(outputs=1, filter=1),
        )
    )
    block: Residual = Residual.builder(body=Body.builder())
    stack: Repeat = Repeat.builder(body=Residual.builder(body=Body.builder()), times=2)
    maybe: Optional = Optional.builder(body=Conv2.builder(outputs=9, filter=3), present=False)
    act: Choice = Choice.builder(
        options={"relu": Relu.builder(), "gelu": Gelu.builder()}, chosen="gelu"
    )
    flatten: Flatten
    head: Residual = Residual.builder(
        body=Dense.builder(outputs=5), shortcut=Dense.builder(outputs=5, bias=True)
    )


X = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)


def test_sizes_are_inferred_through_every_combination() -> None:
    shapes = {path: each.shape for path, each in Net.build().named_parameters().items()}

    assert shapes["first.branches.0.weight"] == (3, 3, 3, 3)
    assert shapes["block.body.conv.weight"] == (4, 4, 3, 3)
    assert shapes["stack.copies.1.body.norm.weight"] == (4,)
    assert shapes["head.shortcut.bias"] == (5,)


def test_a_model_of_combinations_trains() -> None:
    model = Net.build()

    y = model(ag.Tensor(X))
    (y * y).sum().backward()

    assert y.shape == (2, 5)
    assert all(each.grad is not None for each in model.parameters())


def test_a_residual_is_the_sum() -> None:
    block = Residual.builder(body=Dense.builder(inputs=3, outputs=3)).build()
    x = ag.Tensor(np.ones((2, 3), np.float32))

    np.testing.assert_allclose(block(x).numpy(), x.numpy() + block.body(x).numpy())


def test_copies_have_values_of_their_own() -> None:
    stack = Repeat.builder(body=Dense.builder(inputs=3, outputs=3), times=2).build()
    a, b = stack.parameters()

    assert (a.numpy() != b.numpy()).any()


def test_a_description_is_the_model() -> None:
    described = json.loads(json.dumps(Net.builder().describe()))
    again: Any = from_description(described)

    assert again.describe() == described
    y = Net.build(seed=3)(ag.Tensor(X))
    np.testing.assert_array_equal(again.build(seed=3)(ag.Tensor(X)).numpy(), y.numpy())


def test_a_resolved_description_is_the_model() -> None:
    model = Net.build(seed=3)
    again: Any = from_description(json.loads(json.dumps(model.describe()))).build(seed=3)

    np.testing.assert_array_equal(again(ag.Tensor(X)).numpy(), model(ag.Tensor(X)).numpy())


def test_a_shortcut_of_another_shape_is_refused_where_it_is_declared() -> None:
    with pytest.raises(ShapeError, match="Residual: what is added has different shapes") as caught:

        @sequential(input=(3,))
        class Wrong(Layer):
            block: Residual = Residual.builder(body=Dense.builder(outputs=4))

    assert "  (1, 3)\n  (1, 4)" in str(caught.value)
    assert any("in Wrong.block" in note for note in caught.value.__notes__)


def test_wrong_parts_are_refused() -> None:
    with pytest.raises(SettingsError, match="write a builder"):
        Residual.builder(body=3)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="'tanh' is no option"):
        Choice.builder(options={"none": Identity.builder()}, chosen="tanh").build()
