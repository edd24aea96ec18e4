"""Keeper: what a training does between its steps: saving, looking for NaN, heeding signals and
whoever watches."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

from ..control import Control, Stopped
from ..fingerprint import fingerprint
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


class Keeper:
    """Keeps a training in its run folder, if it has one, and in memory; obeys its control, which
    a run has in its folder."""

    replica: Any = None  # the rank's copy of the model, where several train it

    def __init__(self, guard: Guard, folder: Folder | None, control: Control | None = None) -> None:
        self.guard, self.folder = guard, folder
        self.control = Control(folder.path) if control is None and folder is not None else control
        self.now: Progress | None = None  # at the start of the pass
        self.resumed = ""
        self._signals: list[int] = []
        self._told = 0  # batches left out that the log has
        self._next_look = 0
        self.is_idle = folder is None and self.control is None and guard.policy == "ignore"

    def resume(self, now: Progress, config: Mapping[str, Any]) -> Progress:
        """Where the run in the folder stands, its state put into the model; else `now`."""
        if self.folder is None:
            return now
        if self.control is not None:
            self.control.forget()
        changed = self.folder.agree(config)
        found = self.folder.newest()
        if found is None:
            self.folder.keep(config)
            self.folder.log("start", fingerprint=fingerprint(self.guard.model.device))
            return now
        with found:
            stood = replace(Progress.read(found.progress), epochs=now.epochs)
            own = {name: both for name, both in changed.items() if name in ("loss", "ranks")}
            model, optimizer, average = self.guard.model, self.guard.optimizer, self.guard.average
            self.resumed = found.compared(model, optimizer, own, average)
            found.restore(model, optimizer, average=average if found.average is not None else None)
        self.folder.keep(config)
        self.folder.log("resume", step=stood.step, epoch=stood.epoch, resumed=self.resumed)
        return stood

    # -- within a pass -----------------------------------------------------------------------

    def begin(self, now: Progress) -> None:
        """A pass begins here."""
        self.now = now
        self.guard.take_sums(now.sums)
        if not self.is_idle:
            self.guard.begin(now)
        self._next_look = now.step + EVERY

    def after_batch(self, done: int, step: Step, batches: Batches) -> None:
        """So many batches of the epoch are done."""
        if self.is_idle:
            return
        assert self.now is not None
        at = self.now.step + done - self.now.batch
        stop, save, due = self._asked_for(at)
        if stop or save or due or at >= self._next_look:
            self._look(done, step, batches)
            self._next_look = at + EVERY
        if self.folder is not None:
            self.folder.check()
        if save or due:
            self._save("asked" if save else None)
        if stop:
            raise Stopped

    def _asked_for(self, at: int) -> tuple[bool, bool, bool]:
        """Whether to end, to save because somebody asked, and to save because it is time. Waits
        while paused."""
        saves: list[int] = []
        try:
            self._obey(lambda: saves.append(at))
        except Stopped:
            return True, bool(saves), False
        return False, bool(saves), self.folder is not None and self.folder.is_due(at)

    def end(self, done: int, step: Step, batches: Batches) -> Progress:
        """The pass is through: how far training has come."""
        assert self.now is not None
        if self.is_idle:
            return self.now.at(done)
        return self._look(done, step, batches)

    def after_test_batch(self) -> None:
        """A batch of the test is done."""
        self._obey(lambda: self._save("asked"))

    def _obey(self, save: Callable[[], None]) -> None:
        """Raise Stopped where a signal, or whoever watches, wants an end."""
        if self.control is not None:
            self.control.obey(
                save=None if self.folder is None else save,
                optimizer=self.guard.optimizer,
                interrupted=lambda: bool(self._signals),
            )
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
            self._save("best" if best else None)

    def _save(self, name: str | None = None) -> None:
        """Save what is remembered."""
        state = self.guard.snapshot()
        if self.folder is not None and state is not None:
            self.folder.save(state, name=name)

    @contextmanager
    def heeding(self) -> Iterator[None]:
        """Within the block a signal waits for the step under way, the state is saved, and the
        signal is heeded; so is a wish for an end. On an error the last good state is saved."""
        if self.folder is None:
            yield
            return
        stopped = None
        with _deferred(self._signals):
            try:
                yield
            except Stopped as error:
                stopped = error
                self._save()
                self.folder.log("interrupt")
            except BaseException as error:
                try:
                    self._save()
                    self.folder.wait()
                    self.folder.log("error", error=f"{type(error).__name__}: {error}")
                except Exception as another:
                    error.add_note(f"  and the last state could not be saved: {another}")
                raise
        if self._signals:
            self.folder.wait()  # the signal may end the process
            signal.raise_signal(self._signals.pop())
            raise KeyboardInterrupt
        if stopped is not None:
            self.folder.wait()
            raise stopped

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
