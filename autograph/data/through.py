"""Data sets whose batches are transformed as they are drawn."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

from .. import ops
from ..device import Device
from ..philox import stream
from ..scalar_type import ScalarType
from ..tensor import Tensor, no_grad
from .dataset import Batch, Dataset
from .prefetch import Prefetched, prefetched
from .transforms import Transform, apply_all


@dataclass(frozen=True, eq=False)
class Transformed(Dataset):
    """A data set seen through transforms. `order` begins an epoch: chance is thrown for it.

    The throws of all samples lie in one table on the device of each batch, (samples, words), so
    that a batch gathers its rows, a replayed step too.
    """

    transforms: tuple[Transform, ...] = ()
    seed: int = 0
    _thrown: dict[Device, Tensor] = field(default_factory=dict, init=False, repr=False)
    _epoch: list[int] = field(default_factory=lambda: [0], init=False, repr=False)

    def order(self, seed: int, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        self._epoch[0] = epoch
        for device in self._thrown:
            self._throw(device)
        return super().order(seed, epoch)

    def take(self, places: Tensor, scalar_type: ScalarType) -> Batch:
        return self._changed(super().take(places, scalar_type), places)

    def hash(self) -> str:
        told = [each.describe() for each in self.transforms]
        return sha256(f"{super().hash()} {json.dumps(told)} {self.seed}".encode()).hexdigest()

    def _moved(
        self, chosen: np.ndarray[Any, Any], device: Device, scalar_type: ScalarType
    ) -> Batch:
        places = Tensor.borrow(np.asarray(chosen, np.int64)).to(device)
        return self._changed(super()._moved(chosen, device, scalar_type), places)

    def _changed(self, batch: Batch, places: Tensor) -> Batch:
        if not sum(each.words for each in self.transforms):
            return apply_all(self.transforms, batch, None)
        if places.device not in self._thrown:
            self._throw(places.device)
        words = ops.gather_rows(self._thrown[places.device], places)
        return apply_all(self.transforms, batch, words)

    def _throw(self, device: Device) -> None:
        """Fill the table of a device for the epoch: the key says seed, the counter the epoch."""
        count = sum(each.words for each in self.transforms)
        counter = Tensor(np.array([0, self._epoch[0]], np.uint64), device=device)
        words = ops.random_words(
            counter, key=stream(self.seed, "transforms"), size=len(self) * count
        ).reshape(len(self), count)
        with no_grad():
            if device in self._thrown:
                self._thrown[device][...] = words
            else:
                self._thrown[device] = words


def transformed(data: Dataset, *transforms: Transform, seed: int | None = None) -> Dataset:
    """A data set seen through transforms, applied one after the other, behind those that it has;
    in the background, if it is prefetched. The seed is 0 unless said.

    >>> from autograph.data.transforms import Pad
    >>> data = Dataset(np.zeros((5, 1, 4, 4), np.float32), np.arange(5))
    >>> next(transformed(data, Pad(padding=1)).batches(2)).inputs.shape
    (2, 1, 6, 6)
    """
    if isinstance(data, Prefetched):
        return prefetched(transformed(data.source, *transforms, seed=seed), data.count)
    if isinstance(data, Transformed):
        transforms = (*data.transforms, *transforms)
        seed = data.seed if seed is None else seed
    return Transformed(data.inputs, data.targets, data.scale, transforms=transforms, seed=seed or 0)
