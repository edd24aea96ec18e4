"""Keeper: what a training does between its steps: saving, looking for NaN, heeding signals."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

from ..fingerprint import compared, fingerprint
from .folder import Folder
from .guard import EVERY, Guard
from .progress import Progress

Step = Callable[[Any], None]
Batches = Callable[[int], Iterator[Any]]


class Rewound(Exception):
    """Training goes on at another place of the epoch."""

    def __init__(self, now: Progress) -> None:
        super().__init__(now)
        self.now = now


class Stopped(BaseException):
    """A signal came, and the step under way has ended."""


class Keeper:
    """Keeps a training in its run folder, if it has one, and in memory."""

    def __init__(self, guard: Guard, folder: Folder | None) -> None:
        self.guard, self.folder = guard, folder
        self.now: Progress | None = None  # at the start of the pass
        self.resumed = ""
        self._signals: list[int] = []
        self._told = 0  # batches left out that the log has
        self._next_look = 0
        self.is_idle = folder is None and guard.policy == "ignore"

    def resume(self, now: Progress, config: Mapping[str, Any]) -> Progress:
        """Where the run in the folder stands, its state put into the model; else `now`."""
        if self.folder is None:
            return now
        self.folder.agree(config)
        found = self.folder.newest()
        if found is None:
            self.folder.log("start", fingerprint=fingerprint(self.guard.model.device))
            return now
        with found:
            stood = replace(Progress.read(found.progress), epochs=now.epochs)
            settings = self.guard.optimizer.describe()
            found.restore(self.guard.model, self.guard.optimizer)
        here = fingerprint(self.guard.model.device) | _flat(settings)
        self.resumed = compared(here, found.fingerprint | _flat(found.optimizer or {}))
        self.folder.log("resume", step=stood.step, epoch=stood.epoch, resumed=self.resumed)
        return stood

    # -- within a pass -----------------------------------------------------------------------

    def begin(self, now: Progress) -> None:
        """A pass begins here."""
        self.now = now
        self.guard.take_sums(now.sums)
        if not self.is_idle:
            self.guard.remember(now)
        self._next_look = now.step + EVERY

    def after_batch(self, done: int, step: Step, batches: Batches) -> None:
        """So many batches of the epoch are done."""
        if self.is_idle:
            return
        assert self.now is not None
        if self._signals:
            self._look(done, step, batches)
            raise Stopped
        at = self.now.step + done - self.now.batch
        due = self.folder is not None and self.folder.is_due(at)
        if at >= self._next_look or due:
            self._look(done, step, batches)
            self._next_look = at + EVERY
        if self.folder is not None:
            self.folder.check()
            if due:
                self._save()

    def end(self, done: int, step: Step, batches: Batches) -> Progress:
        """The pass is through: how far training has come."""
        assert self.now is not None
        if self.is_idle:
            return self.now.at(done)
        return self._look(done, step, batches)

    def after_test_batch(self) -> None:
        """A batch of the test is done."""
        if self._signals:
            raise Stopped

    def _look(self, done: int, step: Step, batches: Batches) -> Progress:
        assert self.now is not None
        here = self.now.at(done)
        found = self.guard.look(here, step, batches)
        if self.folder is not None:
            for words in self.guard.skipped[self._told :]:
                self.folder.log("skip", what=words)
        self._told = len(self.guard.skipped)
        if found.batch != here.batch:
            raise Rewound(found)
        return found

    # -- saving ----------------------------------------------------------------------------

    def after_epoch(self, now: Progress, best: bool, values: Mapping[str, Any]) -> None:
        """An epoch is through, tested, and perhaps the best so far."""
        if self.folder is not None:
            self.guard.remember(now)
            self.folder.log("epoch", epoch=now.epoch, step=now.step, **values)
            self._save(best=best)

    def _save(self, *, best: bool = False) -> None:
        """Save what is remembered."""
        state = self.guard.snapshot()
        if self.folder is not None and state is not None:
            self.folder.save(state, best=best)

    @contextmanager
    def heeding(self) -> Iterator[None]:
        """Within the block a signal waits for the step under way, the state is saved, and the
        signal is heeded; on an error the last good state is saved."""
        if self.folder is None:
            yield
            return
        with _deferred(self._signals):
            try:
                yield
            except Stopped:
                self.folder.log("interrupt")
                self._save()
            except BaseException as error:
                try:
                    self.folder.log("error", error=f"{type(error).__name__}: {error}")
                    self._save()
                    self.folder.wait()
                except Exception as another:
                    error.add_note(f"  and the last state could not be saved: {another}")
                raise
        if self._signals:
            self.folder.wait()  # the signal may end the process
            signal.raise_signal(self._signals.pop())
            raise KeyboardInterrupt

    def close(self) -> None:
        """The training is over, or left."""
        if self.folder is not None:
            self.folder.close()


@contextmanager
def _deferred(caught: list[int]) -> Iterator[None]:
    """Within the block SIGINT and SIGTERM are put into the list; a second one acts at once.
    Signals come to the main thread alone, and elsewhere nothing is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        if caught:
            signal.signal(number, before[number])
            signal.raise_signal(number)
        caught.append(number)

    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            before[number] = signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _flat(description: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an optimizer, one name each."""
    return {f"optimizer.{name}": value for name, value in description.items()}
