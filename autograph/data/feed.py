"""Feed: batches of a data set that lives on a device, drawn by a place that is kept there too."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..device import Device
from ..scalar_type import ScalarType
from ..tensor import Tensor, no_grad
from .dataset import Batch, Dataset


class Feed:
    """The batches of `data.batches`, for a step that is captured: what changes from one to the
    next is in arrays, so that a replay draws on.

    >>> feed = Feed(Dataset(np.zeros((5, 3), np.float32), np.arange(5)), 2, Device("host"), "f32")
    >>> feed.start(np.array([4, 3, 2, 1, 0]))
    >>> [feed.draw(size).targets.tolist() for size in feed.sizes]
    [[4, 3], [2, 1], [0]]
    """

    def __init__(
        self, data: Dataset, size: int, device: Device, scalar_type: ScalarType | str
    ) -> None:
        self.data, self.scalar_type = data, ScalarType(scalar_type)
        whole, rest = divmod(len(data), size)
        self.sizes = [size] * whole + [rest] * (rest > 0)
        self._order = Tensor(np.arange(len(data)), device=device)
        self._window = Tensor(np.arange(self.sizes[0]), device=device)
        self._first = Tensor(np.arange(self.sizes[0]), device=device)

    def start(self, order: np.ndarray[Any, Any] | None = None, batch: int = 0) -> None:
        """Begin again, at a batch, in another order if one is given."""
        if order is not None:
            self._order[...] = Tensor.borrow(order).to(self._order.device)
        self._window[...] = self._first
        if batch:
            ops.accumulate(self._window, batch * self.sizes[0])

    def draw(self, size: int) -> Batch:
        """The next `size` samples, one of `sizes`."""
        with no_grad():
            window = self._window if size == self._window.size else self._window[:size]
            batch = self.data.take(ops.gather_rows(self._order, window), self.scalar_type)
            ops.accumulate(self._window, size)
        return batch
