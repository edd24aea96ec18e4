"""Runs: training that is stopped anywhere goes on, and ends in the same bytes."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph.checkpoint import Checkpoint, Snapshot
from autograph.control import Control, Stopped
from autograph.errors import CheckpointError, DataError, SettingsError
from autograph.layers import Dense
from autograph.optim import Adam, Cosine
from autograph.runs import Run
from autograph.train import fit

from .trainings import (
    CLASSES,
    DATA,
    IMAGES,
    TEST,
    Enough,
    Net,
    ends_at,
    events,
    fail,
    newest,
    state,
    steps,
    training,
)

# -- what fit takes --------------------------------------------------------------------


def test_numbers_of_numpy_are_numbers_of_fit() -> None:
    model, optimizer = state()
    sizes = {"epochs": np.int64(3), "batch_size": np.uint8(10), "test_batch_size": np.int32(7)}

    reports = list(fit(model, optimizer, DATA, TEST, **sizes))
    assert 3 == len(reports)
    assert json.dumps(reports[-1].progress.describe())


@pytest.mark.parametrize(("name", "value", "says"), [
    ("epochs", 1.5, "epochs is a whole number"),
    ("batch_size", "7", "batch_size is a whole number"),
    ("watch", 3, "watch takes Callable"),
    ("progress", {"epochs": 3}, "progress takes Progress"),
    ("run", 3, "run takes Run"),
    ("control", True, "control takes Control"),
    ("average", 0.9, "average takes Average"),
])  # fmt: skip
def test_what_fit_does_not_take_is_refused_before_it_begins(
    name: str, value: Any, says: str
) -> None:
    model, optimizer = state()
    with pytest.raises(SettingsError, match=says):
        fit(model, optimizer, DATA, **{name: value})


# -- exact resume ----------------------------------------------------------------------


def test_a_run_is_a_folder_that_a_person_can_read(whole: Path) -> None:
    config = json.loads((whole / "config.json").read_text())

    assert {"format", "model", "optimizer", "epochs", "batch_size", "seed", "data"} <= config.keys()
    assert ["start", "epoch", "epoch", "epoch"] == [each["event"] for each in events(whole)]
    assert [11, 22, 33] == steps(whole)
    assert (whole / "checkpoints" / "best.safetensors").exists()
    assert isinstance(ag.load(whole / "checkpoints" / "best.safetensors", layers=[Net]), Net)


def test_a_run_saves_what_training_without_one_comes_to(whole: Path, tmp_path: Path) -> None:
    model, optimizer = state()
    for report in fit(model, optimizer, DATA, TEST, epochs=3, batch_size=10):
        ag.save(tmp_path / "f", model, optimizer, report.progress.describe())

    assert newest(whole) == (tmp_path / "f").read_bytes()


@pytest.mark.parametrize("scalar_type", ["f32", "bf16"])
@pytest.mark.parametrize("step", [1, 5, 11, 12, 22, 30])
def test_a_run_stopped_by_an_error_goes_on_in_mid_epoch(
    step: int, scalar_type: str, tmp_path: Path
) -> None:
    list(training(tmp_path / "a", scalar_type=scalar_type))
    run = Run(tmp_path / "b", every_steps=1)
    with pytest.raises(Enough):
        list(training(run, scalar_type=scalar_type, watch=ends_at(step, fail)))
    reports = list(training(run, scalar_type=scalar_type))

    assert "exact" == reports[0].resumed
    assert reports[-1].train == list(training(tmp_path / "c", scalar_type=scalar_type))[-1].train
    assert newest(tmp_path / "a") == newest(tmp_path / "b")


def test_an_error_without_saves_in_between_loses_no_more_than_the_epoch(tmp_path: Path) -> None:
    with pytest.raises(Enough):
        list(training(tmp_path, watch=ends_at(15, fail)))

    assert [11] == steps(tmp_path)


def test_leaving_the_loop_leaves_a_run_to_go_on_with(whole: Path, begun: Path) -> None:
    reports = list(training(begun))

    assert [2, 3] == [each.epoch for each in reports]
    assert ["exact", ""] == [each.resumed for each in reports]
    assert newest(whole) == newest(begun)
    assert [] == list(training(begun))


def test_another_environment_is_named(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOGRAPH_THREADS", "97")
    optimizer = Adam(learning_rate=Cosine(peak=0.02))
    report = next(fit(Net.build(), optimizer, DATA, TEST, epochs=3, batch_size=10, run=begun))

    assert report.resumed.startswith("not exact: threads ")
    assert "-> 97, optimizer.learning_rate" in report.resumed


def test_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    reports = list(training(Run(tmp_path, keep=2), epochs=5))
    best = max(reports, key=lambda each: (each.test and each.test.accuracy) or 0.0)
    checkpoint = Checkpoint.open(tmp_path / "checkpoints" / "best.safetensors")

    assert [44, 55] == steps(tmp_path)
    assert best.epoch == checkpoint.progress["epoch"]


def test_minutes_are_heeded(tmp_path: Path) -> None:
    stop = ends_at(9, fail)

    def watch(name: str, done: int, count: int) -> None:
        for thread in threading.enumerate():
            if thread.name == "autograph-save":
                thread.join()  # while a checkpoint is written no other is due
        stop(name, done, count)

    with pytest.raises(Enough):
        list(training(Run(tmp_path, every_minutes=1e-9, keep=99), watch=watch))

    assert [*range(1, 10)] == steps(tmp_path)


# -- what does not fit -----------------------------------------------------------------


def test_what_a_run_did_not_begin_with_is_refused(begun: Path) -> None:
    other = IMAGES.copy()
    other[7, 0, 0, 0] += 1
    with pytest.raises(DataError, match="data is another than the run began with"):
        next(fit(*state(), (other, CLASSES), TEST, epochs=3, batch_size=10, run=begun))
    with pytest.raises(SettingsError, match="batch_size is another"):
        next(fit(*state(), DATA, TEST, epochs=3, batch_size=11, run=begun))
    with pytest.raises(SettingsError, match="seed is another"):
        next(training(begun, seed=3))
    with pytest.raises(SettingsError, match="a run knows its progress"):
        fit(*state(), DATA, run=begun, progress=object())  # type: ignore[arg-type]


def test_two_trainings_cannot_share_a_folder(tmp_path: Path) -> None:
    first = training(tmp_path)
    next(first)
    with pytest.raises(CheckpointError, match="another training is at work"):
        next(training(tmp_path))
    first.close()  # type: ignore[attr-defined]

    assert 2 == next(training(tmp_path)).epoch


def test_a_damaged_checkpoint_gives_way_to_the_one_before(whole: Path, tmp_path: Path) -> None:
    for report in training(Run(tmp_path, keep=9)):
        if report.epoch == 2:
            break
    last = tmp_path / "checkpoints" / "step-000000022.safetensors"
    last.write_bytes(last.read_bytes()[:-1])
    reports = list(training(tmp_path))

    assert [2, 3] == [each.epoch for each in reports]
    assert "damaged" in [each["event"] for each in events(tmp_path)]
    assert newest(whole) == newest(tmp_path)


def test_a_run_without_a_whole_checkpoint_is_not_begun_anew(begun: Path) -> None:
    for path in (begun / "checkpoints").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="none of its checkpoints is whole"):
        next(training(begun))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format":NaN}', '{"format":"autograph-run/2"}'])
def test_a_damaged_config_is_refused(text: str, begun: Path) -> None:
    (begun / "config.json").write_text(text)
    with pytest.raises((CheckpointError, SettingsError), match="run: "):
        next(training(begun))


def test_a_run_that_is_refused_keeps_its_config(begun: Path) -> None:
    before = (begun / "config.json").read_bytes()
    model = Dense.builder(inputs=3, outputs=4).build()
    with pytest.raises(CheckpointError, match="it does not fit the model"):
        next(fit(model, Adam(), DATA, TEST, epochs=3, batch_size=10, run=begun))

    assert before == (begun / "config.json").read_bytes()


def test_another_loss_is_named(begun: Path) -> None:
    def doubled(scores: ag.Tensor, targets: ag.Tensor) -> ag.Tensor:
        return scores.cross_entropy_loss(targets) * 2.0

    report = next(training(begun, loss=doubled))

    assert report.resumed.startswith("not exact: loss cross_entropy_loss -> ")
    assert report.resumed.endswith("doubled")


def test_a_training_that_never_begins_leaves_the_folder_to_others(tmp_path: Path) -> None:
    training(tmp_path)

    assert 1 == next(training(tmp_path)).epoch


def test_what_killed_trainings_left_is_swept(begun: Path) -> None:
    left = [
        begun / "checkpoints" / ".step-000000003.safetensors.0123456789abcdef.partial",
        begun / ".config.json.0123456789abcdef.partial",
    ]
    for path in left:
        path.write_bytes(b"part")
    with (begun / "log.jsonl").open("ab") as log:
        log.write(b'{"event": "epo')
    list(training(begun))

    assert not any(path.exists() for path in left)
    told = [each["event"] for each in events(begun)]
    assert ["start", "epoch", "resume", "epoch", "epoch"] == told


def test_a_slow_disk_does_not_stop_training(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    begun, may, write = threading.Event(), threading.Event(), Snapshot.write

    def slow(snapshot: Snapshot, path: Path) -> None:
        begun.set()
        assert may.wait(300)
        write(snapshot, path)
        written.append(Path(path).name)

    monkeypatch.setattr(Snapshot, "write", slow)
    watch = ends_at(2, lambda: begun.wait(300))  # the first is being written
    for report in training(Run(tmp_path, every_steps=1), watch=watch):
        if report.epoch == 3:
            may.set()  # three epochs are through, and nothing is written yet

    assert 1 + 3 + 1 == len(written)  # the first, those that are kept, and the best
    assert [1, 32, 33] == steps(tmp_path)
    assert newest(whole) == newest(tmp_path)


# -- who watches -----------------------------------------------------------------------


def test_a_run_obeys_what_is_asked_through_its_folder(whole: Path, tmp_path: Path) -> None:
    asking = Control(tmp_path)
    run = Run(tmp_path, every_minutes=None)
    with pytest.raises(Stopped):
        list(training(run, watch=ends_at(3, lambda: (asking.ask(stopped=True), time.sleep(0.2)))))

    assert [4] == steps(tmp_path)
    assert "interrupt" == events(tmp_path)[-1]["event"]
    reports = list(training(run))
    assert "exact" == reports[0].resumed
    assert newest(whole) == newest(tmp_path)


def test_a_state_that_somebody_asks_for_stays_and_can_be_gone_on_with(tmp_path: Path) -> None:
    control = Control()
    ask = ends_at(5, lambda: control.ask(saves=1, learning_rate=0.5))
    model, optimizer = state()
    (report,) = fit(
        model, optimizer, DATA, epochs=1, batch_size=10, run=tmp_path, watch=ask, control=control
    )
    checkpoint = Checkpoint.open(tmp_path / "checkpoints" / "asked.safetensors")

    assert 6 == checkpoint.progress["step"] == checkpoint.updates
    assert 0.5 == optimizer.learning_rate
    assert 11 == report.progress.step


def test_a_paused_training_waits_and_heeds_signals(tmp_path: Path) -> None:
    class Waiting(Control):
        """Is looked at with `always` while training waits, and gets its signal then."""

        def look(self, *, always: bool = False) -> None:
            if always:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        list(training(tmp_path, control=Waiting(paused=True)))

    assert [1] == steps(tmp_path)


def test_a_training_without_a_run_is_stopped_too() -> None:
    control = Control()
    model, optimizer = state()
    stop = ends_at(4, lambda: control.ask(stopped=True))
    with pytest.raises(Stopped):
        next(fit(model, optimizer, DATA, epochs=1, batch_size=10, watch=stop, control=control))

    assert 5 == optimizer.count


@pytest.mark.parametrize(
    "asked",
    [{"learning_rate": float("nan")}, {"learning_rate": -1.0}, {"paused": 1}, {"look": True}],
)
def test_what_cannot_be_asked_is_refused_and_passed_over(
    asked: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="cannot be asked"):
        Control().ask(**asked)
    (tmp_path / "control.json").write_text(json.dumps(asked))
    control = Control(tmp_path)
    control.look(always=True)

    assert Control(tmp_path).learning_rate is None
    assert control.paused is False
