"""Attending: a function of one's own around every op that a thread runs on tensors.

Several threads may attend at the same time, each to its own ops; one may attend within another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .op import APPLIERS, Op
from .tensor import Tensor
from .tensor.state import long_way

Apply = Callable[[Op, Sequence[Any], Mapping[str, Any]], Any]
Attendant = Callable[[Apply, Op, Sequence[Any], Mapping[str, Any]], Any]


class _Stack(threading.local):
    attendants: tuple[Attendant, ...] = ()


_stack = _Stack()
_installing = threading.Lock()
_open = 0  # blocks, of all threads
_eager = 0  # those of them that want each op where it is asked for
_below: Apply = Tensor.__apply__  # what applied ops before the first of them


@contextmanager
def attending(attendant: Attendant, *, defers: bool = False) -> Iterator[None]:
    """Within the block, in this thread, ops on tensors run as `attendant(apply, op, inputs,
    settings)`, which calls `apply(op, inputs, settings)` and answers what that does. What may wait
    until somebody looks is not deferred, unless the attendant `defers`."""
    before = _stack.attendants
    _stack.attendants = (*before, attendant)
    with long_way():
        _opened(1, 0 if defers else 1)
        try:
            yield
        finally:
            _stack.attendants = before
            _opened(-1, 0 if defers else -1)


def _opened(blocks: int, eager: int) -> None:
    """So many blocks more are open: ops go through here while any is."""
    global _open, _eager, _below
    with _installing:
        if not _open:
            _below = Tensor.__apply__
        _open, _eager = _open + blocks, _eager + eager
        _attended.defers = not _eager  # type: ignore[attr-defined]
        Tensor.__apply__ = staticmethod(_attended if _open else _below)  # type: ignore[arg-type]
        APPLIERS.clear()


def _attended(op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
    attendants = _stack.attendants
    if not attendants:
        return _below(op, inputs, settings)
    *others, last = attendants
    if not others:
        return last(_below, op, inputs, settings)

    def inner(op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
        before, _stack.attendants = _stack.attendants, tuple(others)
        try:
            return _attended(op, inputs, settings)
        finally:
            _stack.attendants = before

    return last(inner, op, inputs, settings)
