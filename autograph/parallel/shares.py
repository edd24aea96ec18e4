"""Shares: which samples of each batch a rank works on, so that all ranks together see what one
process would.

A batch of the whole job is cut into one run of samples a rank, in order; their sizes differ by one
at most. Nothing here knows how ranks talk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.dataset import Batch, Dataset
from ..device import Device
from ..errors import SettingsError
from ..scalar_type import ScalarType
from ..tensor import Tensor

Order = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Shares:
    """The part of rank `rank` of `ranks` in batches of `batch_size` samples of `count`.

    >>> shares = Shares(rank=1, ranks=2, count=10, batch_size=4)
    >>> shares.part(4), shares.part(2)
    ((2, 4), (1, 2))
    >>> shares.order(np.arange(10)).tolist()
    [2, 3, 6, 7, 9]
    """

    rank: int
    ranks: int
    count: int  # samples of an epoch
    batch_size: int  # of all ranks together

    def __post_init__(self) -> None:
        if self.batch_size < self.ranks:
            raise SettingsError(
                f"parallel: a batch has fewer samples than there are ranks\n"
                f"  batch  {self.batch_size}\n  ranks  {self.ranks}\n"
                f"  write a larger batch_size, or start fewer ranks"
            )

    def part(self, size: int) -> tuple[int, int]:
        """From which sample to which one of a batch of `size` this rank works."""
        each, more = divmod(size, self.ranks)
        first = self.rank * each + min(self.rank, more)
        return first, first + each + (self.rank < more)

    @property
    def room(self) -> int:
        """How many samples this rank has of a full batch."""
        first, end = self.part(self.batch_size)
        return end - first

    def size(self, batch: int) -> int:
        """How many samples all ranks together have in a batch of an epoch, counted from 0."""
        return min(self.batch_size, self.count - batch * self.batch_size)

    def order(self, order: Order) -> Order:
        """The samples of this rank, in the order of an epoch. Where the last batch has none for
        it, it works on one of another rank's, which then weighs nothing."""
        whole = len(order) // self.batch_size
        full = order[: whole * self.batch_size].reshape(whole, self.batch_size)
        first, end = self.part(self.batch_size)
        parts = [full[:, first:end].reshape(-1)]
        if rest := len(order) - whole * self.batch_size:
            first, end = self.part(rest)
            parts.append(order[len(order) - rest :][first:end] if end > first else order[-1:])
        return np.concatenate(parts)

    def weight(self, size: int) -> float:
        """What the mean over this rank's samples counts in that over a batch of `size`, times the
        ranks: 1 where all have equally many."""
        first, end = self.part(size)
        return (end - first) * self.ranks / size


class Part(Dataset):
    """The samples of one rank, in batches of its own size, of a data set that it has whole; `mine`
    picks them from any order of all."""

    def __init__(self, whole: Dataset, mine: Callable[[Order], Order]) -> None:
        self.__dict__.update(whole=whole, mine=mine, standing=mine(np.arange(len(whole))))

    whole: Dataset
    mine: Callable[[Order], Order]
    standing: Order

    def __len__(self) -> int:
        return len(self.standing)

    def order(self, seed: int, epoch: int) -> Order:
        """This rank's samples of the order of an epoch."""
        return self.mine(self.whole.order(seed, epoch))

    def batches(self, size: int, **settings: Any) -> Iterator[Batch]:
        if settings.get("order") is None:
            settings["order"] = self.standing
        return self.whole.batches(size, **settings)

    def lives_on(self, device: Device) -> bool:
        return len(self) > 0 and self.whole.lives_on(device)  # nothing is drawn from nothing

    def take(self, places: Tensor, scalar_type: ScalarType) -> Batch:
        return self.whole.take(places, scalar_type)


def stretch(order: Order, rank: int, ranks: int) -> Order:
    """The samples that a rank tests: a run of them."""
    return order[len(order) * rank // ranks : len(order) * (rank + 1) // ranks]
