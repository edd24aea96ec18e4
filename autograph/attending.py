"""Attending: a function of one's own around every op that a thread runs on tensors.

Several threads may attend at the same time, each to its own ops; one may attend within another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from . import op as op_module
from .op import Op
from .tensor import Tensor

Apply = Callable[[Op, Sequence[Any], Mapping[str, Any]], Any]
Attendant = Callable[[Apply, Op, Sequence[Any], Mapping[str, Any]], Any]


class _Stack(threading.local):
    attendants: tuple[Attendant, ...] = ()


_stack = _Stack()
_installing = threading.Lock()
_within = 0  # blocks that are open, of all threads
_below: Apply = Tensor.__apply__  # what applied ops before the first of them


@contextmanager
def attending(attendant: Attendant) -> Iterator[None]:
    """Within the block, in this thread, ops on tensors run as `attendant(apply, op, inputs,
    settings)`, which calls `apply(op, inputs, settings)` and answers what that does."""
    global _within, _below
    with _installing:
        if not _within:
            _below = Tensor.__apply__
            Tensor.__apply__ = staticmethod(_attended)
            op_module._APPLIERS.clear()
        _within += 1
    before = _stack.attendants
    _stack.attendants = (*before, attendant)
    try:
        yield
    finally:
        _stack.attendants = before
        with _installing:
            _within -= 1
            if not _within:
                Tensor.__apply__ = staticmethod(_below)  # type: ignore[arg-type]
                op_module._APPLIERS.clear()


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
