"""Run: a folder that a training keeps: what was asked, what happened, and its checkpoints.

config.json                          what was asked, and of which data
control.json                         what somebody who watches asks, while it is trained
log.jsonl                            what happened, an event a line
checkpoints/step-000000600.safetensors
checkpoints/best.safetensors
checkpoints/asked.safetensors        what somebody who watches had saved
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
from io import FileIO
from pathlib import Path
from typing import Any
from weakref import finalize

from ..atomic import lock, sweep, told, write_whole
from ..checkpoint import Checkpoint, Snapshot
from ..errors import CheckpointError, DataError, SettingsError
from ..files import read
from ..header import loads

FORMAT = "autograph-run/1"
CONFIG_LIMIT = 16 << 20  # bytes
LINE_LIMIT = 1 << 20  # bytes of a line in the log


@dataclass(frozen=True)
class Run:
    """Where a training keeps its checkpoints, and when it saves: after each epoch, and in
    between every so many steps or minutes. The last `keep` stay, and the best. Where the disk is
    slower than training, up to `keep` states wait in memory.

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
        self.run, self.path = run, Path(run.folder).absolute()  # wherever we go
        self.checkpoints = self.path / "checkpoints"
        self._turn = threading.Lock()  # for what waits, and who writes it
        self._waiting: list[tuple[int, Snapshot]] = []  # by step
        self._named: dict[str, Snapshot] = {}  # that wait too, by the name of their file
        self._writer: threading.Thread | None = None
        self._failed: BaseException | None = None
        self._saved: Any = None  # the progress of what was saved last
        self._saved_at = time.monotonic()
        with told(self.path, "run"):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            held = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
            self._release = finalize(self, os.close, held)  # or when a training is dropped unbegun
            try:
                lock(held)
            except OSError:
                self._release()
                raise CheckpointError(
                    "another training is at work in this folder\n  wait for it, or choose another"
                ) from None
            for folder in (self.path, self.checkpoints):
                sweep(folder)  # what killed trainings left
            self._end_last_line()

    # -- what was asked --------------------------------------------------------------------

    def agree(self, config: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Refuse what is not what the run began with; tell what else differs, by its name what
        is asked here and what was asked then."""
        path = self.path / "config.json"
        if not path.exists():
            return {}
        kept, changed = self._config(path), {}
        for name, here in {"format": FORMAT, **config}.items():
            there = kept.get(name)
            if here == there:
                continue
            if name in ("format", "batch_size", "seed", "data"):
                raise (DataError if name == "data" else SettingsError)(
                    f"run: {self.path}: {name} is another than the run began with\n"
                    f"  here  {json.dumps(here)}\n  run   {json.dumps(there)}\n"
                    f"  give what it began with, or choose another folder"
                )
            if name in kept:
                changed[name] = here, there
        return changed

    def keep(self, config: Mapping[str, Any]) -> None:
        """Write down what is asked."""
        path, wanted = self.path / "config.json", {"format": FORMAT, **config}
        if not path.exists() or self._config(path) != wanted:
            text = json.dumps(wanted, indent=2, ensure_ascii=False)
            write_whole(path, [text.encode() + b"\n"])

    def _config(self, path: Path) -> dict[str, Any]:
        with told(path, "run"):
            sound = path.is_file() and path.stat().st_size <= CONFIG_LIMIT
            kept = loads(path.read_bytes(), "it") if sound else None
            if not isinstance(kept, dict):
                raise CheckpointError("this is no config of a run")
        return kept

    def log(self, event: str, **values: Any) -> None:
        """Add a line to the log."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        told_values = json.loads(json.dumps(values), parse_constant=lambda _: None)
        line = json.dumps({"event": event, "time": now, **told_values}, ensure_ascii=False)
        with told(self.path / "log.jsonl", "run"), self._log() as log:
            size = log.seek(0, os.SEEK_END)
            rest = line.encode() + b"\n"
            try:
                while rest:
                    rest = rest[log.write(rest) :]
            except OSError:
                log.truncate(size)
                raise

    def _end_last_line(self) -> None:
        """Cut off the part of a line that a killed training left."""
        with self._log() as log:
            size = log.seek(0, os.SEEK_END)
            last = log.seek(max(size - LINE_LIMIT, 0))
            text = log.read()
            if text and not text.endswith(b"\n"):
                log.truncate(last + text.rfind(b"\n") + 1)

    def _log(self) -> FileIO:
        return (self.path / "log.jsonl").open("a+b", buffering=0)

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
        """Whether a checkpoint is to be saved between epochs."""
        every, minutes = self.run.every_steps, self.run.every_minutes
        if every is not None and step % every == 0:
            return True
        if minutes is None or self._writer is not None:  # then saved as fast as the disk can
            return False
        return time.monotonic() - self._saved_at > minutes * 60

    def save(self, snapshot: Snapshot, *, name: str | None = None) -> None:
        """Write a checkpoint in the background, and once more by a name ("best") that stays; what
        went wrong is raised by a later call. Of those that wait the oldest goes that would not be
        kept in any case."""
        self.check()
        progress = snapshot.document["progress"]
        if progress == self._saved and name is None:
            return
        self._saved, self._saved_at = progress, time.monotonic()
        with self._turn:
            self._waiting = [*self._waiting, (progress["step"], snapshot)][-self.run.keep :]
            if name is not None:
                self._named[name] = snapshot
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="autograph-save")
                self._writer.start()

    def _write(self) -> None:
        """Write what waits, until nothing does."""
        while True:
            with self._turn:
                if not self._waiting:
                    self._writer = None
                    return
                step, snapshot = self._waiting.pop(0)
                named, self._named = self._named, {}
            try:
                for name in list(named):  # first, for the other says that the best is there
                    named[name].write(self.checkpoints / f"{name}.safetensors")
                    del named[name]
                snapshot.write(self.checkpoints / f"step-{step:09}.safetensors")
                for path in self.files()[self.run.keep :]:
                    with suppress(FileNotFoundError):
                        path.unlink()
            except BaseException as error:
                with self._turn:
                    self._failed, self._waiting = error, []
                    self._named = named | self._named

    def check(self) -> None:
        """Raise what went wrong in the background."""
        if self._failed is not None:
            error, self._failed = self._failed, None
            self._saved = None  # the next save is not left out
            raise error

    def wait(self) -> None:
        """Wait for what is being written, and raise what went wrong."""
        writer = self._writer
        if writer is not None:
            writer.join()
        self.check()

    def close(self) -> None:
        """Wait for what is being written, and leave the folder to others."""
        try:
            self.wait()
        finally:
            self._release()
