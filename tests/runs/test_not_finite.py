"""Values that are not finite, found in their batch, layer and op."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph.checkpoint import Checkpoint
from autograph.errors import NonFiniteError, SettingsError
from autograph.layers import Dense, MultiheadAttention
from autograph.optim import SGD
from autograph.runs import Run
from autograph.train import fit

from .trainings import CLASSES, DATA, IMAGES, Enough, Net, ends_at, events, fail, state, steps

rng = np.random.default_rng(0)


def broken(at: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The data with a NaN in the batch that step `at` of the first epoch draws."""
    images = IMAGES.copy()
    order = ag.data.Dataset(images, CLASSES).order(0, 1)
    images[order[10 * (at - 1)]] = np.nan
    return images, CLASSES


@pytest.mark.parametrize("every", [1, 4, 500])
def test_a_nan_in_the_data_is_found_in_its_batch(
    every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autograph.runs.keeper.EVERY", every)
    model, optimizer = state()
    with pytest.raises(NonFiniteError) as caught:
        next(fit(model, optimizer, broken(7), epochs=3, batch_size=10))

    assert "in step 7, epoch 1, batch 7" in str(caught.value)
    assert "conv2" in str(caught.value)
    assert "layer  conv1" in str(caught.value)
    assert 6 == optimizer.count
    assert all(np.isfinite(each.numpy()).all() for each in model.parameters())


def roots(y: ag.Tensor, t: ag.Tensor) -> ag.Tensor:
    """A loss that is finite at 0, where its gradient is not."""
    return y.abs().sqrt().mean()


@pytest.mark.parametrize("policy", ["stop", "skip"])
@pytest.mark.parametrize("every", [1, 500])
def test_a_model_that_is_not_finite_is_never_kept(
    every: int, policy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autograph.runs.keeper.EVERY", every)
    x = rng.normal(size=(50, 4)).astype(np.float32)
    x[ag.data.Dataset(x, CLASSES[:50]).order(0, 1)[30]] = 0
    model = Dense.builder(inputs=4, outputs=3).build()
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 10, "loss": roots}
    data, optimizer = (x, CLASSES[:50]), SGD(learning_rate=0.01)
    training = fit(model, optimizer, data, run=tmp_path, nan_policy=policy, **settings)
    if policy == "stop":
        with pytest.raises(NonFiniteError, match=r"in step 4, .*\n  op     sqrt_dx"):
            next(training)
    else:
        assert 40 == next(training).train.count
        training.close()  # type: ignore[attr-defined]
    for path in (tmp_path / "checkpoints").glob("*.safetensors"):
        assert np.isfinite(Checkpoint.open(path).tensors["model.weight"]).all()
    assert np.isfinite(model.parameters()[0].numpy()).all()


def test_a_mask_of_infinities_is_not_blamed() -> None:
    model = MultiheadAttention.builder(inputs=4, heads=2, causal=True).build()
    x = rng.normal(size=(30, 5, 4)).astype(np.float32)
    x[ag.data.Dataset(x, x).order(0, 1)[25], 3, 2] = np.inf

    def squares(y: ag.Tensor, t: ag.Tensor) -> ag.Tensor:
        return (y * y).mean()

    with pytest.raises(NonFiniteError) as caught:
        next(fit(model, SGD(learning_rate=0.01), (x, x), epochs=1, batch_size=10, loss=squares))

    assert "in step 3, epoch 1, batch 3" in str(caught.value)
    assert "float32 (10, 5, 4) largest" in str(caught.value)  # the data, and no mask
    assert "1 not finite" in str(caught.value)


def test_a_learning_rate_that_is_too_high_names_the_op() -> None:
    with pytest.raises(NonFiniteError, match=r"op     (sgd_update|linear|conv2)"):
        list(fit(Net.build(), SGD(learning_rate=1e30), DATA, epochs=3, batch_size=10))


def test_a_run_that_met_a_nan_saves_the_state_before_it(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError):
        next(fit(*state(), broken(7), epochs=3, batch_size=10, run=tmp_path))

    assert [6] == steps(tmp_path)
    assert events(tmp_path)[-1]["error"].startswith("NonFiniteError: fit: a value is not finite")


def test_a_batch_with_a_nan_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autograph.runs.keeper.EVERY", 4)
    model, optimizer = state()
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 10, "nan_policy": "skip"}
    (report,) = fit(model, optimizer, broken(7), run=tmp_path, **settings)

    assert 100 == report.train.count
    assert np.isfinite(report.train.loss)
    assert 10 == optimizer.count
    assert 11 == report.progress.step
    assert "step 7, epoch 1, batch 7" in next(
        each["what"] for each in events(tmp_path) if each["event"] == "skip"
    )


def test_a_run_that_ignores_a_nan_goes_on_too(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 10, "nan_policy": "ignore"}
    run = Run(tmp_path, every_steps=1)
    with pytest.raises(Enough):
        next(fit(*state(), broken(7), run=run, watch=ends_at(9, fail), **settings))
    reports = list(fit(*state(), broken(7), run=run, **settings))

    assert [True, True] == [np.isnan(each.train.loss) for each in reports]


def test_a_nan_can_be_ignored() -> None:
    (report,) = fit(*state(), broken(7), epochs=1, batch_size=10, nan_policy="ignore")

    assert np.isnan(report.train.loss)
    with pytest.raises(SettingsError, match="there is no nan_policy 'hide'"):
        fit(*state(), DATA, nan_policy="hide")  # type: ignore[arg-type]


def test_looking_for_nan_does_not_change_the_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for policy, every in (("ignore", 500), ("stop", 3)):
        monkeypatch.setattr("autograph.runs.keeper.EVERY", every)
        model, optimizer = state()
        for _ in fit(model, optimizer, DATA, epochs=2, batch_size=10, nan_policy=policy):  # type: ignore[arg-type]
            ag.save(tmp_path / policy, model, optimizer)

    assert (tmp_path / "ignore").read_bytes() == (tmp_path / "stop").read_bytes()
