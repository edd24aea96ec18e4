"""What this thread records: on, off, or so that gradients can be differentiated again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class State(threading.local):
    """The flags of one thread."""

    recording = True
    training: bool | None = None  # what `training(...)` says; None where it says nothing
    higher_order = False
    deferring = True  # whether what can wait until somebody looks does
    walk: Any = None  # whose gradients are being made, pending (`chained`)


state = State()
plain: set[type] = set()  # of tensors whose ops go the short way
_kinds: set[type] = set()
_special = 0  # blocks that are open, of all threads
_changing = threading.Lock()


def goes_short(*kinds: type) -> None:
    """Have ops on tensors of these types go the short way, except within `long_way`."""
    _kinds.update(kinds)
    plain.update(kinds)


@contextmanager
def long_way() -> Iterator[None]:
    """Within the block no op of any thread goes the short way, which asks nobody."""
    global _special
    with _changing:
        _special += 1
        plain.clear()
    try:
        yield
    finally:
        with _changing:
            _special -= 1
            if not _special:
                plain.update(_kinds)


@contextmanager
def no_grad() -> Iterator[None]:
    """Within the block, in this thread, ops record no graph, and layers infer.

    >>> with no_grad():
    ...     is_recording()
    False
    """
    before = state.recording
    state.recording = False
    try:
        yield
    finally:
        state.recording = before


@contextmanager
def enable_grad() -> Iterator[None]:
    """Within the block, in this thread, ops record, also inside `no_grad`."""
    before = state.recording
    state.recording = True
    try:
        yield
    finally:
        state.recording = before


@contextmanager
def training(mode: bool = True) -> Iterator[None]:
    """Within the block, in this thread, layers train (or infer), whether recording or not."""
    before = state.training
    state.training = mode
    try:
        yield
    finally:
        state.training = before


@contextmanager
def higher_order() -> Iterator[None]:
    """Within the block, in this thread, graphs are recorded so that gradients taken in it
    (by `grad` or `backward`) can be differentiated again. It is asked for before the forward.

    >>> with higher_order():
    ...     x = Tensor(3.0, requires_grad=True)
    ...     (slope,) = grad(x * x * x, [x])
    ...     (curvature,) = grad(slope, [x])
    >>> slope.item(), curvature.item()
    (27.0, 18.0)
    """
    before = state.higher_order
    state.higher_order = True
    try:
        with long_way():
            yield
    finally:
        state.higher_order = before


def is_recording() -> bool:
    """Whether ops on this thread record."""
    return state.recording


def is_training() -> bool:
    """Whether layers on this thread train: what `training` says, else whether ops record."""
    return state.recording if state.training is None else state.training
