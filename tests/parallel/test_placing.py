"""One model on several devices gives what it gives on one, also with micro-batches under way."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest

import autograph as ag
from autograph.backends import NUMPY, using
from autograph.device import Device
from autograph.errors import SettingsError
from autograph.layers import Dense, Layer
from autograph.optim import Adam
from autograph.parallel.placing import devices_of

from ..fake_device import FAKE, fake_devices
from .worker import DATA, TEST, Net, Normed

PLACES = {
    "conv1": "fake:0", "dense1": "fake:1", "dense2": "fake:1"
}  # fmt: skip


@pytest.fixture
def two_devices() -> Iterator[None]:
    with fake_devices(), using(NUMPY, FAKE):
        yield


def trained(model: Layer, micro_batches: int) -> tuple[list[float], Adam]:
    optimizer = Adam(learning_rate=0.01)
    reports = ag.fit(
        model, optimizer, DATA, TEST, epochs=2, batch_size=25, micro_batches=micro_batches
    )
    return [loss for each in reports for loss in (each.train.loss, each.test.loss)], optimizer


@pytest.mark.parametrize("micro_batches", [1, 4])
def test_a_placed_model_trains_as_on_one_device(two_devices: None, micro_batches: int) -> None:
    expected = Net.build(seed=1)
    losses, _ = trained(expected, 1)
    model = Net.build(seed=1, device="fake:0").place(PLACES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a step on several devices is not captured
        found, optimizer = trained(model, micro_batches)

    np.testing.assert_allclose(found, losses, rtol=1e-6)
    for path, w in model.named_parameters().items():
        assert str(w.device) == PLACES[path.split(".")[0]]
        np.testing.assert_allclose(w.numpy(), expected.named_parameters()[path].numpy(), atol=1e-6)
        for name, each in optimizer.state[path].items():
            assert each.device is w.device, f"{path}.{name}"


def test_what_each_device_holds(two_devices: None) -> None:
    model = Net.build().place(PLACES)
    sizes = {path: w.nbytes for path, w in model.named_parameters().items()}

    held = devices_of(model)

    assert held[Device("fake:0")] == sizes["conv1.weight"]
    assert held[Device("fake:1")] == sum(sizes.values()) - sizes["conv1.weight"]


def test_a_placed_model_is_placed_again_and_copied(two_devices: None) -> None:
    model = Net.build().place(PLACES)
    expected = model(ag.Tensor(DATA[0][:3], device="fake:0")).numpy()
    model.place({**PLACES, "dense2": "fake:0"})
    y = model(ag.Tensor(DATA[0][:3], device="fake:0"))

    assert str(y.device) == "fake:0"
    np.testing.assert_array_equal(y.numpy(), expected)


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ({"conv9": "host"}, "'conv9' is no layer"),
        ({"conv1": "host"}, "left  dense1.weight"),
    ],
)
def test_places_that_do_not_fit_are_refused(places: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Net.build().place(places)


def test_micro_batches_of_a_norm_see_their_own_samples() -> None:
    """Batch normalisation standardises by a micro-batch: documented, and not the same."""
    model = Normed.build(seed=1)
    found, _ = trained(model, 5)

    assert np.isfinite(found).all()
    assert isinstance(model.dense1, Dense)
