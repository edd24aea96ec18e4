"""Control: what somebody who watches a run may ask of it, in its process or through its folder.

The training calls `obey` after each batch; whoever watches calls `ask`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .atomic import write_whole

PERIOD = 0.1  # seconds between two looks at the folder


class Stopped(Exception):
    """Somebody asked the run to end."""


@dataclass
class Control:
    """What is asked now. With a folder, processes that share it share what is asked."""

    folder: Path | None = None
    paused: bool = False
    stopped: bool = False
    saves: int = 0  # how often a save was asked for
    learning_rate: float | None = None  # None: as the run has it
    _saved: int = field(default=0, repr=False)
    _looked: float = field(default=0.0, repr=False)
    _stamp: int = field(default=0, repr=False)

    def ask(self, **changes: Any) -> None:
        """Change what is asked: paused, stopped, saves, learning_rate."""
        self.look(always=True)
        for name, value in changes.items():
            setattr(self, name, value)
        if self.folder is not None:
            told = {name: getattr(self, name) for name in NAMES}
            write_whole(self.folder / FILE, [json.dumps(told).encode()])

    def look(self, *, always: bool = False) -> None:
        """Take over what another process has asked."""
        now = time.monotonic()
        if self.folder is None or (now - self._looked < PERIOD and not always):
            return
        self._looked = now
        with suppress(OSError, ValueError, AttributeError):
            path = self.folder / FILE
            stamp = path.stat().st_mtime_ns
            if stamp != self._stamp:
                told = json.loads(path.read_text())
                for name in NAMES:
                    setattr(self, name, told.get(name, getattr(self, name)))
                self._stamp = stamp

    def obey(
        self, *, save: Callable[[], None] | None = None, optimizer: Any = None
    ) -> None:
        """Do what is asked, between two batches: wait while paused, save, change the rate; raise
        Stopped where the run is to end."""
        self.look()
        while self.paused and not self.stopped:
            time.sleep(PERIOD)
            self.look(always=True)
        if self.saves > self._saved:
            self._saved = self.saves
            if save is not None:
                save()
        rate = self.learning_rate
        if rate is not None and optimizer is not None and optimizer.learning_rate != rate:
            optimizer.learning_rate = rate
        if self.stopped:
            raise Stopped

    def forget(self) -> None:
        """Begin with nothing asked; what an earlier run was asked is not asked of this one."""
        if self.folder is not None:
            with suppress(FileNotFoundError):
                (self.folder / FILE).unlink()


FILE = "control.json"
NAMES = ("paused", "stopped", "saves", "learning_rate")
