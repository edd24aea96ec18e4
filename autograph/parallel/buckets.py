"""Buckets: gradients on their way to the other ranks while backward still runs.

Parameters are laid out from the last one to the first, as backward reaches them, flat in a few
buckets; a bucket leaves when its gradients and all buckets before it are complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ops
from ..errors import GraphError
from ..graph import Leaf, Node
from ..scalar_type import BF16, F64, ScalarType
from ..tensor import Parameter
from ..tensor.tensor import _make
from .exchange import average_begin, exchange

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

    def __init__(self, world: World, layout: Layout, having: set[int], in_parts: bool) -> None:
        self.scalar_type, self.device = layout.scalar_type, layout.device
        wide = self.scalar_type.accumulator
        rounds = world.options.gradients == "bf16" and wide is not F64
        self.bucket = world.bucket(
            layout.size, self.device, (BF16 if rounds else wide).dtype,
            lane="gradients", average=True, parts=in_parts,
        )  # fmt: skip
        self.slots = [(w, at) for w, at in layout.places if id(w) in having]
        self.bucket.places = [at for _, at in self.slots]
        self.given: dict[int, Any] = {}  # gradients by the place of their slot

    def begin(self) -> None:
        """Send what has come."""
        values = [
            _whole(self.given[i])
            if i in self.given
            else self.device.put(np.zeros(w.shape, w.dtype))  # backward has found none
            for i, (w, _) in enumerate(self.slots)
        ]
        self.given.clear()
        average_begin(self.bucket.flat, *values, bucket=self.bucket)

    def end(self) -> Any:
        """What has come back."""
        exchange(self.bucket.flat, run=self.bucket.end)
        mean = self.bucket.sums
        if ScalarType.of(mean) is not self.scalar_type:
            mean = ops.cast(mean, scalar_type=self.scalar_type)
        return mean


class Gradients:
    """The gradients of parameters, averaged over the ranks; it watches backward. Each rank gets all
    of the averages or, of what is `sharded` in parts, those that it moves parameters by."""

    def __init__(
        self, world: World, named: Mapping[str, Parameter], sharded: Sharded | None
    ) -> None:
        self.world, self._named, self._sharded = world, named, sharded
        self._every: dict[Any, list[_Filling]] = {}  # for each set of parameters that had some
        self._had: dict[str, str] = {}  # the newest set
        self._fillings: list[_Filling] = []
        self._of: dict[Node, tuple[int, int]] = {}  # the slot of each leaf
        self._sent = 0

    @property
    def nbytes(self) -> int:
        """Of one rank's gradients, as they are sent."""
        return sum(each.bucket.size * each.bucket.dtype.itemsize for each in self._fillings)

    def begin(self, expected: Mapping[Node, int]) -> None:
        """Backward begins; these leaves will get a gradient from it. Others may have one."""
        having = {
            path: w
            for path, w in self._named.items()
            if w.requires_grad and (leaf_of(w) in expected or w.grad is not None)
        }
        if not having:
            raise GraphError(
                "parallel: no parameter has a gradient\n  the loss depends on none of this model"
            )
        self._fillings, self._sent = self._fillings_of(having), 0
        self._of.clear()  # a parameter that was frozen for a while has another leaf
        for i, each in enumerate(self._fillings):
            each.given.clear()
            self._of |= {leaf_of(w): (i, place) for place, (w, _) in enumerate(each.slots)}
        for leaf in self._of:
            if leaf not in expected and leaf.grad is not None:  # type: ignore[attr-defined]
                self.arrived(leaf, None)

    def _fillings_of(self, having: Mapping[str, Parameter]) -> list[_Filling]:
        """The buckets that these go into, which are made by all ranks at once."""
        key = tuple((id(w), w.scalar_type, w.device) for w in having.values())
        if key in self._every:
            return self._every[key]
        now = {path: f"{w.scalar_type} on {w.device}" for path, w in having.items()}
        had, self._had = self._had, now
        why = [f"{path} has none any more" for path in had if path not in now]
        why += [f"{path} has one now" for path in now if had and path not in had]
        why += [f"{path} is {now[path]}" for path in had if now.get(path, had[path]) != had[path]]
        what = "the parameters that have gradients"
        kinds = {path: f"{w.scalar_type} on {w.device.kind}" for path, w in having.items()}
        self.world.refuse_differences(what, str(kinds), ", ".join(why))  # each has its own device
        parts = []
        if self._sharded is not None:
            self._sharded.refuse_others(now)
            parts = self._sharded.layouts
        known, layouts = set(map(id, having.values())), laid_out(list(having.values()), self.world)
        every = [_Filling(self.world, each, known, bool(parts)) for each in parts or layouts]
        self._every[key] = [each for each in every if each.slots]
        return self._every[key]

    def arrived(self, leaf: Node, value: Any) -> bool:
        """The gradient of a leaf is complete, in this walk; whether it is one of a parameter."""
        if leaf not in self._of:
            return False
        i, place = self._of[leaf]
        before = leaf.grad  # type: ignore[attr-defined]
        if before is not None:
            value = before.array if value is None else ops.add(before.array, value)
        self._fillings[i].given[place] = value
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
        sharded = self._sharded
        for filling in self._fillings:
            mean = filling.end()
            for w, at in filling.slots:
                if sharded is not None and sharded.layouts:
                    leaf_of(w).grad = None
                    sharded.arrived(w, mean, at - filling.bucket.first)
                else:
                    leaf_of(w).grad = _make(mean[at : at + w.size].reshape(w.shape))


def leaf_of(w: Parameter) -> Leaf:
    """The leaf that gathers the gradient of a parameter; behind that of its hooks, if any."""
    node: Any = w.node
    leaf: Leaf = getattr(node, "leaf", node)
    return leaf


def _whole(array: Any) -> Any:
    """The array in C order."""
    return array if array.flags.c_contiguous else ops.copy(array)
