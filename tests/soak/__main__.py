"""An hour of what the tests do for seconds: python -m tests.soak --minutes 60.

Runs are killed at random and gone on with, files are mutated, steps are counted by the hundred
thousand, trainings on threads are compared with serial ones; seeds are fresh each time and
printed, so that what is found can be found again.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import autograph as ag
from autograph.checkpoint import Checkpoint
from autograph.errors import CheckpointError
from autograph.files import read, read_foreign, write
from autograph.optim import AdamW
from autograph.runs import Run

from .. import test_faults
from ..files import test_hostile_files, written
from ..runs import test_disks_and_signals, trainings

STEPS = 100_000  # of the look at memory
ALLOWED = 4 * 1024 + STEPS * 16 // 1024  # kilobytes that they may add


def main() -> int:
    """Repeat every check, one after the other, until the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", choices=CHECKS, help="one check alone")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    chosen = {options.only: CHECKS[options.only]} if options.only else CHECKS
    counts: dict[str, int] = dict.fromkeys(chosen, 0)
    while time.monotonic() < end:
        for name, check in chosen.items():
            seed = random.SystemRandom().randrange(2**32)
            start = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                said = check(random.Random(seed), Path(folder))
            counts[name] += 1
            print(f"{name}  seed {seed}  {said}  {time.monotonic() - start:.1f} s", flush=True)
    print("  ".join(f"{name} {count}" for name, count in counts.items()))
    return 0


def kills(chance: random.Random, folder: Path) -> str:
    """A run killed again and again ends in the bytes of one that was not."""
    expected = test_disks_and_signals.finished(folder / "expected")
    last, killed = -1, 0
    run = folder / "run"
    while last < 60 and killed < 40:
        process = test_disks_and_signals.started(run, 1, chance.choice((0.004, 0.02)))
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.random() * chance.choice((0.05, 0.5)))
        process.kill()
        process.communicate(timeout=60)
        killed += 1
        if (run / "checkpoints").exists() and trainings.steps(run):
            checkpoint = Checkpoint.open(max((run / "checkpoints").glob("step-*")))
            checkpoint.file.verify()
            assert last <= checkpoint.progress["step"], (last, checkpoint.progress)
            last = checkpoint.progress["step"]
    assert expected == test_disks_and_signals.finished(run)
    assert not list((run / "checkpoints").glob(".*"))
    return f"{killed} kills"


def mutations(chance: random.Random, folder: Path) -> str:
    """No mutation of a file is read, or harms."""
    write(folder / "good", written.ARRAYS, {"model": {"kind": "Test"}})
    whole, path, refused = (folder / "good").read_bytes(), folder / "mutant", 0
    for _ in range(20_000):
        mutant = test_hostile_files.mutation(chance, whole)
        if mutant == whole:
            continue
        path.write_bytes(mutant)
        for call in (read, read_foreign):
            try:
                call(path).tensors  # noqa: B018
            except CheckpointError:
                refused += 1
            else:
                assert call is read_foreign, mutant
    return f"{refused} refusals"


def memory(chance: random.Random, folder: Path) -> str:
    """Memory is flat over 100,000 steps."""
    model, optimizer = test_faults.Net.build(seed=chance.randrange(99)), AdamW(learning_rate=1e-3)
    x, t = ag.Tensor(test_faults.DATA[0][:10]), ag.Tensor(test_faults.DATA[1][:10])

    def run(steps: int) -> None:
        for _ in range(steps):
            model(x).cross_entropy_loss(t).backward()
            model.update(optimizer)

    run(2000)
    before = resident()
    run(STEPS)
    grown = resident() - before
    assert grown < ALLOWED, f"{grown} kB"
    return f"{grown} kB in {STEPS} steps"


def resident() -> int:
    """Kilobytes of memory that this process has."""
    found = re.search(r"VmRSS:\s*(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def threads(chance: random.Random, folder: Path) -> str:
    """Trainings on threads give the bits of serial ones."""
    for _ in range(20):
        test_faults.test_trainings_on_several_threads_give_the_bits_of_serial_ones()
    return "80 trainings"


def interrupts(chance: random.Random, folder: Path) -> str:
    """A run that is stopped after any step, again and again, ends in the same bytes."""
    expected = test_disks_and_signals.finished(folder / "expected")
    run, stops = folder / "run", 0
    for _ in range(100):
        watch = trainings.ends_at(chance.randrange(1, 8), trainings.fail)
        try:
            for _ in trainings.training(Run(run, every_steps=1), epochs=6, watch=watch):
                pass
        except trainings.Enough:
            stops += 1
        else:
            break
    assert expected == test_disks_and_signals.finished(run)
    return f"{stops} stops"


CHECKS: dict[str, Callable[[random.Random, Path], Any]] = {
    "kills": kills,
    "mutations": mutations,
    "memory": memory,
    "threads": threads,
    "interrupts": interrupts,
}

if __name__ == "__main__":
    np.seterr(all="ignore")
    sys.exit(main())
