"""Buckets: gradients on their way to the other ranks while backward still runs.

Parameters are laid out from the last one to the first, as backward reaches them, flat in a few
buckets; a bucket leaves when its gradients and all buckets before it are complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import ops
from ..device import Device
from ..graph import Leaf, Node
from ..scalar_type import BF16, F64, ScalarType
from ..tensor import Parameter
from ..tensor.tensor import _make
from .exchange import average_begin, average_end
from .host import Bucket

if TYPE_CHECKING:
    from .world import World

ALIGNMENT = 32  # numbers that the places of parameters are multiples of


class Slot(NamedTuple):
    """A parameter's place in a bucket."""

    w: Parameter
    leaf: Leaf
    at: int


class _Layout:
    """One bucket: its parameters, memory, and what of it has come."""

    def __init__(self, world: World, parameters: Sequence[Parameter]) -> None:
        self.slots: list[Slot] = []
        at = 0
        for w in parameters:
            self.slots.append(Slot(w, leaf_of(w), at))
            at += w.size + -w.size % ALIGNMENT
        first = parameters[0]
        self.scalar_type = first.scalar_type
        wide = first.scalar_type.accumulator
        rounds = world.options.gradients == "bf16" and wide is not F64
        self.bucket: Bucket = world.bucket(
            at, first.device, (BF16 if rounds else wide).dtype, lane="gradients", average=True
        )
        self.bucket.places = [slot.at for slot in self.slots]
        self.given: dict[Leaf, Any] = {}


class Buckets:
    """The gradients of some parameters, averaged over the ranks; it watches one backward."""

    def __init__(self, world: World, parameters: Sequence[Parameter]) -> None:
        self._layouts = [
            _Layout(world, some)
            for some in _cut(reversed(parameters), world.options.bucket_bytes)
        ]
        self._of: dict[Node, int] = {
            slot.leaf: i for i, each in enumerate(self._layouts) for slot in each.slots
        }
        self._sent = 0

    @property
    def nbytes(self) -> int:
        """Of one rank's gradients, as they are sent."""
        return sum(each.bucket.size * each.bucket.dtype.itemsize for each in self._layouts)

    def begin(self, expected: Mapping[Node, int]) -> None:
        """Backward begins; these leaves will get a gradient from it. Others may have one."""
        self._sent = 0
        for leaf in self._of:
            if leaf not in expected and leaf.grad is not None:  # type: ignore[attr-defined]
                self.arrived(leaf, None)

    def arrived(self, leaf: Node, value: Any) -> bool:
        """The gradient of a leaf is complete, in this walk; whether it is one of a parameter."""
        at = self._of.get(leaf)
        if at is None:
            return False
        before = leaf.grad  # type: ignore[attr-defined]
        if before is not None:
            value = before.array if value is None else ops.add(before.array, value)
        self._layouts[at].given[leaf] = value  # type: ignore[index]
        while self._sent < len(self._layouts):
            layout = self._layouts[self._sent]
            if len(layout.given) < len(layout.slots):
                break
            self._send(layout)
        return True

    def _send(self, layout: _Layout) -> None:
        self._sent += 1
        values = [_whole(layout.given[slot.leaf]) for slot in layout.slots]
        average_begin(layout.bucket.flat, *values, bucket=layout.bucket)

    def end(self) -> None:
        """Give every parameter the average over the ranks."""
        for layout in self._layouts[self._sent :]:  # backward has found no gradient for some
            for slot in layout.slots:
                if slot.leaf not in layout.given:
                    zeros = np.zeros(slot.w.shape, slot.w.dtype)
                    layout.given[slot.leaf] = slot.w.device.put(zeros)
            self._send(layout)
        for layout in self._layouts:
            average_end(layout.bucket.flat, bucket=layout.bucket)
            layout.given.clear()
            mean = layout.bucket.flat
            if ScalarType.of(mean) is not layout.scalar_type:
                mean = ops.cast(mean, scalar_type=layout.scalar_type)
            for w, leaf, at in layout.slots:
                leaf.grad = _make(mean[at : at + w.size].reshape(w.shape))


def leaf_of(w: Parameter) -> Leaf:
    """The leaf that gathers the gradient of a parameter; behind that of its hooks, if any."""
    node: Any = w.node
    leaf: Leaf = getattr(node, "leaf", node)
    return leaf


def _cut(parameters: Iterator[Parameter], limit: int) -> Iterator[list[Parameter]]:
    """Parameters in order, as many together as a bucket holds, and of one kind."""
    found: list[Parameter] = []
    kind: tuple[Device, Any] | None = None
    size = 0
    for w in parameters:
        nbytes = w.size * w.scalar_type.accumulator.dtype.itemsize
        if found and (kind != (w.device, w.scalar_type) or size + nbytes > limit):
            yield found
            found, size = [], 0
        found.append(w)
        kind, size = (w.device, w.scalar_type), size + nbytes
    if found:
        yield found


def _whole(array: Any) -> Any:
    """The array in C order."""
    return array if array.flags.c_contiguous else ops.copy(array)

