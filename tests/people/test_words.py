"""What people from elsewhere write is answered with what is written here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import words
from autograph.errors import DeclarationError, ScalarTypeError, SettingsError
from autograph.layers import (
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Layer,
    Parallel,
    Relu,
    layer,
    sequential,
)
from autograph.optim import SGD


def model() -> Any:
    return Dense.builder(inputs=3, outputs=2).build()


@pytest.mark.parametrize(("thing", "name", "says"), [
    (ag, "nn", "autograph has no nn\n  write  autograph.layers"),
    (ag, "randn", "write  ag.random_normal"),
    (ag.ones(2), "view", r"Tensor has no view\n  write  x.reshape\(shape\)"),
    (ag.ones(2), "nothing", "^Tensor has no nothing$"),
    (model(), "eval", r"Dense has no eval\n  write  with ag.no_grad\(\)"),
    (SGD(learning_rate=0.1), "step", r"SGD has no step\n  write  model.update\(optimizer\)"),
])  # fmt: skip
def test_a_word_of_another_library_is_translated(thing: Any, name: str, says: str) -> None:
    with pytest.raises(AttributeError, match=says):
        getattr(thing, name)


def test_no_word_is_one_that_is_known_here() -> None:
    for thing, table in (
        (ag, words.PACKAGE),
        (ag.ones(2), words.TENSOR),
        (model(), words.LAYER),
        (SGD(learning_rate=0.1), words.OPTIMIZER),
    ):
        assert [] == [name for name in table if hasattr(thing, name)]


def test_layers_are_not_made_by_their_sizes() -> None:
    with pytest.raises(SettingsError, match=r"holds a Parameter\n  write  Dense.builder"):
        Dense(3, 2)  # type: ignore[arg-type]
    for made in (lambda: Dense(inputs=3, outputs=2), lambda: Dropout(0.5)):  # type: ignore[call-arg]
        with pytest.raises(SettingsError, match=r"is built by its builder\n  write  D\w+.builder"):
            made()


def test_a_class_as_elsewhere_is_told_how_it_is_declared() -> None:
    class Net(Layer):
        def __init__(self) -> None:
            self.dense = Dense.builder(inputs=3, outputs=2).build()

    with pytest.raises(DeclarationError, match="Net is not declared\n  write  @layer  above"):
        Net().parameters()
    with pytest.raises(DeclarationError, match="Net: a declared layer has no __init__"):
        sequential(Net)


def test_what_is_declared_is_what_is_built() -> None:
    with pytest.raises(DeclarationError, match=r"M\.a is annotated Relu, and built as Dense"):

        @sequential(input=(3,))
        class M(Layer):
            a: Relu = Dense.builder(outputs=4)  # type: ignore[assignment]

    with pytest.raises(DeclarationError, match=r"N\.parts: layers in a list are not built"):

        @layer
        class N(Layer):
            parts: list[Any] = [Dense.builder(outputs=4)]  # noqa: RUF012

            def forward(self, x: Any) -> Any:
                return x


def test_settings_are_shared_by_no_two_models_and_come_back_from_a_file(tmp_path: Any) -> None:
    @layer
    class M(Layer):
        sizes: list[int] = [1]  # noqa: RUF012
        pair: tuple[int, ...] = (1, 2)

        def forward(self, x: Any) -> Any:
            return x

    first, second = M.build(), M.build()
    first.sizes.append(2)
    second.save(tmp_path / "m.safetensors")

    assert ([1], (1, 2)) == (second.sizes, M.load(tmp_path / "m.safetensors").pair)


def test_a_weight_that_is_asked_for_while_sizes_are_inferred_is_told() -> None:
    with pytest.raises(DeclarationError, match=r"Tied\.words: weight is asked for while sizes are"):

        @layer(input=(8,))
        class Tied(Layer):
            words: Embedding = Embedding.builder(rows=10, outputs=4)

            def forward(self, x: Any) -> Any:
                return self.words(x) @ self.words.weight.T


@pytest.mark.parametrize(("optimizer", "says"), [(SGD, "SGD is no"), (0.1, "float is no")])
def test_an_optimizer_that_is_none_is_told(optimizer: Any, says: str) -> None:
    with pytest.raises(SettingsError, match=f"{says} optimizer\n  write  optimizer = SGD"):
        model().update(optimizer)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((Dense, SGD()), "Dense is a class\n  write  Dense.build"),
        ((SGD(), model()), "SGD is no model"),
        ((model(), SGD), "SGD is a class\n  write  SGD"),
        ((model(), None), "NoneType is no optimizer"),
        ((model(), SGD(), "mse"), "loss is a str"),
    ],
)
def test_what_fit_cannot_train_is_told(arguments: Any, says: str) -> None:
    data = np.ones((4, 3), np.float32), np.zeros(4, np.int64)
    settings: Any = {"loss": arguments[2]} if len(arguments) > 2 else {}
    with pytest.raises(SettingsError, match=f"fit: {says}"):
        ag.fit(arguments[0], arguments[1], data, **settings)


def test_a_parameter_stays_one() -> None:
    dense = model()

    with pytest.raises(SettingsError, match=r"stays one\n  write  model.weight\[...\] = x"):
        dense.weight = ag.ones((3, 2))

    dense.weight = ag.Parameter(np.ones((3, 2), np.float32))
    assert ["weight"] == list(dense.named_parameters())


def test_a_field_without_an_annotation_is_refused() -> None:
    with pytest.raises(DeclarationError, match=r"M.a: a field is annotated\n  write  a: Dense = "):

        @sequential(input=(3,))
        class M(Layer):
            a = Dense.builder(outputs=4)


def test_a_model_may_begin_with_an_embedding_and_say_one_size_as_a_number() -> None:
    @sequential(input=8)  # type: ignore[call-overload, untyped-decorator]
    class Words(Layer):
        """Indices (N, 8) -> scores (N, 2)."""

        embedding: Embedding = Embedding.builder(rows=10, outputs=4)
        flatten: Flatten
        dense: Dense = Dense.builder(outputs=2)

    made = Words.build()

    assert (32, 2) == made.dense.weight.shape
    assert (5, 2) == made(ag.Tensor(np.zeros((5, 8), np.int64))).shape


def test_a_model_where_the_path_belongs_is_told() -> None:
    with pytest.raises(SettingsError, match=r"a str is no model\n  write  save\(path, model"):
        ag.save(model(), "model.safetensors")  # type: ignore[arg-type]


@pytest.mark.parametrize("thing", ["abc", None, {"a": 1}, 1j, iter([1.0])])
def test_what_is_no_array_is_told(thing: Any) -> None:
    with pytest.raises(ScalarTypeError, match="is no array"):
        ag.Tensor(thing)


def test_branches_are_written_as_a_list_too() -> None:
    branches = [Dense.builder(inputs=3, outputs=3), Relu.builder()]

    assert (1, 6) == Parallel.builder(branches=branches).build()(ag.ones((1, 3))).shape  # type: ignore[arg-type]
