"""The live view: its parts in text, and what it knows of a run."""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import autograph as ag
from autograph.commands import train
from autograph.commands.train import Training
from autograph.control import Control, Stopped
from autograph.data import synthetic
from autograph.errors import SettingsError
from autograph.layers import Dense, Layer, Relu, sequential
from autograph.optim import SGD
from autograph.probe import confusion, norms, regions
from autograph.view import as_text, source_of
from autograph.view.canvas import Canvas, chart
from autograph.view.follow import Follower
from autograph.view.live import Live, LiveTraining
from autograph.view.parts import clock, resized
from autograph.view.scene import Picture, Scene

SNAPSHOT = Path(__file__).with_name("scene.txt")
LONG = 200  # seconds, for what is there at once where nobody else needs the machine


@sequential(input=(2,))
class Points(Layer):
    """Points (N, 2) -> scores (N, 2)."""

    dense1: Dense = Dense.builder(outputs=8, bias=True)
    relu1: Relu
    dense2: Dense = Dense.builder(outputs=2, bias=True)


def scene() -> Scene:
    """A scene with something of everything, the same each time."""
    y, x = np.mgrid[0:8, 0:16] / 16
    ramp = np.stack([x, 1 - x], axis=-1)
    return Scene(
        name="a run",
        state="training",
        curves={
            "train_loss": [(1, 1.0), (2, 0.5), (3, 0.25)],
            "test_loss": [(1, 0.9), (2, 0.6), (3, 0.4)],
            "test_accuracy": [(1, 0.7), (2, 0.9), (3, 0.95)],
        },
        epoch=3,
        epochs=10,
        done=30,
        count=60,
        rate=12_345.6,
        left=65,
        learning_rate=0.05,
        weight_norms={"dense.weight": 2.0, "dense.bias": 0.5},
        gradient_norms={"dense.weight": 0.01},
        classes=("cat", "dog"),
        confusion=np.array([[9, 1], [0, 10]]),
        pictures=[Picture(y, "cat", "cat"), Picture(x, "dog", "cat")],
        regions=ramp,
        points=np.array([[-0.5, 0.5], [0.5, -0.5]]),
        targets=np.array([0, 1]),
    )


def shown(what: Any, width: int = 80) -> str:
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(what)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def test_a_scene_in_text_is_as_it_was() -> None:
    """The file beside this one; remove it to have it written anew, and look at it."""
    found = shown(as_text(scene(), 80))
    if not SNAPSHOT.exists():
        SNAPSHOT.write_text(found, encoding="utf-8")

    assert SNAPSHOT.read_text(encoding="utf-8") == found


def test_an_empty_scene_is_shown_too() -> None:
    assert "nothing yet" in shown(as_text(Scene(name="new")))


def test_dots_outside_of_a_canvas_are_left_out() -> None:
    canvas = Canvas(1, 1)
    for x, y in ((0, 0), (1, 3), (2, 0), (-1, 0), (0, 4)):
        canvas.dot(x, y, "red")

    assert chr(0x2800 + 0x01 + 0x80) == canvas.text().plain


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [float("nan"), 2.0], [-1.0, 1e9]])
def test_charts_take_what_losses_may_be(values: list[float]) -> None:
    found = chart({"loss": list(enumerate(values))}, {}, 40, 8, log=True)

    assert 8 == len(found.plain.splitlines())


def test_images_are_resized_by_means() -> None:
    image = np.arange(16.0).reshape(4, 4) / 16

    found = resized(image, 2)

    assert (2, 2, 3) == found.shape
    np.testing.assert_allclose(found[..., 0], image.reshape(2, 2, 2, 2).mean((1, 3)))


def test_clocks() -> None:
    assert ["0:05", "1:05", "2:03:04"] == [clock(each) for each in (5, 65, 7384)]


# -- probes ----------------------------------------------------------------------------


def test_norms_are_those_of_weights_and_gradients_and_change_nothing() -> None:
    model, data = Points.build(), synthetic("xor", 50)
    before = model.dense1.weight.numpy().copy()

    found = norms(model, data, size=50)

    np.testing.assert_allclose(found["weight_norm/dense1.weight"], np.linalg.norm(before), 1e-6)
    assert model.dense1.weight.grad is None
    loss = model(ag.Tensor(data.inputs)).cross_entropy_loss(ag.Tensor(data.targets))
    loss.backward()
    assert model.dense1.weight.grad is not None
    expected = np.linalg.norm(model.dense1.weight.grad.numpy())
    np.testing.assert_allclose(found["gradient_norm/dense1.weight"], expected, rtol=1e-5)


def test_a_confusion_table_counts_every_sample() -> None:
    scores = np.eye(3)[[0, 1, 1, 2]]

    assert [[1, 1, 0], [0, 1, 0], [0, 0, 1]] == confusion(scores, np.array([0, 0, 1, 2])).tolist()


def test_regions_are_probabilities_with_the_first_row_at_the_top() -> None:
    model = Dense.builder(inputs=2, outputs=2).build()
    with ag.no_grad():
        model.weight[...] = np.array([[0, 0], [0, 9]], np.float32)  # class 1 where y > 0

    found = regions(model, (4, 6))

    np.testing.assert_allclose(found.sum(axis=-1), 1)
    assert (found[0, :, 1] > 0.9).all()
    assert (found[-1, :, 1] < 0.1).all()


# -- control ---------------------------------------------------------------------------


def test_what_is_asked_through_a_folder_is_obeyed(tmp_path: Path) -> None:
    asking, obeying = Control(tmp_path), Control(tmp_path)
    optimizer, saves = SGD(learning_rate=0.1), []

    asking.ask(learning_rate=0.05, saves=1)
    obeying.look(always=True)
    obeying.obey(save=lambda: saves.append(1), optimizer=optimizer)
    obeying.obey(save=lambda: saves.append(1), optimizer=optimizer)

    assert 0.05 == optimizer.learning_rate
    assert [1] == saves
    stood = (tmp_path / "control.json").stat()
    asking.ask(stopped=True)
    os.utime(tmp_path / "control.json", ns=(stood.st_atime_ns, stood.st_mtime_ns))  # a coarse clock
    obeying.look(always=True)
    with pytest.raises(Stopped):
        obeying.obey()
    obeying.forget()
    assert not Control(tmp_path).stopped
    assert [] == list(tmp_path.iterdir())


# -- sources ---------------------------------------------------------------------------


def live(epochs: int = 6) -> Live:
    data = synthetic("gaussians", 60)
    model = Points.build()
    return Live(model, SGD(learning_rate=0.1), data, data, epochs=epochs, batch_size=20)


def test_a_training_in_a_thread_fills_its_scene() -> None:
    source = live()

    source.start()
    source.join(LONG)

    found = source.update()
    assert source.error is None
    assert ("ended", 6) == (found.state, found.epoch)
    assert 6 == len(found.curves["train_loss"])
    assert found.regions is not None
    assert found.confusion is not None
    assert 60 == found.confusion.sum()
    assert set(found.weight_norms) == set(source.model.named_parameters())


def test_a_training_that_fails_says_so() -> None:
    source = live()
    source.model.dense2.weight.grad = None  # type: ignore[attr-defined]
    source.optimizer.update = None  # type: ignore[assignment, method-assign]

    source.start()
    source.join(LONG)

    assert "failed" == source.update().state
    assert isinstance(source.error, TypeError)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is no run"):
        Follower(tmp_path)


def test_a_run_that_is_at_work_is_followed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"epochs": 4}))
    (tmp_path / "now.json").write_text(json.dumps({"part": "train", "done": 3, "count": 6}))
    lines = [
        {"event": "start"},
        {"event": "epoch", "epoch": 1, "train": {"loss": 0.5}},
        {"event": "details", "epoch": 1, "seconds": 2.0, "rate": 100.0},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))

    found = Follower(tmp_path).update()

    assert ("training", 1, 4, 3, 6) == (
        found.state, found.epoch, found.epochs, found.done, found.count
    )  # fmt: skip
    assert (100.0, 6.0) == (found.rate, found.left)
    assert 0.375 == found.share


def run_of(folder: Path, name: str, losses: list[float]) -> None:
    """The folder of a run that has ended."""
    place = folder / name
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps({"epochs": len(losses)}))
    lines = [
        {"event": "epoch", "time": "2026-11-21T13:50:12+0000", "epoch": i, "test": {"loss": loss}}
        for i, loss in enumerate(losses, 1)
    ]
    (place / "log.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))


def test_all_runs_of_a_folder_are_seen_and_one_is_shown(tmp_path: Path) -> None:
    run_of(tmp_path, "a", [1.0, 0.5])
    run_of(tmp_path, "b", [1.0, 0.25, 0.5])
    (tmp_path / "notes.txt").touch()
    source = source_of(tmp_path)

    first = source.update().name
    source.choose(1)
    second = source.update()

    assert {"a", "b"} == {first, second.name}
    assert ["a", "b"] == [each.name for each in second.runs]
    table = shown(as_text(second))
    assert "test loss  ━ a  ━ b" in table
    assert ["b", "ended", "3/3", "0.500", "0.250"] in [
        line.replace("▶", "").split() for line in table.splitlines()
    ]
    assert "13:50:12  epoch 3, test loss 0.5" == source.followers["b"].scene.note
    run_of(tmp_path, "c", [0.1])
    assert ["a", "b", "c"] == [each.name for each in source.update().runs]


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is no run, and holds none"):
        source_of(tmp_path)


def training(points: str, *more: str) -> Training:
    parser = argparse.ArgumentParser()
    train.arguments(parser)
    options = parser.parse_args([points, "--data", "xor", "--batch-size", "20", *more])
    return Training(train.settings_of(options), options)


def until(done: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + LONG
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_training_of_the_command_line_is_watched_and_asked_through_its_folder(
    points: str, tmp_path: Path
) -> None:
    source = LiveTraining(training(points, "--run", "run", "--epochs", "1000000"))
    source.start()
    until(lambda: source.scene.epoch >= 2)
    follower = Follower(tmp_path / "run")

    follower.control.ask(saves=1, learning_rate=0.01)
    until((tmp_path / "run" / "checkpoints" / "asked.safetensors").exists)
    follower.control.ask(paused=True)
    until(lambda: source.scene.state == "paused" or source.control.paused)
    assert "paused" == follower.update().state
    follower.control.ask(paused=False, stopped=True)
    source.join(LONG)

    assert source.error is None
    assert ("ended", "stopped") == (source.scene.state, source.scene.note)
    assert 0.01 == source.optimizer.learning_rate
    assert follower.update().regions is not None
    again = LiveTraining(training(points, "--run", "run", "--epochs", "1000000"))
    again.start()
    until(lambda: again.scene.epoch > source.scene.epoch)  # it went on
    again.control.ask(stopped=True)
    again.join(LONG)
    assert again.error is None
