"""Where the first value that is not finite comes from: ops watched while a step runs again."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backends.backend import taped
from ..device import Device
from ..errors import DeviceError
from ..layers import Layer
from ..layers.hooks import apart
from ..op import Op
from ..plan import Plan
from ..tensor.state import state

_patching = threading.Lock()


def is_finite(value: Any) -> bool:
    """Whether an array on any device, or a number, has no NaN and no infinity."""
    if isinstance(value, float):
        return bool(np.isfinite(value))
    if not hasattr(value, "dtype") or value.dtype.kind in "biu":
        return True
    try:
        host = Device.of(value).platform.get(value)
    except DeviceError:
        return True
    return bool(np.isfinite(host).all())


@dataclass
class Finding:
    """An op that made a value that is not finite of finite ones, or was given one that no op
    made, and the layer it ran for."""

    op: str
    layer: str
    inputs: dict[str, str] = field(default_factory=dict)  # what each input was like

    def __str__(self) -> str:
        lines = [f"op     {self.op}", f"layer  {self.layer or 'none'}"]
        return "\n".join([*lines, *(f"{name:<7}{words}" for name, words in self.inputs.items())])


@contextmanager
def examined(model: Layer, *, one_by_one: bool = False) -> Iterator[Origins]:
    """Within the block, in this thread, the outputs of every op are looked at: where the values
    that are not finite come from. Layers run as they train, or one by one, which tells more."""
    watch = Origins(model)
    with _patching:
        call, fused, deferring = Layer.__call__, apart.wanted, state.deferring
        try:
            Layer.__call__ = watch.entering(call)  # type: ignore[method-assign]
            if one_by_one:
                apart.wanted, state.deferring = True, False
            with taped(watch):
                yield watch
        finally:
            apart.wanted, state.deferring = fused, deferring
            Layer.__call__ = call  # type: ignore[method-assign]


class Origins:
    """What was seen of the values that are not finite."""

    def __init__(self, model: Layer) -> None:
        self.thread = threading.get_ident()
        self.origins: dict[int, Finding] = {}  # of arrays that are not finite
        self.stack: list[str] = []
        self.kept: list[Any] = []  # arrays whose ids are keys here
        self.layers: dict[int, str] = {}
        for path, each in model.named_parameters().items():
            self._mark(each.array, path.rpartition(".")[0])

    def of(self, array: Any) -> Finding | None:
        """Where what is wrong with an array began."""
        return self.origins.get(id(array))

    def _mark(self, array: Any, layer: str) -> None:
        if hasattr(array, "shape") and id(array) not in self.layers:
            self.layers[id(array)] = layer
            self.kept.append(array)

    def entering(self, call: Any) -> Any:
        """`Layer.__call__`, the layer's path on the stack meanwhile."""

        def entered(layer: Layer, *inputs: Any, **settings: Any) -> Any:
            if threading.get_ident() != self.thread:
                return call(layer, *inputs, **settings)
            site = layer.__dict__.get("_site")
            self.stack.append(site.path if site is not None else type(layer).__name__)
            try:
                return call(layer, *inputs, **settings)
            finally:
                self.stack.pop()

        return entered

    def plan(self, op: Op, given: Any, settings: Any) -> Plan:
        """The plan of an op, its kernel looked at."""
        with taped(None):  # which keeps what it plans
            watched = copy(op.plan(given, settings))
        watched.kernel = self._looking(op, settings, watched.kernel)
        return watched

    def _looking(self, op: Op, settings: Mapping[str, Any], kernel: Any) -> Any:
        """The kernel, and a look at what goes in and comes out."""

        def looked(*arrays: Any) -> Any:
            unsound = [each for each in arrays if not is_finite(each)]
            numbers = [each for each in settings.values() if isinstance(each, float)]
            before = dict(zip(op.names_of(arrays), map(_words, arrays), strict=False))
            with taped(None):
                results = kernel(*arrays)
            layer = self._layer_of(arrays)
            outputs = results if isinstance(results, tuple | list) else (results,)
            written = [
                each for each, name in zip(arrays, before, strict=False) if name in op.writes
            ]
            for each in [*arrays, *outputs]:
                self._mark(each, layer)
            origin = next((self.of(each) for each in unsound if self.of(each)), None)
            if origin is None and (unsound or all(map(is_finite, numbers))):
                origin = Finding(op.name, layer, before)
            for each in [*outputs, *written]:
                if is_finite(each):
                    self.origins.pop(id(each), None)
                elif origin is not None:
                    self.origins.setdefault(id(each), origin)
            return results

        return looked

    def _layer_of(self, arrays: Sequence[Any]) -> str:
        """By a parameter among the inputs, the layer that is running, or what made an input."""
        known = [self.layers[id(each)] for each in arrays if id(each) in self.layers]
        return next((each for each in known if each), self.stack[-1] if self.stack else "")


def _words(value: Any) -> str:
    if not hasattr(value, "shape"):
        return repr(value)
    if value.dtype.kind in "biu":
        return f"{value.dtype} {tuple(value.shape)}"
    host = np.asarray(Device.of(value).platform.get(value), np.float64)
    sound = host[np.isfinite(host)]
    largest = f"largest {np.abs(sound).max():.3g}" if sound.size else "nothing finite"
    wrong = host.size - sound.size
    return f"{value.dtype} {tuple(value.shape)} {largest}" + (
        f", {wrong} not finite" if wrong else ""
    )
