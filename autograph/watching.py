"""Watching what a function does with tensors: which it reads, writes, makes and leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import ref

from . import ops
from .attending import Apply, attending
from .device import Device
from .graph import Leaf
from .op import Op
from .tensor import Tensor
from .tensor.staircase import version_of


class Written(NamedTuple):
    """A tensor that was written, its array, and a copy of what that held before."""

    tensor: ref[Tensor]
    array: Any
    before: Any


class Watch:
    """What was seen. With `before={}` values are copied, by `copy`, before they are first
    written."""

    def __init__(
        self, before: dict[int, Written] | None = None, copy: Callable[[Any], Any] = ops.copy
    ) -> None:
        self.devices: set[Device] = set()
        self.names: set[str] = set()  # of ops
        self.external: dict[int, Tensor] = {}  # tensors that were there before
        self.gradients: list[tuple[Leaf, Any]] = []  # of those, as they were
        self._before, self._copy = before, copy
        self._made: dict[int, ref[Tensor]] = {}
        self._written: dict[int, tuple[ref[Tensor], Any]] = {}

    @property
    def before(self) -> list[Written] | None:
        """Each array that was written, once; None where copies were not asked for."""
        return None if self._before is None else list(self._before.values())

    def enter(self, op: Op, inputs: Sequence[Any]) -> None:
        """An op is about to run."""
        self.names.add(op.name)
        for i, each in enumerate(inputs):
            if not isinstance(each, Tensor):
                continue
            self.devices.add(each.device)
            made = self._made.get(id(each))
            if (made is None or made() is not each) and id(each) not in self.external:
                self.external[id(each)] = each
                if isinstance(each.node, Leaf):
                    self.gradients.append((each.node, each.node.grad))
            if op.writes and (op.inputs[0] if op.variable else op.inputs[i]) in op.writes:
                self.keep(ref(each), each._array)
                self._written.setdefault(id(each._array), (ref(each), each._array))

    def keep(self, tensor: ref[Tensor], array: Any) -> None:
        """Copy what an array holds, unless that was done."""
        if self._before is not None and id(array) not in self._before:
            self._before[id(array)] = Written(tensor, array, self._copy(array))

    def leave(self, results: Any) -> None:
        """It has answered."""
        for each in results if isinstance(results, tuple) else (results,):
            if isinstance(each, Tensor):
                self.devices.add(each.device)
                self._made[id(each)] = ref(each)

    def left(self) -> list[Tensor]:
        """The tensors that were made and still live."""
        return [each for made in self._made.values() if (each := made()) is not None]

    def only_read(self) -> list[tuple[ref[Tensor], int]]:
        """The tensors that were there before and not written, with their versions."""
        found = [(ref(each), each) for each in self.external.values()]
        self.external.clear()
        return [
            (weak, version_of(each).count)
            for weak, each in found
            if id(each._array) not in self._written
        ]

    def held(self, buffers: Sequence[Tensor]) -> list[tuple[ref[Tensor], Any]]:
        """The tensors that were there before and live on, with their arrays."""
        own = {id(each) for each in buffers}
        found = [(ref(each), each._array) for key, each in self.external.items() if key not in own]
        self.external.clear()
        return [(each, array) for each, array in found if each() is not None]

    def written(self) -> list[tuple[ref[Tensor], Any]]:
        """The tensors that were written and live on, with their arrays."""
        return [(each, array) for each, array in self._written.values() if each() is not None]


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Within the block, `watch` sees every op that this thread runs on tensors; what is deferred,
    when it is asked for."""

    def watched(apply: Apply, op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
        watch.enter(op, inputs)
        results = apply(op, inputs, settings)
        watch.leave(results)
        return results

    with attending(watched, defers=True):
        yield
