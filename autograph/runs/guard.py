"""Guard: keeps the last good state of a training in memory, and returns to it when a loss is not
finite, to find the step, layer and op that it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import numpy as np

from ..checkpoint import STATE, Snapshot, training_document
from ..errors import NonFiniteError, SettingsError
from ..layers import Layer
from ..layers.stored import PREFIX, arrays_of, exchange, named_tensors
from ..metrics import Meter
from ..optim import Optimizer
from ..tensor import Tensor
from .finite import Finding, examined, first_unsound
from .progress import Progress, Sums

NanPolicy = Literal["stop", "skip", "ignore"]
POLICIES = ("stop", "skip", "ignore")
EVERY = 500  # steps between the states that are kept


@dataclass
class Memory:
    """All of a training state, copied where it is."""

    now: Progress
    tensors: dict[str, Tensor]
    state: dict[str, Tensor]
    count: int


class Guard:
    """Looks at the sum of losses every so often, which waits for the device, and keeps a copy
    of the state. `policy` says what follows a sum that is not finite: "stop" raises, and leaves
    the state of before the step that did it; "skip" goes on without that batch."""

    def __init__(self, model: Layer, optimizer: Optimizer, meter: Meter, policy: NanPolicy) -> None:
        if policy not in POLICIES:
            raise SettingsError(
                f"fit: there is no nan_policy {policy!r}\n  takes  {', '.join(POLICIES)}"
            )
        self.model, self.optimizer, self.meter, self.policy = model, optimizer, meter, policy
        self.memory: Memory | None = None
        self.skipped: list[str] = []  # what was found wrong with the batches left out

    def sums(self) -> Sums:
        """The meter's, as numbers."""
        count, losses, right = self.meter.sums.tolist()
        return count, losses, right if self.meter.counts_classes else None

    def take_sums(self, sums: Sums) -> None:
        """Give the meter these."""
        count, losses, right = sums
        self.meter.counts_classes = right is not None
        numbers = np.array([count, losses, right or 0.0])  # a list of floats would be f32
        self.meter.sums[...] = Tensor.borrow(numbers).to(self.meter.sums.device)

    def remember(self, now: Progress) -> None:
        """Keep a copy of the state as it is now."""
        self.memory = Memory(
            now,
            {path: Tensor(each) for path, each in named_tensors(self.model).items()},
            {path: Tensor(each) for path, each in self.optimizer.tensors().items()},
            self.optimizer.count,
        )

    def snapshot(self) -> Snapshot | None:
        """What is remembered, as a checkpoint."""
        kept = self.memory
        if kept is None:
            return None
        arrays = arrays_of(kept.tensors, PREFIX) | arrays_of(kept.state, STATE)
        document = training_document(self.model, self.optimizer, kept.now.describe())
        return Snapshot(arrays, {**document, "updates": kept.count})

    def recall(self) -> Progress:
        """Put the remembered state back; it stays remembered."""
        kept = self.memory
        assert kept is not None
        named = named_tensors(self.model)
        exchange([(each, Tensor(kept.tensors[path])) for path, each in named.items()])
        parameters = self.model.named_parameters()
        for each in parameters.values():
            if each.requires_grad:
                each.grad = None
        state = {path: Tensor(each) for path, each in kept.state.items()}
        self.optimizer.restore(state, kept.count, parameters)
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
        if self.policy == "ignore" or isfinite(now.sums[1]) or self.memory is None:
            self.remember(now)
            return now
        end, now = now.batch, self.recall()
        for batch in batches(now.batch):
            if now.batch == end:
                break  # what was not finite before did not come again
            with examined(self.model) as found:
                step(batch)
            wrong = first_unsound(named_tensors(self.model))
            if wrong is not None or not isfinite(self.sums()[1]):
                return self._leave_out(found, wrong)
            now = now.at(now.batch + 1, self.sums())
            self.remember(now)
        return now

    def _leave_out(self, found: list[Finding], wrong: str | None) -> Progress:
        """Go on after the batch that follows the remembered state, or raise."""
        now = self.recall()
        where = found[0] if found else f"first in  {wrong or 'the loss'}"
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
