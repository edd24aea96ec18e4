"""Steps: the gradient of a batch, whole or in parts, on one device or several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from ..data.dataset import Batch
from ..tensor import Tensor
from .placing import devices_of
from .replica import Replica

Loss = Callable[[Tensor, Tensor], Tensor]
Told = tuple[Tensor, Tensor, Tensor]  # loss, scores and targets of some samples


class Steps:
    """What a training does with a batch: in `micro_batches` parts, whose gradients add up before
    one update. A model on several devices has all parts under way at once, so that its devices
    work side by side; otherwise one part is walked back before the next begins, which needs the
    memory of one alone."""

    def __init__(self, replica: Replica, loss: Loss, micro_batches: int = 1) -> None:
        self.replica, self.model, self.loss = replica, replica.model, loss
        self.micro_batches = micro_batches
        self._is_placed = len(devices_of(self.model)) > 1

    def train(self, batch: Batch, share: float = 1.0) -> list[Told]:
        """One step; what it came to, of each part. `share` is as `Replica.backward` takes it."""
        rows = batch.inputs.shape[0]
        parts = [batch] if self.micro_batches == 1 else list(_cut(batch, self.micro_batches))
        made: list[Told] = []
        done = 0
        for i, part in enumerate(parts):
            made.append(self.forward(part))
            if not self._is_placed or i == len(parts) - 1:
                for told in made[done:]:
                    done += 1
                    weight = share * told[1].shape[0] / rows if len(parts) > 1 else share
                    self.replica.backward(told[0], weight, last=done == len(parts))
        self.replica.update()
        return made

    def forward(self, batch: Batch) -> Told:
        """Loss, scores and targets of a batch; targets follow the scores to their device."""
        scores = self.model(batch.inputs)
        targets = batch.targets.to(scores.device)
        return self.loss(scores, targets), scores, targets


def _cut(batch: Batch, count: int) -> Iterator[Batch]:
    """A batch in parts, whose sizes differ by one at most; as many as it has samples, if fewer."""
    rows = batch.inputs.shape[0]
    count = min(count, rows)
    bounds = [rows * i // count for i in range(count + 1)]
    for first, end in pairwise(bounds):
        yield Batch(batch.inputs[first:end], batch.targets[first:end])
