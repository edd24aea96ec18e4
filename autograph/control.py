"""Control: what somebody who watches a run may ask of it, in its process or through its folder.

A training obeys between its batches (see `fit`); whoever watches calls `ask`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from .atomic import write_whole
from .errors import SettingsError

PERIOD = 0.1  # seconds between two looks at the folder
FILE = "control.json"


class Stopped(Exception):
    """A training was asked to end: the step under way has ended, and a run's state is saved."""


@dataclass
class Control:
    """What is asked now. With a folder, processes that share it share what is asked; a run looks
    into its own folder unasked."""

    folder: Path | None = None
    paused: bool = False
    stopped: bool = False
    saves: int = 0  # how often a save was asked for
    learning_rate: float | None = None  # None: as the run has it
    save: Callable[[], None] | None = field(default=None, repr=False)  # where there is no run
    _saved: int = field(default=0, repr=False)
    _looked: float = field(default=0.0, repr=False)
    _taken: bytes = field(default=b"", repr=False)  # what its file said last

    def ask(self, **changes: Any) -> None:
        """Change what is asked: paused, stopped, saves, learning_rate."""
        self.look(always=True)
        for name, value in changes.items():
            if name not in ASKED or not ASKED[name](value):
                raise SettingsError(
                    f"control: {name}={value!r} cannot be asked\n  takes  {', '.join(ASKED)}"
                )
        for name, value in changes.items():
            setattr(self, name, value)
        if self.folder is not None:
            told = {name: getattr(self, name) for name in ASKED}
            write_whole(self.folder / FILE, [json.dumps(told).encode()])

    def look(self, *, always: bool = False) -> None:
        """Take over what another process has asked; what cannot be asked is passed over."""
        now = time.monotonic()
        if self.folder is None or (now - self._looked < PERIOD and not always):
            return
        self._looked = now
        with suppress(OSError, ValueError, AttributeError):
            text = (self.folder / FILE).read_bytes()  # its time may be that of the one before
            if text != self._taken:
                told = json.loads(text)
                for name, fits in ASKED.items():
                    if name in told and fits(told[name]):
                        setattr(self, name, told[name])
                self._taken = text

    def obey(
        self,
        *,
        save: Callable[[], None] | None = None,
        optimizer: Any = None,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        """Do what is asked, between two batches: wait while paused, save, change the rate; raise
        Stopped where the run is to end."""
        self.look()
        while self.paused and not self.stopped and not interrupted():
            time.sleep(PERIOD)
            self.look(always=True)
        if self.saves > self._saved:
            self._saved, save = self.saves, save or self.save
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


ASKED: dict[str, Callable[[Any], bool]] = {  # and what each may be
    "paused": lambda value: type(value) is bool,
    "stopped": lambda value: type(value) is bool,
    "saves": lambda value: type(value) is int and value >= 0,
    "learning_rate": lambda value: (
        value is None or (type(value) in (int, float) and isfinite(value) and value >= 0)
    ),
}
