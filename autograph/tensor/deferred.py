"""Deferred tensors: of known shape and scalar type, computed when somebody looks.

Whoever looks at anything else than an outline gets what would have been there without all this.
A pending tensor has the value of the moment it was asked for: whatever writes a tensor that it
depends on has it computed first. What is deferred, and what meets it there, says `chained`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import get_ident
from typing import Any
from weakref import ref

import numpy as np

from ..backends.backend import lookups
from ..graph import Node, Version
from ..op import Op
from .staircase import apply, live, version_of
from .state import state
from .tensor import Tensor, _make

# What an op does with inputs that are pending: its answer as (answer,), or None where they are to
# be computed.
JOINS: dict[Op, Callable[..., Any]] = {}

_value: Any = Tensor.__dict__["_array"]  # the slots that Pending answers for
_node: Any = Tensor.__dict__["node"]
_set_value, _new = _value.__set__, object.__new__


class Pending(Tensor):
    """A tensor whose values are computed when they are asked for; from then on it is a Tensor."""

    __slots__ = ()

    @property
    def _array(self) -> Any:
        _value.__get__(self).compute()
        return _value.__get__(self)

    @_array.setter
    def _array(self, array: Any) -> None:
        _value.__get__(self).compute()
        _value.__set__(self, array)

    @property
    def node(self) -> Node | None:
        deferred = _value.__get__(self)
        if not deferred.recorded:
            return None
        deferred.compute()
        return _node.__get__(self)

    @node.setter
    def node(self, node: Node | None) -> None:
        _value.__get__(self).compute()
        _node.__set__(self, node)

    def backward(
        self, gradient: Tensor | np.ndarray[Any, Any] | None = None, *, retain_graph: bool = False
    ) -> None:
        deferred = _value.__get__(self)
        alone = gradient is None and not retain_graph and not state.higher_order
        if not (alone and deferred.backward(self)):
            deferred.compute()
            Tensor.backward(self, gradient, retain_graph=retain_graph)

    def __reduce__(self) -> Any:
        _value.__get__(self).compute()
        return Tensor.__reduce__(self)

    def __repr__(self) -> str:
        _value.__get__(self).compute()
        return Tensor.__repr__(self)

    def _repr_html_(self) -> str:
        _value.__get__(self).compute()
        return Tensor._repr_html_(self)


class Deferred:
    """What some pending tensors wait for."""

    recorded = True  # whether they will have nodes

    def __init__(self, inputs: list[Tensor], arrays: list[Any], nodes: list[Node | None]) -> None:
        """It works on `inputs`, which somebody may write; these are their arrays and nodes."""
        self.inputs, self.arrays, self.nodes = inputs, arrays, nodes
        self.counts = [(each.version or version_of(each)).count for each in inputs]
        self.limit, self.thread = lookups.limit, get_ident()
        self.pending: list[ref[Tensor]] = []

    def pend(self, *outlines: Any) -> list[Tensor]:
        """Tensors that wait for this."""
        made: list[Tensor] = []
        for outline in outlines:
            tensor = _new(Pending)
            _set_value(tensor, self)
            tensor.outline, tensor.version = outline, None
            made.append(tensor)
        self.pending += map(ref, made)
        live.add(ref(self, live.discard))  # now that it is whole: other threads look here
        return made

    def depends_on(self, written: Collection[Version | None]) -> bool:
        """Whether an input has one of these versions."""
        return any(each.version in written for each in self.inputs)

    def is_current(self) -> bool:
        """Whether the inputs are what they were: another array raises the version too."""
        counts = [(each.version or version_of(each)).count for each in self.inputs]
        return counts == self.counts and [each.node for each in self.inputs] == self.nodes

    def inputs_then(self) -> list[Tensor]:
        """The inputs as they were when this was asked for."""
        twins = []
        for each, array, node in zip(self.inputs, self.arrays, self.nodes, strict=True):
            if each._array is not array or each.node is not node:
                version = each.version
                each = _make(array, node)
                each.version = version
            twins.append(each)
        return twins

    def compute(self) -> None:
        """Give the pending tensors their values."""
        raise NotImplementedError

    def backward(self, loss: Pending) -> bool:
        """Walk back from a tensor that waits for this without its value, where that can be done."""
        return False

    @contextmanager
    def as_then(self) -> Iterator[None]:
        """Within the block, ops run as when this was asked for, and nothing is deferred."""
        before = state.deferring, state.recording, state.higher_order, lookups.limit, lookups.key
        state.deferring, state.recording, state.higher_order = False, self.recorded, False
        lookups.limit, lookups.key = self.limit, lookups.tape or self.limit
        try:
            yield
        finally:
            state.deferring, state.recording, state.higher_order, *rest = before
            lookups.limit, lookups.key = rest


def fill(tensor: Tensor | None, value: Tensor) -> None:
    """Make a pending tensor what it has been waiting for."""
    if type(tensor) is not Pending:
        return
    _value.__set__(tensor, value._array)
    _node.__set__(tensor, value.node)
    tensor.__class__ = Tensor  # type: ignore[assignment]
    tensor.outline = value.outline
    if tensor.version is None:
        tensor.version = value.version


def waited_for(tensor: Any) -> Deferred | None:
    """What a tensor waits for, if it is pending."""
    return _value.__get__(tensor) if type(tensor) is Pending else None


def joined(op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
    """`op` of inputs some of which are pending: joined to what they wait for, or else run."""
    join = JOINS.get(op)
    if join is not None and state.deferring and not state.higher_order:
        found = join(op, inputs, settings)
        if found is not None:
            return found[0]
    for each in inputs:
        if type(each) is Pending:
            _value.__get__(each).compute()
    return apply(op, inputs, settings)


def _asked(op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
    """How pending tensors have ops applied, unless somebody attends to ops."""
    applier = Tensor.__apply__
    return (joined if applier is apply else applier)(op, inputs, settings)


_asked.ranks = True  # type: ignore[attr-defined]
Pending.__apply__ = staticmethod(_asked)


def before_writing(op: Op, inputs: Sequence[Any]) -> None:
    """Compute what is pending and depends on what `op` is about to write."""
    names = op.inputs * len(inputs) if op.variable else op.inputs
    written = {
        each.version
        for name, each in zip(names, inputs, strict=False)
        if name in op.writes and isinstance(each, Tensor)
    }
    compute_before(written)


def compute_before(written: Collection[Version | None], blind: Deferred | None = None) -> None:
    """Compute what is pending and has an input of these versions, but for `blind`."""
    for weak in [*live]:
        deferred = weak()
        if deferred is not None and deferred is not blind and deferred.depends_on(written):
            deferred.compute()


def settle() -> None:
    """Compute all that this thread has pending: something is written that no op tells of. Others
    may be at work on theirs."""
    thread = get_ident()
    for weak in [*live]:
        deferred = weak()
        if deferred is not None and deferred.thread == thread:
            deferred.compute()
