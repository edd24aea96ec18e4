"""The examples run, and find what they should."""

from __future__ import annotations

import numpy as np
import pytest

from autograph.layers import Layer
from examples import kmeans_iris, losses, mlp, unit_vector
from examples.playground.__main__ import main as playground
from examples.playground.__main__ import network


def test_a_perceptron_reads_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    from autograph.data import Dataset, TrainTest, mnist

    whole = mnist()
    parts = [
        Dataset(each.inputs[:count], each.targets[:count], each.scale)
        for each, count in ((whole.train, 6000), (whole.test, 1000))
    ]
    monkeypatch.setattr(mlp, "mnist", lambda: TrainTest(*parts))

    last = mlp.main(epochs=2)[-1]

    assert last.test is not None
    assert last.test.accuracy is not None
    assert last.test.accuracy > 0.85


def test_a_vector_becomes_a_unit_vector_and_keeps_its_direction() -> None:
    v = unit_vector.main(steps=60).numpy()

    np.testing.assert_allclose(v, np.array([3, -4, 12]) / 13, atol=1e-5)


def test_losses_have_their_values_and_gradients() -> None:
    found = losses.main()

    value, gradient = found["mean squared error"]
    np.testing.assert_allclose(value, (0.25 + 0.0625 + 9) / 3)
    np.testing.assert_allclose(gradient, [-1 / 3, 0.5 / 3, -2])
    np.testing.assert_allclose(found["mean absolute error"][0], (0.5 + 0.25 + 3) / 3)
    np.testing.assert_allclose(np.sum(found["cross entropy"][1]), 0, atol=1e-7)


def test_k_means_finds_the_known_optimum_of_iris() -> None:
    assert 78.85 == pytest.approx(kmeans_iris.main(), abs=0.01)


def test_the_playground_learns_and_shows_regions(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--plain", "--data", "xor", "--epochs", "15", "--points", "200"]

    assert 0 == playground(options)

    shown = capsys.readouterr().out
    assert "░" in shown
    assert "recall" in shown


def test_a_network_has_the_depth_that_is_asked() -> None:
    model: Layer = network(hidden=8, depth=3, activation="Relu")

    assert (2 + 1) * 8 + 2 * (8 + 1) * 8 + (8 + 1) * 2 == model.parameter_count


def test_autograph_and_torch_train_alike() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from examples import torch_side_by_side

    ours, theirs = torch_side_by_side.main(steps=20)

    np.testing.assert_allclose(ours, theirs, rtol=2e-4)
    assert ours[-1] < ours[0] / 2
