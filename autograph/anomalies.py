"""Anomaly mode: the first value that is not finite is an error that names its op and its layer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np

from .attending import Apply, attending
from .device import Device
from .errors import NonFiniteError
from .graph import Node, Outlet
from .layers import Layer
from .layers.hooks import apart
from .op import Op
from .tensor import Tensor


@contextmanager
def anomaly(*, infinities: bool = True) -> Iterator[None]:
    """Within the block, in this thread, what every op answers is looked at, and what every
    gradient rule answers of the graphs that are recorded in it: the first NaN, or infinity,
    raises NonFiniteError. Layers run one by one, not fused. It is slow: use it to find out.

    With `infinities=False` only NaN counts: masks of -inf are meant.

    >>> with anomaly():
    ...     Tensor([1.0, 0.0]).log()
    Traceback (most recent call last):
        ...
    autograph.errors.NonFiniteError: anomaly: log made what is not finite of finite values
      layer  none
      x      f32 (2,) up to 1
      y      f32 (2,) up to 0, 1 not finite
    """
    look = _Look(infinities)
    before, apart.wanted = apart.wanted, True
    try:
        with attending(look.forward):
            yield
    finally:
        apart.wanted = before


class _Look:
    def __init__(self, infinities: bool) -> None:
        self.infinities = infinities

    def is_sound(self, value: Any) -> bool:
        """Whether an array, a tensor or a number has none of what is looked for."""
        if isinstance(value, float):
            return bool(np.isfinite(value) if self.infinities else not np.isnan(value))
        array = _host(value)
        if array is None:
            return True
        return bool((np.isfinite(array) if self.infinities else ~np.isnan(array)).all())

    def forward(
        self, apply: Apply, op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]
    ) -> Any:
        """Run an op, and look at what it answers and writes."""
        names = op.names_of(inputs)
        sound = all(map(self.is_sound, inputs))
        told = {name: _words(each) for name, each in zip(names, inputs, strict=False)}
        results = apply(op, inputs, settings)
        outputs = results if isinstance(results, tuple) else (results,)
        found = dict(zip(op.outputs, outputs, strict=False))
        for name, each in zip(names, inputs, strict=False):
            if name in op.writes:
                found[f"{name} after"] = each
        place = _layer_here()
        if not all(map(self.is_sound, found.values())):
            raise self._error(op.name, sound, place, told | _told(found))
        for each in outputs:
            if isinstance(each, Tensor) and each.node is not None:
                self._attend(each.node, op, place)
        return results

    def _attend(self, node: Node, op: Op, place: str) -> None:
        """Have what the gradient rules of a node answer looked at."""
        node = node.joint if isinstance(node, Outlet) else node
        if node.edges and not isinstance(node.edges[0][1], _Looking):
            node.edges = [
                (targets, _Looking(self, rule, op.name, place), into, values)
                for targets, rule, into, values in node.edges
            ]

    def _error(
        self, name: str, sound: bool, place: str, values: Mapping[str, str]
    ) -> NonFiniteError:
        if self.infinities:
            made = "made what is not finite of finite values"
            given = "was given a value that is not finite"
        else:
            made, given = "made NaN of values that are none", "was given NaN"
        told = {"layer": place or "none", **values}
        width = max(map(len, told))
        lines = [f"  {key:<{width}}  {words}" for key, words in told.items()]
        return NonFiniteError("\n".join([f"anomaly: {name} {made if sound else given}", *lines]))


class _Looking:
    """A gradient rule, and a look at what it answers."""

    def __init__(self, look: _Look, rule: Callable[..., Any], op: str, place: str) -> None:
        self.look, self.rule, self.op, self.place = look, rule, op, place

    def __call__(self, dy: Any, *so_far: Any) -> Any:
        given = dict(enumerate(dy)) if isinstance(dy, list | tuple) else {0: dy}
        sound = all(self.look.is_sound(each) for each in given.values())
        told = {f"dy[{i}]" if len(given) > 1 else "dy": _words(dy) for i, dy in given.items()}
        found = self.rule(dy, *so_far)
        gradients = found if isinstance(found, list | tuple) else [found]
        if not all(map(self.look.is_sound, gradients)):
            several = len(gradients) > 1
            told |= _told({f"dx[{i}]" if several else "dx": dx for i, dx in enumerate(gradients)})
            raise self.look._error(f"the gradient of {self.op}", sound, self.place, told)
        return found


def _told(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: _words(each) for name, each in values.items() if each is not None}


def _words(value: Any) -> str:
    array = _host(value)
    if array is None:
        shape = getattr(value, "shape", None)
        return repr(value) if shape is None else f"{value.dtype} {tuple(shape)}"
    sound = np.abs(array[np.isfinite(array)])
    largest = f" up to {sound.max():.3g}" if sound.size else ""
    wrong = array.size - sound.size
    tail = f", {wrong} not finite" if wrong else ""
    kind = Tensor.borrow(array).scalar_type if not isinstance(value, Tensor) else value.scalar_type
    return f"{kind} {array.shape}{largest}{tail}"


def _host(value: Any) -> Any:
    """The floats of an array or a tensor on any device; None of anything else."""
    array = value.array if isinstance(value, Tensor) else value
    if not hasattr(array, "dtype") or array.dtype.kind in "biu":
        return None
    return Device.of(array).platform.get(array)


_CALL = Layer.__call__.__code__


def _layer_here() -> str:
    """The innermost layer that is being called: LeNet5.conv1."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is _CALL:
            layer = frame.f_locals["self"]
            site = layer.__dict__.get("_site")
            return type(layer).__name__ if site is None else str(site.name)
        frame = frame.f_back
    return ""
