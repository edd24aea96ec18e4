"""Layers made of layers: sizes, paths, descriptions, errors."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
import pytest

import autograph as ag
from autograph.errors import DeclarationError, SettingsError, ShapeError
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


def test_a_forward_beside_sequential_is_refused() -> None:
    with pytest.raises(DeclarationError, match="has a forward besides\n  write  @layer"):

        @sequential(input=(3,))
        class Own(Layer):
            dense: Dense = Dense.builder(outputs=4)

            def forward(self, x: ag.Tensor) -> ag.Tensor:
                return self.dense(x) * 2


def test_what_belongs_to_the_class_is_no_field() -> None:
    @sequential(input=(3,))
    class Named(Layer):
        names: ClassVar[tuple[str, ...]] = ("cat", "dog")
        dense: Dense = Dense.builder(outputs=2)

    assert ["dense.weight"] == list(Named.build().named_parameters())
    assert ("cat", "dog") == Named.names


def test_fields_of_several_bases_stand_as_in_dataclasses() -> None:
    @sequential
    class First(Layer):
        first: Dense = Dense.builder(outputs=4)

    @sequential(input=(3,))
    class Second(Layer):
        second: Dense = Dense.builder(outputs=5)

    @sequential
    class Both(First, Second):
        relu: Relu

    assert ["second", "first", "relu"] == [each.name for each in fields(Both)]
    assert (2, 4) == Both.build()(ag.ones((2, 3))).shape


def test_what_is_tied_to_something_tied_is_one_parameter() -> None:
    @sequential(input=(4,), tie={"c.weight": "b.weight", "b.weight": "a.weight"})
    class Thrice(Layer):
        a: Dense = Dense.builder(outputs=4)
        b: Dense = Dense.builder(outputs=4)
        c: Dense = Dense.builder(outputs=4)

    model = Thrice.build()

    assert model.a.weight is model.b.weight is model.c.weight
    assert 16 == model.parameter_count


def test_a_bound_forward_goes_to_another_process() -> None:
    model = Net.build(seed=0)
    x = ag.random_normal((2, 3, 8, 8), seed=1)

    again = pickle.loads(pickle.dumps(model.forward))
    with ag.no_grad():
        np.testing.assert_array_equal(model(x).numpy(), again(x).numpy())
