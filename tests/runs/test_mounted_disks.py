"""Disks that are full or can only be read, mounted for a test: what cannot be saved is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..fresh import ROOT
from ..test_faults import Net


def where(mounted: str, *call: Any) -> subprocess.CompletedProcess[str]:
    """Run a program where a line of a shell has prepared its own mounts."""
    whole = ["unshare", "--mount", "sh", "-c", f'{mounted} && exec "$@"', "sh", *map(str, call)]
    return subprocess.run(whole, capture_output=True, text=True, cwd=ROOT, check=False)


def can_mount() -> bool:
    try:
        return where("mount -t tmpfs none /mnt", "true").returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not can_mount(), reason="nothing can be mounted here")

FULL = """
import sys
from pathlib import Path
import autograph as ag
from autograph.runs import Run
from autograph.train import fit
from tests.test_faults import DATA, AdamW, Net, Snapshot
folder = Path(sys.argv[1])
model, optimizer = Net.build(seed=1), AdamW(learning_rate=0.01)
space = folder / "space"
for report in fit(model, optimizer, DATA, epochs=4, batch_size=10, run=Run(folder / "run", keep=9)):
    if report.epoch == 2:
        break
kept = sorted(path.read_bytes() for path in (folder / "run" / "checkpoints").glob("step-*"))
try:  # fill the disk
    with space.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
except OSError:
    pass
told = []
for attempt in (
    lambda: ag.save(folder / "f", model, optimizer),
    lambda: list(fit(model, optimizer, DATA, epochs=4, batch_size=10, run=folder / "run")),
):
    try:
        attempt()
    except ag.errors.CheckpointError as error:
        told.append(str(error).splitlines()[0].rpartition(": ")[2])
print(told)
after = sorted(path.read_bytes() for path in (folder / "run" / "checkpoints").glob("step-*"))
assert set(kept) <= set(after), "a checkpoint was lost"
for path in (folder / "run" / "checkpoints").glob("step-*"):
    ag.Checkpoint.open(path).file.verify()
space.unlink()
assert not list(folder.rglob(".*.partial"))
model, optimizer = Net.build(seed=1), AdamW(learning_rate=0.01)
for report in fit(model, optimizer, DATA, epochs=4, batch_size=10, run=Run(folder / "run", keep=9)):
    pass
other, follower = Net.build(seed=1), AdamW(learning_rate=0.01)
for _ in fit(other, follower, DATA, epochs=4, batch_size=10):
    pass
same = Snapshot.of(model, optimizer).arrays, Snapshot.of(other, follower).arrays
assert all((same[0][name] == same[1][name]).all() for name in same[1])
print("went on")
"""


def test_a_disk_that_is_full_is_told_and_a_run_goes_on_from_what_it_has(tmp_path: Path) -> None:
    mounted = f"mount -t tmpfs -o size=200k none {tmp_path}"
    done = where(mounted, sys.executable, "-c", FULL, tmp_path)

    assert ["['no space left on device', 'no space left on device']", "went on"] == (
        done.stdout.splitlines()
    ), done.stderr


READ_ONLY = """
import sys
from pathlib import Path
import autograph as ag
from tests.test_faults import AdamW, DATA, Net, fit
folder = Path(sys.argv[1])
model = Net.build(seed=1)
for attempt in (
    lambda: ag.save(folder / "f", model),
    lambda: list(fit(model, AdamW(learning_rate=0.1), DATA, epochs=1, run=folder / "run")),
):
    try:
        attempt()
    except ag.errors.CheckpointError as error:
        print(" / ".join(str(error).replace(str(folder), "").splitlines()))
print(ag.load(folder / "there", layers=[Net]).parameter_count)
"""


def test_a_folder_that_can_only_be_read_is_told_and_read(tmp_path: Path) -> None:
    Net.build(seed=2).save(tmp_path / "there")
    mounted = f"mount --bind {tmp_path} {tmp_path} && mount -o remount,ro,bind {tmp_path}"
    done = where(mounted, sys.executable, "-c", READ_ONLY, tmp_path)

    assert [
        "save: /f: read-only file system / what was there is untouched / "
        "save where files can be written".replace(" / ", " /   "),
        "run: /run: read-only file system",
        str(Net.build().parameter_count),
    ] == done.stdout.splitlines(), done.stderr
    assert ["there"] == [path.name for path in tmp_path.iterdir()]
