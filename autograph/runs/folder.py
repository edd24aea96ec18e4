"""Run: a folder that a training keeps: what was asked, what happened, and its checkpoints.

config.json                          what was asked, and of which data
log.jsonl                            what happened, an event a line
checkpoints/step-000000600.safetensors
checkpoints/best.safetensors
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic import lock, told, write_whole
from ..checkpoint import Checkpoint, Snapshot
from ..errors import CheckpointError, DataError, SettingsError
from ..files import read
from ..header import loads

FORMAT = "autograph-run/1"
CONFIG_LIMIT = 16 << 20  # bytes


@dataclass(frozen=True)
class Run:
    """Where a training keeps its checkpoints, and when it saves: after each epoch, and in
    between every so many steps or minutes. The last `keep` stay, and the best.

    >>> Run("runs/lenet5", every_steps=1000).keep
    3
    """

    folder: str | Path
    every_steps: int | None = None
    every_minutes: float | None = 10.0
    keep: int = 3

    def __post_init__(self) -> None:
        if self.keep < 1 or (self.every_steps or 1) < 1 or (self.every_minutes or 1.0) <= 0:
            raise SettingsError(f"Run: its numbers are positive\n  given  {self}")


class Folder:
    """A run folder that this process has for itself."""

    def __init__(self, run: Run) -> None:
        self.run, self.path = run, Path(run.folder)
        self.checkpoints = self.path / "checkpoints"
        self._writer: threading.Thread | None = None
        self._failed: BaseException | None = None
        self._saved: Any = None  # the progress of what was saved last
        self._saved_at = time.monotonic()
        with told(self.path, "run"):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
            try:
                lock(self._lock)
            except OSError:
                os.close(self._lock)
                raise CheckpointError(
                    "another training is at work in this folder\n  wait for it, or choose another"
                ) from None

    # -- what was asked --------------------------------------------------------------------

    def agree(self, config: Mapping[str, Any]) -> None:
        """Keep what is asked, or refuse what is not what the run began with."""
        path = self.path / "config.json"
        wanted = {"format": FORMAT, **config}
        if path.exists():
            kept = self._config(path)
            for name, here in wanted.items():
                there = kept.get(name)
                if here != there and name in ("format", "batch_size", "seed", "data"):
                    raise (DataError if name == "data" else SettingsError)(
                        f"run: {self.path}: {name} is another than the run began with\n"
                        f"  here  {json.dumps(here)}\n  run   {json.dumps(there)}\n"
                        f"  give what it began with, or choose another folder"
                    )
            if kept == wanted:
                return
        write_whole(path, [json.dumps(wanted, indent=2, ensure_ascii=False).encode() + b"\n"])

    def _config(self, path: Path) -> dict[str, Any]:
        with told(path, "run"):
            if not path.is_file() or path.stat().st_size > CONFIG_LIMIT:
                raise CheckpointError("this is no config of a run")
            kept = loads(path.read_bytes(), "it")
            if not isinstance(kept, dict):
                raise CheckpointError("this is no config of a run")
        return kept

    def log(self, event: str, **values: Any) -> None:
        """Add a line to the log."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        told_values = json.loads(json.dumps(values), parse_constant=lambda _: None)
        line = json.dumps({"event": event, "time": now, **told_values}, ensure_ascii=False)
        with told(self.path / "log.jsonl", "run"):
            descriptor = os.open(
                self.path / "log.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666
            )
            try:
                os.write(descriptor, line.encode() + b"\n")
            finally:
                os.close(descriptor)

    # -- checkpoints -----------------------------------------------------------------------

    def files(self) -> list[Path]:
        """Checkpoints by step, the newest first."""
        found = [
            path
            for path in self.checkpoints.iterdir()
            if re.fullmatch(r"step-[0-9]{9,}\.safetensors", path.name)
        ]
        return sorted(found, key=lambda path: int(path.name[5:-12]), reverse=True)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; None where there is none at all."""
        damaged = []
        for path in self.files():
            try:
                file = read(path)
                file.verify()
                return Checkpoint(file)
            except CheckpointError as error:
                damaged.append(str(error))
                self.log("damaged", file=path.name, error=str(error))
        if damaged:
            raise CheckpointError(
                f"run: {self.path}: none of its checkpoints is whole\n{damaged[0]}"
            )
        return None

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint is to be saved between epochs, the last being on its way."""
        if self._writer is not None and self._writer.is_alive():
            return False
        every, minutes = self.run.every_steps, self.run.every_minutes
        if every is not None and step % every == 0:
            return True
        return minutes is not None and time.monotonic() - self._saved_at > minutes * 60

    def save(self, snapshot: Snapshot, *, best: bool = False) -> None:
        """Write a checkpoint in the background; what went wrong is raised by the next call."""
        self.wait()
        progress = snapshot.document["progress"]
        if progress == self._saved:
            return
        self._saved, self._saved_at = progress, time.monotonic()
        step = progress["step"]
        self._writer = threading.Thread(
            target=self._write, args=(snapshot, step, best), name="autograph-save"
        )
        self._writer.start()

    def _write(self, snapshot: Snapshot, step: int, best: bool) -> None:
        try:
            if best:  # first, for the other says that it is there
                snapshot.write(self.checkpoints / "best.safetensors")
            snapshot.write(self.checkpoints / f"step-{step:09}.safetensors")
            for path in self.files()[self.run.keep :]:
                with suppress(FileNotFoundError):
                    path.unlink()
        except BaseException as error:
            self._failed = error

    def check(self) -> None:
        """Raise what went wrong in the background."""
        if self._failed is not None:
            error, self._failed = self._failed, None
            self._saved = None  # the next save is not left out
            raise error

    def wait(self) -> None:
        """Wait for what is being written, and raise what went wrong."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        self.check()

    def close(self) -> None:
        """Wait for what is being written, and leave the folder to others."""
        try:
            self.wait()
        finally:
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1
