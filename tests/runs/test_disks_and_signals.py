"""Runs whose disk is full, that get a signal, and that are killed at any moment."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import atomic
from autograph.checkpoint import Checkpoint, Snapshot
from autograph.errors import CheckpointError
from autograph.runs import Folder, Run
from autograph.runs import guard as guards
from autograph.train import fit

from ..fresh import printed
from .trainings import DATA, Net, ends_at, events, newest, state, steps, training

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
    while not steps(tmp_path):  # written beside the training
        time.sleep(0.001)
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
    told = printed(LIMITED, tmp_path / "f")

    assert "file too large\n  what was there is untouched\n  raise the limit" in told
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


# -- signals and kills -----------------------------------------------------------------

SCRIPT = """
import sys, time
from autograph.runs import Run
from tests.runs.trainings import training
run = Run(sys.argv[1], every_steps=int(sys.argv[2]), keep=2)
asks, batches = int(sys.argv[3]), 0
print("begins", flush=True)
def watch(name, done, count):
    global batches
    batches += name == "train"
    if batches == asks:
        print("asks", flush=True)
        sys.stdin.readline()
    time.sleep(0.004)
for report in training(run, epochs=6, watch=watch):
    pass
"""


def started(run: Path, every: int, asks: int = 0) -> subprocess.Popen[str]:
    """A training that asks, after so many batches, and waits for an answer."""
    call = [sys.executable, "-c", SCRIPT, str(run), str(every), str(asks)]
    pipes: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(call, text=True, cwd=Path(__file__).parents[2], **pipes)


def finished(run: Path) -> bytes:
    """The newest checkpoint once the run has been gone on with to its end."""
    list(training(Run(run, every_steps=2, keep=2), epochs=6))
    return newest(run)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return finished(tmp_path_factory.mktemp("expected"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_step_and_the_state_is_saved(
    number: signal.Signals, expected: bytes, tmp_path: Path
) -> None:
    process = started(tmp_path, 1000, asks=15)  # in the middle of the second epoch
    assert process.stdout is not None
    assert "asks\n" in iter(process.stdout.readline, "")
    process.send_signal(number)
    _, errors = process.communicate("\n", timeout=300)

    assert process.returncode == -number or (
        number is signal.SIGINT and "KeyboardInterrupt" in errors
    )
    assert "interrupt" == events(tmp_path)[-1]["event"]
    assert [11, 16] == steps(tmp_path)
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
        process = started(tmp_path, 1)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.random() * 0.4)
        process.kill()
        process.communicate(timeout=300)
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
from autograph.files import read, write
path, wanted, calls = sys.argv[1], 0, 0
def killing(name):
    real = getattr(os, name)
    def call(*arguments, **more):
        global calls
        calls += 1
        if calls == wanted:
            if name == "write":
                real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            os.kill(os.getpid(), 9)
        return real(*arguments, **more)
    setattr(os, name, call)
status = 9
while status == 9:
    wanted += 1
    write(path, {"x": np.full(1000, 1.0)}, {"save": 1})
    child = os.fork()
    if child == 0:
        for name in ("open", "write", "fsync", "replace", "close", "unlink"):
            killing(name)
        write(path, {"x": np.full(1000, 2.0), "y": np.zeros(3)}, {"save": 2})
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    found = read(path)
    print(found.metadata["save"], found.tensors["x"][-1], len(os.listdir(os.path.dirname(path))))
assert status == 0
"""


def test_a_save_killed_at_each_of_its_operations_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    from autograph.files import write

    lines = printed(KILLED, tmp_path / "f").splitlines()
    found = [tuple(map(float, line.split())) for line in lines]

    assert {(1, 1), (2, 2)} == {(save, last) for save, last, _ in found}
    assert max(files for *_, files in found) <= 2  # the file, and one leftover at most
    assert len(found) > 6
    write(tmp_path / "f", {"x": np.zeros(1)})
    assert [tmp_path / "f"] == list(tmp_path.iterdir())


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
    for each in threading.enumerate():
        if each.name == "autograph-save":
            each.join(300)  # it has nothing left to write

            assert not each.is_alive()


def test_the_guard_looks_seldom() -> None:
    assert guards.EVERY >= 100
