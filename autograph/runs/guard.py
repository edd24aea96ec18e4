"""Guard: keeps the last good state of a training in memory, and returns to it when a value is not
finite, to find the step, layer and op that it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import numpy as np

from .. import ops
from ..checkpoint import AVERAGE, STATE, Snapshot, training_document
from ..device import Device
from ..errors import MemoryLimitError, NonFiniteError, SettingsError
from ..layers import Layer
from ..layers.stored import PREFIX, arrays_of, named_tensors
from ..metrics import Meter, Stats
from ..optim import Average, Optimizer
from ..tensor import Tensor, no_grad
from .finite import Finding, examined
from .progress import Progress, Sums

NanPolicy = Literal["stop", "skip", "ignore"]
POLICIES = ("stop", "skip", "ignore")
EVERY = 500  # steps between the states that are kept


@dataclass
class Memory:
    """All of a training state, copied where it is, or on the host where a device has no room."""

    now: Progress
    tensors: dict[str, Tensor]
    state: dict[str, Tensor]
    averages: dict[str, Tensor]
    count: int


class Guard:
    """Looks every so often whether the sum of losses, which the device gathers meanwhile, and the
    model are finite, and keeps a copy of the state. `policy` says what follows if they are not:
    "stop" raises, and leaves the state of before the step that did it; "skip" goes on without
    that batch."""

    def __init__(
        self,
        model: Layer,
        optimizer: Optimizer,
        meter: Meter,
        policy: NanPolicy,
        average: Average | None = None,
    ) -> None:
        if policy not in POLICIES:
            raise SettingsError(
                f"fit: there is no nan_policy {policy!r}\n  takes  {', '.join(POLICIES)}"
            )
        self.model, self.optimizer, self.meter, self.policy = model, optimizer, meter, policy
        self.average = average
        self.memory: Memory | None = None
        self.skipped: list[str] = []  # what was found wrong with the batches left out
        self._odd: set[str] = set()  # paths that are meant not to be finite, such as masks

    def sums(self) -> Sums:
        """The meter's, as numbers."""
        count, losses, right = self.meter.sums.tolist()
        return count, losses, right if self.meter.counts_classes else None

    def read(self) -> Stats:
        """What a pass came to: waits for the device."""
        return self.meter.read()

    def take_sums(self, sums: Sums) -> None:
        """Give the meter these."""
        count, losses, right = sums
        self.meter.counts_classes = right is not None
        numbers = np.array([count, losses, right or 0.0])  # a list of floats would be f32
        self.meter.sums[...] = Tensor.borrow(numbers).to(self.meter.sums.device)

    def begin(self, now: Progress) -> None:
        """A pass begins here."""
        if self.policy != "ignore":
            self._odd = set(unsound(named_tensors(self.model)))
        self.remember(now)

    def remember(self, now: Progress) -> None:
        """Keep a copy of the state as it is now."""
        self.memory = Memory(
            now,
            {path: _copied(each) for path, each in named_tensors(self.model).items()},
            {path: _copied(each) for path, each in self.optimizer.tensors().items()},
            {path: _copied(each) for path, each in self._averages().items()},
            self.optimizer.count,
        )

    def _averages(self) -> dict[str, Tensor]:
        return {} if self.average is None else self.average.tensors()

    def snapshot(self) -> Snapshot | None:
        """What is remembered, as a checkpoint."""
        kept = self.memory
        if kept is None:
            return None
        arrays = arrays_of(kept.tensors, PREFIX) | arrays_of(kept.state, STATE)
        arrays |= arrays_of(kept.averages, AVERAGE)
        progress = kept.now.describe()
        document = training_document(self.model, self.optimizer, progress, self.average)
        return Snapshot(arrays, {**document, "updates": kept.count})

    def recall(self) -> Progress:
        """Put the remembered state back; it stays remembered."""
        kept = self.memory
        assert kept is not None
        with no_grad():
            for path, each in named_tensors(self.model).items():
                each[...] = kept.tensors[path].to(each.device)
        parameters = self.model.named_parameters()
        for each in parameters.values():
            if each.requires_grad:
                each.grad = None
        state = {path: _copied(each) for path, each in kept.state.items()}
        self.optimizer.restore(state, kept.count, parameters)
        if self.average is not None:
            self.average.restore(kept.averages, parameters)
        self.take_sums(kept.now.sums)
        return kept.now

    def look(
        self,
        now: Progress,
        step: Callable[[Any], None],
        batches: Callable[[int], Iterator[Any]],
    ) -> Progress:
        """Where training goes on: here, all being finite, or after a batch that was left out.

        `step` trains on a batch, uncaptured; `batches` are those of this epoch from one on.
        """
        now = now.at(now.batch, self.sums())
        if self.policy == "ignore" or self._wrong(now.sums) is None:
            self.remember(now)
            return now
        end, now = now.batch, self.recall()
        for batch in batches(now.batch):
            if now.batch == end:
                break  # what was not finite before did not come again
            with examined(self.model) as origins:
                step(batch)
            wrong = self._wrong(sums := self.sums())
            if wrong is not None:
                return self._leave_out(
                    self._origin(step, batch) or origins.of(wrong[1]) or f"first in  {wrong[0]}"
                )
            now = now.at(now.batch + 1, sums)
            self.remember(now)
        return now

    def _wrong(self, sums: Sums) -> tuple[str, Any] | None:
        """What is not finite, by name: the loss, or a tensor of the model."""
        if not isfinite(sums[1]):
            return "the loss", self.meter.sums.array
        named = named_tensors(self.model)
        path = next((each for each in unsound(named) if each not in self._odd), None)
        return None if path is None else (path, named[path].array)

    def _origin(self, step: Callable[[Any], None], batch: Any) -> Finding | None:
        """What a step finds that runs layer by layer, from the remembered state."""
        self.recall()
        with examined(self.model, one_by_one=True) as origins:
            step(batch)
        wrong = self._wrong(self.sums())
        return None if wrong is None else origins.of(wrong[1])

    def _leave_out(self, where: object) -> Progress:
        """Go on after the batch that follows the remembered state, or raise."""
        now = self.recall()
        lines = "\n".join(f"  {line}" for line in str(where).splitlines())
        words = (
            f"fit: a value is not finite in step {now.step + 1}, "
            f"epoch {now.epoch + 1}, batch {now.batch + 1}\n{lines}"
        )
        if self.policy == "stop":
            raise NonFiniteError(
                f"{words}\n  the model is as it was before that step\n"
                f"  write a lower learning_rate, clip_norm=1.0, or nan_policy='skip'"
            )
        self.skipped.append(words)
        now = now.at(now.batch + 1)
        self.remember(now)
        return now


def unsound(tensors: Mapping[str, Tensor]) -> list[str]:
    """The paths of tensors with a value that is not finite; each device is waited for once."""
    by_device: dict[Device, list[str]] = {}
    for path, each in tensors.items():
        if each.scalar_type.is_float:
            by_device.setdefault(each.device, []).append(path)
    found = []
    with no_grad():
        for paths in by_device.values():
            flags = [ops.all(ops.isfinite(tensors[path].detach())) for path in paths]
            sound = ops.stack(flags).tolist()
            found += [path for path, fine in zip(paths, sound, strict=True) if not fine]
    return found


def _copied(tensor: Tensor) -> Tensor:
    """A copy where it is; on the host where a device has no room."""
    try:
        return Tensor(tensor)
    except MemoryLimitError:
        if tensor.device.is_host:
            raise
        return Tensor.borrow(tensor.numpy())
