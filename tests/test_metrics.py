"""Streaming metrics: gathered batch by batch, read once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autograph import Tensor
from autograph.errors import IndexRangeError, SettingsError, ShapeError
from autograph.metrics import ConfusionMeter, Mean, TopK

RNG = np.random.default_rng(0)
SCORES, TARGETS = RNG.normal(size=(50, 4)).astype(np.float32), RNG.integers(0, 4, size=50)


def gathered(meter: ConfusionMeter | TopK) -> ConfusionMeter | TopK:
    for part in (slice(0, 20), slice(20, 50)):
        meter.add(Tensor(SCORES[part]), Tensor(TARGETS[part]))
    return meter


def test_a_confusion_counts_targets_by_rows() -> None:
    found = gathered(ConfusionMeter(4)).read()
    predicted = SCORES.argmax(axis=1)

    assert found.counts.sum() == 50
    assert found.counts[1, 2] == ((TARGETS == 1) & (predicted == 2)).sum()
    assert found.accuracy == pytest.approx((TARGETS == predicted).mean())
    for c in range(4):
        right = ((TARGETS == c) & (predicted == c)).sum()
        precision, recall = right / (predicted == c).sum(), right / (TARGETS == c).sum()
        assert found.precision[c] == pytest.approx(precision)
        assert found.recall[c] == pytest.approx(recall)
        assert found.f1[c] == pytest.approx(2 * precision * recall / (precision + recall))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_target_among_the_k_largest_is_a_hit(k: int) -> None:
    order = np.argsort(-SCORES, axis=1)[:, :k]

    assert gathered(TopK(k)).read() == pytest.approx((order == TARGETS[:, None]).any(axis=1).mean())


def test_of_equal_scores_the_first_are_the_largest() -> None:
    top = TopK(1)
    top.add(Tensor([[1.0, 1.0], [1.0, 1.0]]), Tensor([0, 1]))

    assert top.read() == 0.5


def test_a_nan_is_never_a_hit() -> None:
    top = TopK(1)
    top.add(Tensor([[float("nan"), 1.0]]), Tensor([0]))

    assert top.read() == 0.0


def test_classes_that_never_come_have_shares_of_zero() -> None:
    meter = ConfusionMeter(3)
    meter.add(Tensor([[1.0, 0.0, 0.0]]), Tensor([0]))
    found = meter.read()

    assert found.precision.tolist() == found.recall.tolist() == found.f1.tolist() == [1, 0, 0]


def test_meters_start_again() -> None:
    mean, meter, top = Mean(), gathered(ConfusionMeter(4)), gathered(TopK(1))
    mean.add(Tensor(2.0), rows=3)
    for each in (mean, meter, top):
        each.reset()

    assert math.isnan(mean.read())
    assert math.isnan(top.read())
    assert meter.read().counts.sum() == 0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(IndexRangeError, match=r"target\[0\] = 4 is not a class"):
        ConfusionMeter(4).add(Tensor(SCORES[:1]), Tensor([4]))
    with pytest.raises(ShapeError, match="counts are i64 of all pairs of classes"):
        ConfusionMeter(3).add(Tensor(SCORES[:1]), Tensor([0]))
    with pytest.raises(SettingsError, match="k is 5"):
        TopK(5).add(Tensor(SCORES[:1]), Tensor([0]))
    for wrong in (-1, 4):  # which NumPy's indices would take
        with pytest.raises(IndexRangeError, match=rf"target\[0\] = {wrong} is not a class"):
            TopK(2).add(Tensor(SCORES[:1]), Tensor([wrong]))
