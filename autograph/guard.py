"""Guard: keeps the last good state of a training in memory, and returns to it when a loss is not
finite, to find the step, layer and op it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from .checkpoint import Snapshot
from .errors import NonFiniteError, SettingsError
from .finite import first_unsound, is_finite, watching
from .layers import Layer
from .layers.stored import exchange, named_tensors
from .metrics import Meter
from .optim import Optimizer
from .progress import Progress
from .tensor import Tensor, no_grad

NanPolicy = Literal["stop", "skip", "ignore"]
EVERY = 500  # steps between the states that are kept


@dataclass
class Memory:
    """All of a training state, copied where it is."""

    now: Progress
    tensors: dict[str, Tensor]
    state: dict[str, Tensor]
    count: int
    sums: Tensor


class Guard:
    """Looks at the loss every so often, which waits for the device, and keeps a copy of the
    state then. `policy` says what follows a loss that is not finite: "stop" raises, with the
    state of before that step in place; "skip" goes on without that batch."""

    def __init__(
        self, model: Layer, optimizer: Optimizer, meter: Meter, policy: NanPolicy, keeps: bool
    ) -> None:
        if policy not in ("stop", "skip", "ignore"):
            raise SettingsError(
                f"fit: nan_policy is none\n  given  {policy!r}\n  takes  'stop', 'skip' or 'ignore'"
            )
        self.model, self.optimizer, self.meter, self.policy = model, optimizer, meter, policy
        self.keeps = keeps or policy != "ignore"
        self.memory: Memory | None = None
        self.skipped: list[str] = []

    @property
    def next_look(self) -> int:
        """The step before which nothing is done."""
        return self.memory.now.step + EVERY if self.memory is not None else 0

    def remember(self, now: Progress) -> None:
        """Keep a copy of the state as it is now."""
        if not self.keeps:
            return
        with no_grad():
            self.memory = Memory(
                now,
                {path: Tensor(each) for path, each in named_tensors(self.model).items()},
                {path: Tensor(each) for path, each in self.optimizer.tensors().items()},
                self.optimizer.count,
                Tensor(self.meter.sums),
            )

    def snapshot(self) -> Snapshot | None:
        """What is remembered, as a checkpoint would hold it."""
        kept = self.memory
        if kept is None:
            return None
        here = Snapshot.of(self.model, self.optimizer, kept.now.describe())
        arrays = {f"model.{path}": each.numpy() for path, each in kept.tensors.items()}
        arrays |= {f"optimizer.{path}": each.numpy() for path, each in kept.state.items()}
        return Snapshot(arrays, {**here.document, "updates": kept.count})

    def recall(self) -> Progress:
        """Put the remembered state back; it stays remembered."""
        kept = self.memory
        assert kept is not None
        exchange(
            [
                (each, Tensor(kept.tensors[path]))
                for path, each in named_tensors(self.model).items()
            ]
        )
        for each in self.model.parameters():
            if each.requires_grad:
                each.grad = None
        state = {path: Tensor(each) for path, each in kept.state.items()}
        self.optimizer.restore(state, kept.count, self.model.named_parameters())
        self.meter.sums[...] = kept.sums
        return kept.now

    def look(
        self,
        now: Progress,
        step: Callable[[Any], None],
        batches: Callable[[int], Iterator[Any]],
    ) -> Progress:
        """Where training goes on: here, all being finite; or after a batch that was skipped.

        `step` trains on a batch, eagerly; `batches` gives those of this epoch from one on.
        """
        if self.policy == "ignore" or is_finite(self.meter.sums.array):
            self.remember(now)
            return now
        reached, now = now, self.recall()
        for batch in batches(now.batch):
            if now.step == reached.step:
                return now  # nothing to see: what was wrong before has not come again
            with watching(self.model) as found:
                step(batch)
            wrong = first_unsound(named_tensors(self.model))
            if wrong is not None or not is_finite(self.meter.sums.array):
                error = _error(now, found, wrong)
                now = self.recall()
                if self.policy == "stop":
                    raise error
                self.skipped.append(str(error))
                now = now.after_batch()
                self.remember(now)
                return now
            now = now.after_batch()
            self.remember(now)
        return now


def _error(now: Progress, found: list[Any], wrong: str | None) -> NonFiniteError:
    where = found[0] if found else f"tensor {wrong}"
    lines = "\n".join(f"  {line}" for line in str(where).splitlines())
    return NonFiniteError(
        f"fit: a value is not finite, at step {now.step + 1}: "
        f"epoch {now.epoch + 1}, batch {now.batch + 1}\n{lines}\n"
        f"  the model is as it was before this step\n"
        f"  lower the learning rate, clip gradients (clip_norm=1.0), or nan_policy='skip'"
    )
