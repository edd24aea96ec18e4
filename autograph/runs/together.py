"""What a training by several ranks does between its steps: all look and save at the same step, and
rank 0 alone has the folder."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from ..checkpoint import STATE, Snapshot
from ..control import PERIOD, Control, Stopped
from ..errors import NonFiniteError
from ..metrics import Stats
from ..parallel.replica import Replica
from ..parallel.world import World
from .folder import Folder, Run
from .guard import Guard
from .keeper import Batches, Keeper, Step, _deferred
from .progress import Progress, Sums

SPACED = 16  # steps on a device from one agreement to the next: the host runs ahead of it


def with_batch_of_run(now: Progress, folder: Folder | None, world: World | None) -> Progress:
    """With the batch of all ranks that a run began with, where it was begun by another number of
    ranks with as many samples each."""
    kept: dict[str, Any] = {}
    if folder is not None and (folder.path / "config.json").exists():
        kept = folder._config(folder.path / "config.json")
    then, batch = kept.get("ranks", 1), kept.get("batch_size", now.batch_size)
    ranks = 1
    if world is not None:
        (then, batch), ranks = world.tell([then, batch]), world.size
    return replace(now, batch_size=batch) if batch * ranks == now.batch_size * then else now


class SharedGuard(Guard):
    """A guard whose sums are those of all ranks, and who finds wrong what any rank does."""

    replica: Replica
    optimizer: Any  # of which a rank may keep a part

    @classmethod
    def of(cls, guard: Guard, replica: Replica) -> SharedGuard:
        """The same guard, for a replica."""
        made = cls(guard.model, guard.optimizer, guard.meter, guard.policy, guard.average)
        made.replica = replica
        return made

    def sums(self) -> Sums:
        count, losses, right = super().sums()
        many = self.replica.world.sum(count, losses, right or 0.0, float(right is None))
        return many[0], many[1], None if many[3] else many[2]

    def read(self) -> Stats:
        count, losses, right = self.sums()
        return Stats(int(count), losses, None if right is None else int(right))

    def take_sums(self, sums: Sums) -> None:
        mine: Sums = sums if self.replica.world.is_first else (0.0, 0.0, sums[2] and 0.0)
        super().take_sums(mine)

    def look(self, now: Progress, step: Step, batches: Batches) -> Progress:
        self.replica.average_buffers()
        return super().look(now, step, batches)

    def _wrong(self, sums: Sums) -> tuple[str, Any] | None:
        wrong = super()._wrong(sums)
        if self.replica.world.any(wrong is not None) and wrong is None:
            return "another rank", self.meter.sums.array
        return wrong

    def _leave_out(self, where: object) -> Progress:
        """All ranks say what the first one found that has a layer to name."""
        found = self.replica.world.texts(str(where))
        return super()._leave_out(min(found, key=lambda each: each.startswith("first in")))

    def snapshot(self) -> Snapshot | None:
        """What is remembered; every rank has to ask where each keeps a part of it."""
        found, kept = super().snapshot(), self.memory
        sharded = self.replica.sharded
        if found is None or kept is None or sharded is None:
            return found
        model = {n: each for n, each in found.arrays.items() if not n.startswith(STATE)}
        whole = {f"{STATE}{path}": each for path, each in sharded.whole(kept.state).items()}
        return Snapshot(model | whole, found.document)


class SharedKeeper(Keeper):
    """Keeps a training by several ranks. What depends on a clock, a signal or a file is agreed on
    between steps, if there is a run or a control."""

    replica: Replica

    def __init__(
        self, world: World, guard: Guard, run: Run | None, control: Control | None
    ) -> None:
        self.world = world
        folder = Folder(run) if run is not None and world.is_first else None
        super().__init__(guard, folder, control)
        asked = world.any(run is not None or self.control is not None)
        self._agrees, self._has_run = asked, world.any(run is not None)
        self.is_idle = not asked and guard.policy == "ignore"
        self._spaced = 1 if guard.model.device.is_host else SPACED
        self.replica = Replica(world, guard.model, guard.optimizer)
        self.guard = SharedGuard.of(guard, self.replica)
        self._rate = guard.optimizer.learning_rate

    def resume(self, now: Progress, config: Mapping[str, Any]) -> Progress:
        """Where the run stands that rank 0 has, on every rank."""
        now = super().resume(now, config)
        told = self.world.tell([now.describe(), self.resumed])
        self.resumed = told[1]
        self.replica.begin()
        self._share_averages()
        if self.replica.sharded is not None:
            self.guard.optimizer = self.replica.sharded  # type: ignore[assignment]
        return Progress.read(told[0])

    def _share_averages(self) -> None:
        """Give every rank the averages that rank 0 goes on with."""
        average = self.guard.average
        if average is None or not self.world.tell(bool(average.values)):
            return
        if not self.world.is_first:
            average.values = {}
            average.update(self.guard.model)  # tensors of their shapes
        self.world.broadcast(average.tensors())

    # -- within a pass -----------------------------------------------------------------------

    def begin(self, now: Progress) -> None:
        self.replica.refuse_differences()  # somebody may have changed something since
        super().begin(now)

    def end(self, done: int, step: Step, batches: Batches) -> Progress:
        if self.is_idle:
            self.replica.average_buffers()
        found = super().end(done, step, batches)
        self.replica.check()
        return found

    def after_test_batch(self) -> None:
        """Ranks have different numbers of these: signals wait for the end of the test."""

    def _asked_for(self, at: int) -> tuple[bool, bool, bool]:
        """What any rank was told, and what rank 0 was asked."""
        if not self._agrees or at % self._spaced:
            return False, False, False
        while True:
            control, asked = self.control, 0
            if control is not None:
                control.look()
                asked = control.saves
            mine = [
                bool(self._signals) or (control is not None and control.stopped),
                control is not None and control.paused,
                asked > self._asked,
                self.folder is not None and self.folder.is_due(at),
            ]
            self._asked = max(asked, self._asked)
            rate = None if control is None else control.learning_rate
            numbers = [*map(float, mine), float("nan") if rate is None else rate]
            every = self.world.gather(np.array(numbers), "what is asked of the run")
            stop, paused, save, due = (bool(each.any()) for each in every[:, :4].T)
            new = every[~np.isnan(every[:, 4]), 4]
            if len(new) and self.guard.optimizer.learning_rate != new[0]:
                self.replica.optimizer.learning_rate = float(new[0])  # type: ignore[union-attr]
            if not paused or stop:
                return stop, save, due
            time.sleep(PERIOD)

    _asked = 0  # saves that were asked for and done

    # -- saving ----------------------------------------------------------------------------

    def after_epoch(self, now: Progress, best: bool, values: Mapping[str, Any]) -> None:
        if self._has_run and self.folder is None:
            self.guard.remember(now)
            self._save()
        super().after_epoch(now, best, values)

    @contextmanager
    def heeding(self) -> Iterator[None]:
        if not self._has_run:
            with super().heeding():
                yield
            return
        with super().heeding() if self.folder is not None else _deferred(self._signals):
            try:
                yield
            except BaseException as error:
                joint = isinstance(error, Stopped | NonFiniteError)
                if joint:
                    self._save()
                    if self.folder is not None:
                        self.folder.wait()
                    self.world.barrier()  # nobody ends the job before the state is saved
                if joint or self.replica.sharded is not None:
                    self.guard.memory = None  # it is saved; or others have parts, and do not save
                if self.folder is None:
                    self._signals.clear()
                raise

    def close(self) -> None:
        self.replica.close()
        super().close()
