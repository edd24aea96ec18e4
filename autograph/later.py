"""Gradients that wait: those of large weights, which an optimizer may never ask for written down.

A walk that leads to leaves alone lets them wait; whatever else meets one has it computed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class _Here(threading.local):
    waits = False  # whether the walk under way lets gradients wait


here = _Here()


class Later:
    """x^T dy, the gradient of a weight (I, O), not computed yet; x (N, I) and dy (N, O), which
    nobody else knows."""

    __slots__ = ("dy", "kept", "product", "x")

    def __init__(self, product: Callable[[Any, Any], Any], x: Any, dy: Any) -> None:
        self.product, self.x, self.dy = product, x, dy
        self.kept: Sequence[Any] = ()  # by the node whose rule has answered this, as `graph.Kept`

    def now(self) -> Any:
        """The gradient."""
        return self.product(self.x, self.dy)

    @staticmethod
    def __apply__(op: Any, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
        """An op of it is one of what it computes."""
        return op(*map(computed, inputs), **settings)

    __apply_rank__ = 0


def may_wait(x: Any, dy: Any) -> bool:
    """Whether the walk lets x^T dy wait, which then holds on to no more than twice its own size."""
    return here.waits and 2 * x.shape[1] * dy.shape[1] >= x.size + dy.size


def at_once(function: Callable[..., Any], *given: Any, **settings: Any) -> Any:
    """What a function of somebody else answers: in it nothing waits."""
    before, here.waits = here.waits, False
    try:
        return function(*given, **settings)
    finally:
        here.waits = before


def computed(value: Any) -> Any:
    """What waits, computed; all else as it is."""
    return value.now() if type(value) is Later else value
