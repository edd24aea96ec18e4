"""Runs: training that is stopped anywhere goes on, and ends in the same bytes."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import atomic
from autograph.checkpoint import Checkpoint, Snapshot
from autograph.control import Control, Stopped
from autograph.errors import CheckpointError, DataError, NonFiniteError, SettingsError
from autograph.layers import (
    Conv2,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2,
    MultiheadAttention,
    Relu,
    sequential,
)
from autograph.optim import SGD, Adam, Cosine
from autograph.runs import Folder, Run
from autograph.runs import guard as guards
from autograph.train import Report, fit

rng = np.random.default_rng(0)
IMAGES = rng.normal(size=(110, 1, 8, 8)).astype(np.float32)
CLASSES = rng.integers(0, 4, 110)
DATA = (IMAGES, CLASSES)
TEST = (IMAGES[:50], CLASSES[:50])


@sequential(input=(1, 8, 8))
class Net(Layer):
    """Images (N, 1, 8, 8) -> class scores (N, 4), some of them left to chance."""

    conv1: Conv2 = Conv2.builder(outputs=3, filter=3)
    relu1: Relu
    pool1: MaxPool2 = MaxPool2.builder(filter=2)
    flatten: Flatten
    dropout: Dropout = Dropout.builder(rate=0.25)
    dense1: Dense = Dense.builder(outputs=4, bias=True)


def state(scalar_type: str = "f32") -> tuple[Layer, Adam]:
    """A fresh model and optimizer, equal each time."""
    optimizer = Adam(learning_rate=Cosine(peak=0.01))
    return Net.build(seed=1, scalar_type=scalar_type), optimizer


def training(run: Any, epochs: int = 3, scalar_type: str = "f32", **more: Any) -> Iterator[Report]:
    """The training that these tests stop and go on with: 11 steps an epoch."""
    return fit(*state(scalar_type), DATA, TEST, epochs=epochs, batch_size=10, run=run, **more)


def newest(run: Path) -> bytes:
    """The newest checkpoint of a run."""
    return max((run / "checkpoints").glob("step-*")).read_bytes()


def steps(run: Path) -> list[int]:
    return sorted(int(path.stem[5:]) for path in (run / "checkpoints").glob("step-*"))


def events(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


class Enough(Exception):
    """Raised where a test wants training to end."""


def ends_at(step: int, how: Callable[[], Any]) -> Any:
    """A `watch` that does something after so many training batches."""
    seen = [0]

    def watch(name: str, done: int, count: int) -> None:
        seen[0] += name == "train"
        if seen[0] == step:
            how()

    return watch


def fail() -> None:
    raise Enough


# -- exact resume ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    run = tmp_path_factory.mktemp("whole") / "run"
    for _ in training(run):
        pass
    return run


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
    for _ in training(tmp_path / "a", scalar_type=scalar_type):
        pass
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


def test_leaving_the_loop_leaves_a_run_to_go_on_with(whole: Path, tmp_path: Path) -> None:
    for _ in training(tmp_path):
        break
    reports = list(training(tmp_path))

    assert [2, 3] == [each.epoch for each in reports]
    assert ["exact", ""] == [each.resumed for each in reports]
    assert newest(whole) == newest(tmp_path)
    assert [] == list(training(tmp_path))


def test_another_environment_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in training(tmp_path):
        break
    monkeypatch.setenv("AUTOGRAPH_THREADS", "97")
    optimizer = Adam(learning_rate=Cosine(peak=0.02))
    report = next(fit(Net.build(), optimizer, DATA, TEST, epochs=3, batch_size=10, run=tmp_path))

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


def test_what_a_run_did_not_begin_with_is_refused(tmp_path: Path) -> None:
    for _ in training(tmp_path):
        break
    other = IMAGES.copy()
    other[7, 0, 0, 0] += 1
    with pytest.raises(DataError, match="data is another than the run began with"):
        next(fit(*state(), (other, CLASSES), TEST, epochs=3, batch_size=10, run=tmp_path))
    with pytest.raises(SettingsError, match="batch_size is another"):
        next(fit(*state(), DATA, TEST, epochs=3, batch_size=11, run=tmp_path))
    with pytest.raises(SettingsError, match="seed is another"):
        next(fit(*state(), DATA, TEST, epochs=3, batch_size=10, seed=3, run=tmp_path))
    with pytest.raises(SettingsError, match="a run knows its progress"):
        fit(*state(), DATA, run=tmp_path, progress=object())  # type: ignore[arg-type]


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


def test_a_run_without_a_whole_checkpoint_is_not_begun_anew(tmp_path: Path) -> None:
    for _ in training(tmp_path):
        break
    for path in (tmp_path / "checkpoints").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="none of its checkpoints is whole"):
        next(training(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format":NaN}', '{"format":"autograph-run/2"}'])
def test_a_damaged_config_is_refused(text: str, tmp_path: Path) -> None:
    for _ in training(tmp_path):
        break
    (tmp_path / "config.json").write_text(text)
    with pytest.raises((CheckpointError, SettingsError), match="run: "):
        next(training(tmp_path))


def test_a_run_that_is_refused_keeps_its_config(tmp_path: Path) -> None:
    for _ in training(tmp_path):
        break
    before = (tmp_path / "config.json").read_bytes()
    model = Dense.builder(inputs=3, outputs=4).build()
    with pytest.raises(CheckpointError, match="it does not fit the model"):
        next(fit(model, Adam(), DATA, TEST, epochs=3, batch_size=10, run=tmp_path))

    assert before == (tmp_path / "config.json").read_bytes()


def test_another_loss_is_named(tmp_path: Path) -> None:
    for _ in training(tmp_path):
        break

    def doubled(scores: ag.Tensor, targets: ag.Tensor) -> ag.Tensor:
        return scores.cross_entropy_loss(targets) * 2.0

    report = next(training(tmp_path, loss=doubled))

    assert report.resumed.startswith("not exact: loss cross_entropy_loss -> ")
    assert report.resumed.endswith("doubled")


def test_a_training_that_never_begins_leaves_the_folder_to_others(tmp_path: Path) -> None:
    training(tmp_path)

    assert 1 == next(training(tmp_path)).epoch


def test_what_killed_trainings_left_is_swept(tmp_path: Path) -> None:
    for _ in training(tmp_path):
        break
    left = [
        tmp_path / "checkpoints" / ".step-000000003.safetensors.0123456789abcdef.partial",
        tmp_path / ".config.json.0123456789abcdef.partial",
    ]
    for path in left:
        path.write_bytes(b"part")
    with (tmp_path / "log.jsonl").open("ab") as log:
        log.write(b'{"event": "epo')
    for _ in training(tmp_path):
        pass

    assert not any(path.exists() for path in left)
    assert ["start", "epoch", "resume", "epoch", "epoch"] == [
        each["event"] for each in events(tmp_path)
    ]


def test_a_slow_disk_does_not_stop_training(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    may, write = threading.Event(), Snapshot.write

    def slow(snapshot: Snapshot, path: Path) -> None:
        assert may.wait(60)
        write(snapshot, path)
        written.append(Path(path).name)

    monkeypatch.setattr(Snapshot, "write", slow)
    for report in training(Run(tmp_path, every_steps=1)):
        if report.epoch == 3:
            may.set()  # three epochs are through, and nothing is written yet

    assert len(written) <= 1 + 3 + 1  # the first, those that are kept, and the best
    assert [31, 32, 33] == steps(tmp_path) or [32, 33] == steps(tmp_path)[-2:]
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
    control = Control(paused=True)
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        list(training(tmp_path, control=control))

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


# -- disks -----------------------------------------------------------------------------


def test_a_full_disk_is_told_and_training_goes_on_later(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, full = os.write, list[bool]()

    def limited(descriptor: int, data: Any) -> int:
        if full and len(data) > 1000:
            write(descriptor, memoryview(data)[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", limited)
    run = training(Run(tmp_path, every_steps=1))
    next(run)
    full.append(True)
    with pytest.raises(CheckpointError, match="no space left on device"):
        list(run)
    before = newest(tmp_path)
    full.clear()

    assert not list((tmp_path / "checkpoints").glob(".*"))
    assert before == newest(tmp_path)
    first, *_ = training(tmp_path)

    assert "exact" == first.resumed
    assert newest(whole) == newest(tmp_path)


def test_a_full_disk_leaves_model_and_optimizer_and_a_later_save_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, optimizer = state()
    next(fit(model, optimizer, DATA, epochs=3, batch_size=10))
    ag.save(tmp_path / "f", model, optimizer)
    before, file = Snapshot.of(model, optimizer), (tmp_path / "f").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "bad disk")))
        with pytest.raises(CheckpointError, match="bad disk"):
            ag.save(tmp_path / "f", model, optimizer, {"more": 1})
    after = Snapshot.of(model, optimizer)

    assert file == (tmp_path / "f").read_bytes()
    assert before.document == after.document
    assert {k: v.tobytes() for k, v in before.arrays.items()} == {
        k: v.tobytes() for k, v in after.arrays.items()
    }
    ag.save(tmp_path / "f", model, optimizer, {"more": 1})

    assert file != (tmp_path / "f").read_bytes()


LIMITED = """
import resource, sys
import numpy as np
from autograph.errors import CheckpointError
from autograph.files import read, write
write(sys.argv[1], {"x": np.arange(100.0)})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write(sys.argv[1], {"x": np.zeros(100_000)})
except CheckpointError as error:
    print(error)
assert (read(sys.argv[1]).tensors["x"] == np.arange(100.0)).all()
write(sys.argv[1], {"x": np.ones(10)})
"""


def test_a_limit_on_file_sizes_is_told(tmp_path: Path) -> None:
    call = [sys.executable, "-c", LIMITED, str(tmp_path / "f")]
    done = subprocess.run(call, capture_output=True, text=True, check=True)

    assert "file too large\n  what was there is untouched\n  raise the limit" in done.stdout
    assert [tmp_path / "f"] == list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        atomic,
        "_temporary",
        lambda target: (_ for _ in ()).throw(PermissionError(errno.EACCES, "Permission denied")),
    )
    with pytest.raises(CheckpointError, match=r"permission denied\n(.*)\n  save where"):
        Net.build().save(tmp_path / "f")
    with pytest.raises(CheckpointError, match="make the folder first"):
        atomic.write_whole(tmp_path / "absent" / "f", [])


# -- values that are not finite ------------------------------------------------------------


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
    training = fit(
        model,
        SGD(learning_rate=0.01),
        (x, CLASSES[:50]),
        run=tmp_path,
        nan_policy=policy,
        **settings,
    )
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


# -- signals and kills -----------------------------------------------------------------

SCRIPT = """
import sys, time
from tests.test_runs import *
run = Run(sys.argv[1], every_steps=int(sys.argv[2]), keep=2)
print("begins", flush=True)
for report in training(run, epochs=6, watch=lambda *_: time.sleep(float(sys.argv[3]))):
    print(report.epoch, flush=True)
print("ends", flush=True)
"""


def started(run: Path, every: int, pause: float) -> subprocess.Popen[str]:
    call = [sys.executable, "-c", SCRIPT, str(run), str(every), str(pause)]
    root = Path(__file__).parents[1]
    return subprocess.Popen(
        call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root
    )


def finished(run: Path) -> bytes:
    """The newest checkpoint once the run has been gone on with to its end."""
    for _ in training(Run(run, every_steps=2, keep=2), epochs=6):
        pass
    return newest(run)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return finished(tmp_path_factory.mktemp("expected"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_step_and_the_state_is_saved(
    number: signal.Signals, expected: bytes, tmp_path: Path
) -> None:
    process = started(tmp_path, 1000, 0.02)
    assert process.stdout is not None
    assert "begins\n" == process.stdout.readline()
    assert "1\n" == process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == -number or (
        number is signal.SIGINT and "KeyboardInterrupt" in errors
    )
    assert "interrupt" == events(tmp_path)[-1]["event"]
    assert steps(tmp_path)[-1] % 11  # in mid-epoch
    assert expected == finished(tmp_path)


def test_a_signal_that_somebody_handles_still_ends_the_training(tmp_path: Path) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        for step in (5, 11, 13):
            stop = ends_at(step, lambda: signal.raise_signal(signal.SIGTERM))
            with pytest.raises(KeyboardInterrupt):
                list(training(tmp_path, epochs=6, watch=stop))
    finally:
        signal.signal(signal.SIGTERM, before)

    assert [signal.SIGTERM] * 3 == seen
    assert len(events(tmp_path)) >= 6
    assert "exact" == next(training(tmp_path, epochs=6)).resumed


def test_a_run_killed_at_random_moments_goes_on_to_the_same_bytes(
    expected: bytes, tmp_path: Path
) -> None:
    chance, last = random.Random(0), -1
    for _ in range(6):
        process = started(tmp_path, 1, 0.004)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.random() * 0.4)
        process.kill()
        process.communicate(timeout=60)
        if (tmp_path / "checkpoints").exists() and steps(tmp_path):
            checkpoint = Checkpoint.open(max((tmp_path / "checkpoints").glob("step-*")))
            checkpoint.file.verify()

            assert last <= checkpoint.progress["step"]
            last = checkpoint.progress["step"]

    assert expected == finished(tmp_path)
    assert not list((tmp_path / "checkpoints").glob(".*"))


KILLED = """
import os, sys
import numpy as np
from autograph import atomic
from autograph.files import write
path, wanted = sys.argv[1], int(sys.argv[2])
calls = 0
def killing(name):
    real = getattr(os, name)
    def call(*arguments, **more):
        global calls
        calls += 1
        if calls == wanted:
            if name == "write":
                real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            os.kill(os.getpid(), 9)
        result = real(*arguments, **more)
        return result
    setattr(os, name, call)
for name in ("open", "write", "fsync", "replace", "close", "unlink"):
    killing(name)
write(path, {"x": np.full(1000, 2.0), "y": np.zeros(3)}, {"save": 2})
print("saved", calls)
"""


def test_a_save_killed_at_each_of_its_operations_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    from autograph.files import read, write

    path, seen = tmp_path / "f", set()
    for wanted in range(1, 100):
        write(path, {"x": np.full(1000, 1.0)}, {"save": 1})
        call = [sys.executable, "-c", KILLED, str(path), str(wanted)]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        found = read(path)
        seen.add(found.metadata["save"])

        assert float(found.metadata["save"]) == found.tensors["x"][-1]
        assert len(list(tmp_path.iterdir())) <= 2  # the file, and one leftover at most
        if "saved" in done.stdout:
            break
        assert done.returncode == -signal.SIGKILL
    write(path, {"x": np.zeros(1)})

    assert {1, 2} == seen
    assert wanted > 6
    assert [path] == list(tmp_path.iterdir())


def test_what_fails_in_the_background_is_raised_by_the_next_call(tmp_path: Path) -> None:
    folder = Folder(Run(tmp_path))
    model, optimizer = state()
    good = Snapshot.of(model, optimizer, {"step": 1})
    bad = Snapshot({"x": np.array([object()])}, {"progress": {"step": 2}})
    folder.save(good)
    folder.save(bad)
    with pytest.raises(CheckpointError, match="arrays of object are not taken"):
        folder.close()

    assert [1] == steps(tmp_path)
    assert threading.active_count() == 1 or not any(
        each.name == "autograph-save" for each in threading.enumerate()
    )


def test_the_guard_looks_seldom() -> None:
    assert guards.EVERY >= 100
