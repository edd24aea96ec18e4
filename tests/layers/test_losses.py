"""Losses beside torch's functions, over their settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import ops
from autograph.errors import IndexRangeError, ScalarTypeError, SettingsError, ShapeError

from .comparison import assert_close

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(5, 4))
VOLUME = RNG.normal(size=(2, 4, 3, 2))
CLASSES = np.array([0, 3, 1, 1, 2])
VOLUME_CLASSES = RNG.integers(0, 4, size=(2, 3, 2))
CHANCES = np.exp(RNG.normal(size=(5, 4)))
CHANCES /= CHANCES.sum(axis=1, keepdims=True)
WEIGHT = RNG.uniform(0.5, 2.0, size=4)
SIGNS = np.sign(RNG.normal(size=(5, 4)))
LOGARITHMS = np.log(CHANCES[::-1])
REDUCTIONS = ["mean", "sum", "none"]


def cases() -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any], str, dict[str, Any]]]:
    """(ours, its inputs and settings, theirs, its words)."""
    for x, t in ((SCORES, CLASSES), (VOLUME, VOLUME_CLASSES), (SCORES[:0], CLASSES[:0])):
        for ours, theirs in (("cross_entropy", "cross_entropy"), ("nll_loss", "nll_loss")):
            yield ours, (x, t), {}, theirs, {}
            yield ours, (x, t, WEIGHT), {}, theirs, {"weight": WEIGHT}
            yield ours, (x, t), {"ignore_index": 1}, theirs, {"ignore_index": 1}
            settings = {"ignore_index": 1}
            yield ours, (x, t, WEIGHT), settings, theirs, {"weight": WEIGHT, **settings}
        smooth = {"label_smoothing": 0.2}
        yield "cross_entropy", (x, t), smooth, "cross_entropy", smooth
        both = {"label_smoothing": 0.2, "ignore_index": 1}
        yield "cross_entropy", (x, t, WEIGHT), both, "cross_entropy", {"weight": WEIGHT, **both}
    yield "cross_entropy", (SCORES, CHANCES), {}, "cross_entropy", {}
    smooth = {"label_smoothing": 0.1}
    yield (
        "cross_entropy",
        (SCORES, CHANCES, WEIGHT),
        smooth,
        "cross_entropy",
        {"weight": WEIGHT, **smooth},
    )
    yield "bce_loss", (CHANCES, CHANCES[::-1]), {}, "binary_cross_entropy", {}
    yield (
        "bce_loss",
        (CHANCES, CHANCES[::-1], WEIGHT),
        {},
        "binary_cross_entropy",
        {"weight": WEIGHT},
    )
    yield "bce_with_logits_loss", (SCORES, CHANCES), {}, "binary_cross_entropy_with_logits", {}
    yield (
        "bce_with_logits_loss",
        (SCORES, CHANCES, WEIGHT),
        {"positive_weight": WEIGHT},
        "binary_cross_entropy_with_logits",
        {"weight": WEIGHT, "pos_weight": WEIGHT},
    )
    yield "mse_loss", (SCORES, CHANCES), {}, "mse_loss", {}
    yield "l1_loss", (SCORES, CHANCES), {}, "l1_loss", {}
    yield "huber_loss", (SCORES, CHANCES), {"delta": 0.7}, "huber_loss", {"delta": 0.7}
    yield "smooth_l1_loss", (SCORES, CHANCES), {"beta": 0.7}, "smooth_l1_loss", {"beta": 0.7}
    yield "smooth_l1_loss", (SCORES, CHANCES), {"beta": 0.0}, "smooth_l1_loss", {"beta": 0.0}
    yield "kl_loss", (LOGARITHMS, CHANCES), {}, "kl_div", {}
    yield (
        "kl_loss",
        (LOGARITHMS, LOGARITHMS[::-1]),
        {"log_target": True},
        "kl_div",
        {"log_target": True},
    )
    yield (
        "cosine_loss",
        (SCORES, CHANCES, SIGNS[:, 0]),
        {"margin": 0.1},
        "cosine_embedding_loss",
        {"margin": 0.1},
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("ours", "inputs", "settings", "theirs", "words"), list(cases()))
@pytest.mark.filterwarnings("ignore:reduction:UserWarning")  # torch, of kl_div's mean
def test_losses_are_torchs(
    ours: str,
    inputs: tuple[Any, ...],
    settings: dict[str, Any],
    theirs: str,
    words: dict[str, Any],
    reduction: str,
    dtype: Any,
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")

    def narrow(value: Any) -> Any:
        is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
        return np.ascontiguousarray(value, dtype) if is_float else value

    given = [narrow(each) for each in inputs]
    x = ag.Tensor(given[0], requires_grad=True)
    y = getattr(ops, ours)(x, *map(ag.Tensor, given[1:]), **settings, reduction=reduction)
    known = {
        name: torch.tensor(narrow(each)) if isinstance(each, np.ndarray) else each
        for name, each in words.items()
    }
    z = torch.tensor(given[0], requires_grad=True)
    count = 3 if theirs == "cosine_embedding_loss" else 2
    others = [torch.tensor(each) for each in given[1:count]]
    expected = getattr(torch.nn.functional, theirs)(z, *others, **known, reduction=reduction)
    assert_close(y, expected, dtype)
    dy = np.random.default_rng(1).normal(size=y.shape).astype(dtype)
    y.backward(dy)
    expected.backward(torch.tensor(dy))

    assert_close(x.grad, z.grad, dtype)


def test_the_divergence_is_the_sum_over_the_batch() -> None:
    loss = ops.kl_loss(LOGARITHMS, CHANCES, reduction="batch_mean")

    assert_close(loss, (CHANCES * (np.log(CHANCES) - LOGARITHMS)).sum() / 5)


def test_hinge_is_zero_beyond_the_margin() -> None:
    loss = ops.hinge_loss(np.array([2.0, 0.5, -1.0]), np.array([1.0, 1.0, 1.0]), reduction="none")

    np.testing.assert_array_equal(loss, [0.0, 0.5, 2.0])


def test_losses_are_stable_for_scores_of_any_size() -> None:
    x = ag.Tensor(np.array([1e4, -1e4, 3e38, -3e38, 0.0], np.float32), requires_grad=True)
    t = np.array([1.0, 0.0, 1.0, 0.0, 0.5], np.float32)

    loss = ops.bce_with_logits_loss(x, t, reduction="none")
    loss.sum().backward()

    np.testing.assert_allclose(loss.numpy(), [0, 0, 0, 0, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), [0, 0, 0, 0, 0], atol=1e-6)


def test_ignored_rows_do_not_count_whatever_they_hold() -> None:
    x = ag.Tensor(np.array([[1.0, 2.0], [-np.inf, -np.inf]], np.float32), requires_grad=True)

    loss = ops.nll_loss(x, np.array([1, -100]), ignore_index=-100)
    loss.backward()

    assert loss.item() == -2.0
    np.testing.assert_array_equal(x.grad.numpy(), [[0, -1], [0, 0]])


@pytest.mark.parametrize(
    "name", ["mse_loss", "l1_loss", "huber_loss", "bce_loss", "kl_loss", "hinge_loss"]
)
def test_losses_never_broadcast(name: str) -> None:
    with pytest.raises(ShapeError, match=f"{name}: losses do not broadcast") as caught:
        getattr(ops, name)(ag.Tensor([[1.0], [2.0]]), ag.Tensor([1.0, 2.0]))

    assert "  x       (2, 1)\n  target  (2,)" in str(caught.value)


def test_wrong_targets_are_refused() -> None:
    x = ag.Tensor(SCORES)
    with pytest.raises(ShapeError, match="cross_entropy: one weight for each class"):
        ops.cross_entropy(x, CLASSES, WEIGHT[:3])
    with pytest.raises(ShapeError, match="an axis of samples and one of classes"):
        ops.cross_entropy(x[0], CLASSES[0])
    with pytest.raises(IndexRangeError, match="target 4 at 1 of the flat target is not a class"):
        ops.cross_entropy(x, np.array([0, 4, 0, 0, 0]), reduction="sum")
    with pytest.raises(ShapeError, match="one class index for each row"):
        ops.cross_entropy(x, np.array([0, 1]), reduction="sum")
    with pytest.raises(ScalarTypeError, match="target holds class indices, and is bool"):
        ops.nll_loss(x, CLASSES > 0)
    with pytest.raises(SettingsError, match="reduction is 'median'"):
        ops.mse_loss(x, SCORES, reduction="median")


def test_classes_may_be_a_list() -> None:
    x = ag.Tensor(SCORES)
    for settings in ({}, {"reduction": "sum"}, {"label_smoothing": 0.2}):
        expected = ops.cross_entropy(x, CLASSES, **settings)

        assert ops.cross_entropy(x, CLASSES.tolist(), **settings).item() == expected.item()
    with pytest.raises(ScalarTypeError, match="holds class indices"):
        ops.cross_entropy(x, [0.5] * len(CLASSES))
