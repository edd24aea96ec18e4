"""Where the first value that is not finite comes from: ops watched while a step runs again."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..device import Device
from ..errors import DeviceError
from ..layers import Layer
from ..op import Op
from ..plan import Plan

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
    """The op that made a value that is not finite of finite ones, and the layer it ran for."""

    op: str
    layer: str
    inputs: dict[str, str] = field(default_factory=dict)  # what each input was like

    def __str__(self) -> str:
        lines = [f"op     {self.op}", f"layer  {self.layer or 'none'}"]
        return "\n".join([*lines, *(f"{name:<7}{words}" for name, words in self.inputs.items())])


@contextmanager
def examined(model: Layer) -> Iterator[list[Finding]]:
    """Within the block, in this thread, the outputs of every op are looked at. The list gets the
    first op whose inputs are finite and an output is not, or else the first whose input is not
    finite and was made by no op."""
    watch = _Watch(model)
    with _patching:
        plan, call = Op.plan, Layer.__call__
        try:
            Op.plan = watch.around(plan)  # type: ignore[method-assign]
            Layer.__call__ = watch.entering(call)  # type: ignore[method-assign]
            yield watch.found
        finally:
            Op.plan, Layer.__call__ = plan, call  # type: ignore[method-assign]
    if not watch.found:
        watch.found += watch.given[:1]


class _Watch:
    def __init__(self, model: Layer) -> None:
        self.thread, self.planning = threading.get_ident(), False
        self.found: list[Finding] = []
        self.given: list[Finding] = []
        self.stack: list[str] = []
        self.kept: list[Any] = []  # arrays whose ids are keys below
        self.layers: dict[int, str] = {}
        for path, each in model.named_parameters().items():
            self._mark(each.array, path.rpartition(".")[0])

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

    def around(self, plan: Any) -> Any:
        """`Op.plan`, answering plans whose kernels are looked at."""

        def planned(op: Op, given: Any, settings: Any) -> Plan:
            if threading.get_ident() != self.thread or self.planning:
                made: Plan = plan(op, given, settings)
                return made
            self.planning = True  # what an op plans for itself it also keeps
            try:
                watched = copy(plan(op, given, settings))
            finally:
                self.planning = False
            watched.kernel = self._looking(op, watched.settings, watched.kernel)
            return watched

        return planned

    def _looking(self, op: Op, settings: Mapping[str, Any], kernel: Any) -> Any:
        """The kernel, and a look at what goes in and comes out."""

        def looked(*arrays: Any) -> Any:
            if self.found:
                return kernel(*arrays)
            numbers = [each for each in settings.values() if isinstance(each, float)]
            unsound = [i for i, each in enumerate(arrays) if not is_finite(each)]
            before = dict(zip(op.names_of(arrays), map(_words, arrays), strict=False))
            results = kernel(*arrays)
            layer = self._layer_of(arrays)
            outputs = results if isinstance(results, tuple | list) else (results,)
            pairs = zip(arrays, before, strict=False)
            written = [each for each, name in pairs if name in op.writes]
            if unsound or not all(map(is_finite, numbers)):
                if any(id(arrays[i]) not in self.layers for i in unsound):
                    self.given.append(Finding(op.name, layer, before))
            elif not all(map(is_finite, [*outputs, *written])):
                self.found.append(Finding(op.name, layer, before))
            for each in [*arrays, *outputs]:
                self._mark(each, layer)
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


def first_unsound(tensors: Mapping[str, Any]) -> str | None:
    """The path of the first tensor with a value that is not finite."""
    return next((path for path, each in tensors.items() if not is_finite(each.array)), None)
