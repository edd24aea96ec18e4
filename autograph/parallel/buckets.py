"""Buckets: gradients on their way to the other ranks while backward still runs.

Parameters are laid out from the last one to the first, as backward reaches them, flat in a few
buckets; a bucket leaves when its gradients and all buckets before it are complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ops
from ..graph import Leaf, Node
from ..scalar_type import BF16, F64, ScalarType
from ..tensor import Parameter
from ..tensor.tensor import _make
from .exchange import average_begin, average_end

if TYPE_CHECKING:
    from .sharding import Sharded
    from .world import World

ALIGNMENT = 32  # numbers that the places of parameters on a device are multiples of
LAST = 4 << 20  # bytes of the bucket that leaves last
MESSAGE = 512 << 10  # and at least this much of it for each rank: smaller messages cost as much


class Layout:
    """Parameters of one kind, and where they lie in a bucket, which has equal parts for ranks."""

    def __init__(self, parameters: Sequence[Parameter], ranks: int) -> None:
        self.device, self.scalar_type = parameters[0].device, parameters[0].scalar_type
        unit, at = 1 if self.device.is_host else ALIGNMENT, 0
        self.places: list[tuple[Parameter, int]] = []
        for w in parameters:
            self.places.append((w, at))
            at += w.size + -w.size % unit
        self.size = at + -at % (unit * ranks)


def laid_out(parameters: Sequence[Parameter], world: World) -> list[Layout]:
    """Buckets in the order in which they leave. The last one is waited for, so it is small; each
    may be twice as large as the one after it, which leaves later."""
    found: list[list[Parameter]] = []
    limit = min(max(LAST, MESSAGE * world.size), world.options.bucket_bytes)
    kind, size = None, 0
    for w in parameters:
        nbytes = w.size * w.scalar_type.accumulator.dtype.itemsize
        if kind != (w.device, w.scalar_type) or size + nbytes > limit:
            limit = min(2 * limit if found else limit, world.options.bucket_bytes)
            found.append([])
            kind, size = (w.device, w.scalar_type), 0
        found[-1].append(w)
        size += nbytes
    return [Layout(each[::-1], world.size) for each in reversed(found)]


class _Filling:
    """One bucket, and what of it has come."""

    def __init__(
        self, world: World, layout: Layout, having: set[int], sharded: Sharded | None
    ) -> None:
        self.scalar_type, self.device = layout.scalar_type, layout.device
        wide = self.scalar_type.accumulator
        rounds = world.options.gradients == "bf16" and wide is not F64
        self.bucket = world.bucket(
            layout.size, self.device, (BF16 if rounds else wide).dtype,
            lane="gradients", average=True, parts=sharded is not None,
        )  # fmt: skip
        self.slots = [(w, leaf_of(w), at) for w, at in layout.places if id(w) in having]
        self.bucket.places = [at for *_, at in self.slots]
        self.given: dict[Leaf, Any] = {}

    def begin(self) -> None:
        """Send what has come."""
        for w, leaf, _ in self.slots:
            if leaf not in self.given:  # backward has found none
                self.given[leaf] = self.device.put(np.zeros(w.shape, w.dtype))
        values = [_whole(self.given[leaf]) for _, leaf, _ in self.slots]
        self.given.clear()
        average_begin(self.bucket.flat, *values, bucket=self.bucket)

    def end(self) -> Any:
        """What has come back."""
        average_end(self.bucket.flat, bucket=self.bucket)
        mean = self.bucket.sums
        if ScalarType.of(mean) is not self.scalar_type:
            mean = ops.cast(mean, scalar_type=self.scalar_type)
        return mean


class Buckets:
    """The gradients of some parameters, averaged over the ranks; it watches one backward. Each rank
    gets all of the averages or, for what is `sharded`, those that it moves parameters by."""

    def __init__(
        self, world: World, having: Sequence[Parameter], sharded: Sharded | None = None
    ) -> None:
        self._sharded = sharded
        layouts = laid_out(having, world) if sharded is None else sharded.layouts
        known = set(map(id, having))
        every = [_Filling(world, each, known, sharded) for each in layouts]
        self._fillings = [each for each in every if each.slots]
        self._of: dict[Node, int] = {
            leaf: i for i, each in enumerate(self._fillings) for _, leaf, _ in each.slots
        }
        self._sent = 0

    @property
    def nbytes(self) -> int:
        """Of one rank's gradients, as they are sent."""
        return sum(each.bucket.size * each.bucket.dtype.itemsize for each in self._fillings)

    def begin(self, expected: Mapping[Node, int]) -> None:
        """Backward begins; these leaves will get a gradient from it. Others may have one."""
        self._sent = 0
        for each in self._fillings:
            each.given.clear()
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
        self._fillings[at].given[leaf] = value  # type: ignore[index]
        while self._sent < len(self._fillings):
            filling = self._fillings[self._sent]
            if len(filling.given) < len(filling.slots):
                break
            self._sent += 1
            filling.begin()
        return True

    def end(self) -> None:
        """Give every parameter the average over the ranks."""
        for filling in self._fillings[self._sent :]:
            filling.begin()
        for filling in self._fillings:
            mean, first = filling.end(), filling.bucket.first
            for w, leaf, at in filling.slots:
                if self._sharded is None:
                    leaf.grad = _make(mean[at : at + w.size].reshape(w.shape))
                else:
                    leaf.grad = None
                    self._sharded.arrived(w, mean, at - first)


def leaf_of(w: Parameter) -> Leaf:
    """The leaf that gathers the gradient of a parameter; behind that of its hooks, if any."""
    node: Any = w.node
    leaf: Leaf = getattr(node, "leaf", node)
    return leaf


def _whole(array: Any) -> Any:
    """The array in C order."""
    return array if array.flags.c_contiguous else ops.copy(array)
