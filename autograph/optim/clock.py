"""Clock: the learning rate of the step under way, in an array, so that a recorded step reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ops
from ..device import Device
from ..tensor import Tensor, no_grad
from .schedule import Schedule

if TYPE_CHECKING:
    from .optimizer import Optimizer

ROOM = 4096  # entries that the table of a schedule without a horizon grows by


class Clock:
    """The learning rate on a device, taken from a table by the step count."""

    def __init__(self, device: Device) -> None:
        self.value = Tensor(np.zeros((), np.float64), device=device)
        self.position = Tensor(np.zeros((), np.int64), device=device)
        self.table: Tensor | None = None
        self.source: Any = None
        self.ticked = False

    def stand(self, count: int) -> None:
        """Go on after `count` steps."""
        with no_grad():
            ops.assign(self.position, count)

    def rate(self, optimizer: Optimizer) -> Tensor:
        """The rate of the step under way."""
        if self.ticked:
            return self.value
        if self.lay_out(optimizer):
            ops.tick(self.value, self.position, self.table)
        self.ticked = True
        return self.value

    def lay_out(self, optimizer: Optimizer) -> bool:
        """Have the rate of the step under way in the table; whether it is looked up there."""
        rate, count = optimizer.learning_rate, optimizer.count
        if self.source is rate:
            if not isinstance(rate, Schedule):
                return False
            room = 0 if self.table is None else self.table.size
            if room > count:
                return True
            if rate.depends_on_horizon and rate.steps is not None and room > rate.steps:
                return True  # past the horizon the last rate stays
        device = self.value.device
        if self.source is not rate:
            self.position = Tensor(np.array(count, np.int64), device=device)
        if isinstance(rate, Schedule):
            wanted = max(rate.steps + 1 if rate.depends_on_horizon and rate.steps else 0, count + 1)
            entries = rate.table(wanted if rate.depends_on_horizon else wanted + ROOM)
        else:
            entries = np.array([rate], np.float64)
        self.table, self.source = Tensor(entries, device=device), rate
        if not isinstance(rate, Schedule):  # it stands until another is set
            ops.tick(self.value, self.position, self.table)
            return False
        return True
