"""Profiler: where time goes, by op and by layer.

Nothing is measured, and nothing costs anything, outside of `profile`: it puts itself in the way of
ops and layers when it begins, and out of it when it ends.
"""

from __future__ import annotations

import copy
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from .errors import SettingsError
from .layers import Layer
from .op import Op
from .outline import Outline
from .tensor import staircase

BACKWARD = "backward"
_running = threading.Lock()


class Event(NamedTuple):
    """One run of an op's kernel."""

    op: str
    path: str  # of the layer; "" outside of any
    start: float  # seconds since the profile began
    seconds: float  # with the ops that it called itself
    own: float  # without
    bytes: int  # of its inputs and outputs
    thread: int
    is_backward: bool


@dataclass(frozen=True)
class Line:
    """What runs of one kind came to."""

    calls: int
    seconds: float  # their own
    bytes: int


@dataclass
class Profile:
    """What was measured."""

    events: list[Event] = field(default_factory=list)
    seconds: float = 0.0  # that the block took

    def by_op(self) -> dict[str, Line]:
        """By op, the longest first."""
        return self._lines(lambda event: event.op)

    def by_layer(self) -> dict[str, Line]:
        """By layer path, the longest first; the way back as `backward of PATH`."""

        def name(event: Event) -> str:
            path = event.path or "(no layer)"
            return f"{BACKWARD} of {path}" if event.is_backward else path

        return self._lines(name)

    def table(self, rows: int = 20) -> str:
        """Both, as text."""
        measured = sum(each.own for each in self.events)
        pieces = [
            f"{len(self.events)} kernels ran for {measured * 1e3:.2f} ms "
            f"of {self.seconds * 1e3:.2f} ms"
        ]
        for title, lines in (("op", self.by_op()), ("layer", self.by_layer())):
            width = max(map(len, [*lines, title]), default=0)
            pieces.append(f"\n{title:<{width}}  {'calls':>7} {'ms':>10} {'share':>6} {'MB':>9}")
            for name, line in list(lines.items())[:rows]:
                share = line.seconds / measured if measured else 0.0
                pieces.append(
                    f"{name:<{width}}  {line.calls:>7} {line.seconds * 1e3:>10.3f} "
                    f"{share:>6.1%} {line.bytes / 1e6:>9.2f}"
                )
        return "\n".join(pieces)

    def save_trace(self, path: str | Path) -> None:
        """Write the events in Chrome's format, for chrome://tracing or ui.perfetto.dev."""
        told = [
            {
                "name": each.op,
                "cat": BACKWARD if each.is_backward else "forward",
                "ph": "X",
                "ts": each.start * 1e6,
                "dur": each.seconds * 1e6,
                "pid": os.getpid(),
                "tid": each.thread,
                "args": {"layer": each.path, "bytes": each.bytes},
            }
            for each in self.events
        ]
        document = {"traceEvents": told, "displayTimeUnit": "ms"}
        Path(path).write_text(json.dumps(document))

    def _lines(self, key: Callable[[Event], str]) -> dict[str, Line]:
        sums: dict[str, list[float]] = {}
        for each in self.events:
            total = sums.setdefault(key(each), [0, 0.0, 0])
            total[0] += 1
            total[1] += each.own
            total[2] += each.bytes
        ordered = sorted(sums.items(), key=lambda item: -item[1][1])
        return {name: Line(int(n), seconds, int(size)) for name, (n, seconds, size) in ordered}


@contextmanager
def profile() -> Iterator[Profile]:
    """Within the block, every kernel that runs is timed, on every thread.

    On a device each is waited for, so that times are the device's and the host's together; steps
    that a recording replays are not seen, since their ops are not called.

        with profile() as p:
            step()
        print(p.table())
    """
    if not _running.acquire(blocking=False):
        raise SettingsError("profile: there is one already\n  end it first; there is one at a time")
    found, begin = Profile(), perf_counter()
    restore = _install(_Timer(found, begin))
    try:
        yield found
    finally:
        restore()
        found.seconds = perf_counter() - begin
        _running.release()


class _Timer(threading.local):
    """What one thread is in the middle of."""

    def __init__(self, found: Profile, begin: float) -> None:
        self.found, self.begin = found, begin
        self.paths: list[str] = [""]
        self.inner: list[float] = [0.0]  # seconds in ops that the ops under way called
        self.backward = 0
        self.planning = False

    def timed(self, op: str, kernel: Callable[..., Any], outlines: Sequence[Any]) -> Any:
        """The kernel, measured."""
        known = [each for each in outlines if isinstance(each, Outline)]
        size = sum(each.nbytes for each in known)
        device = next((each.device for each in known if not each.device.is_host), None)

        def run(*arrays: Any) -> Any:
            if device is not None:
                device.synchronize()
            self.inner.append(0.0)
            start = perf_counter()
            try:
                return kernel(*arrays)
            finally:
                if device is not None:
                    device.synchronize()
                seconds = perf_counter() - start
                own = seconds - self.inner.pop()
                self.inner[-1] += seconds
                event = Event(
                    op,
                    self.paths[-1],
                    start - self.begin,
                    seconds,
                    own,
                    size,
                    threading.get_ident(),
                    bool(self.backward),
                )
                self.found.events.append(event)

        return run


def _install(timer: _Timer) -> Callable[[], None]:
    """Put the timer in the way of ops, layers and recorded rules; answers how to take it away."""
    plan_of, call, record = Op.plan, Layer.__call__, staircase._record
    plans: dict[int, tuple[Any, Any]] = {}  # the plan, which must stay, and its timed twin

    def plan(self: Op, given: Any, settings: Any) -> Any:
        if timer.planning:
            return plan_of(self, given, settings)
        timer.planning = True
        try:
            found = plan_of(self, given, settings)
        finally:
            timer.planning = False
        if id(found) not in plans:
            twin = copy.copy(found)
            twin.kernel = timer.timed(self.name, found.kernel, [*found.inputs, *found.outputs])
            plans[id(found)] = found, twin
        return plans[id(found)][1]

    def called(self: Layer, *inputs: Any, **settings: Any) -> Any:
        site = self.__dict__.get("_site")
        timer.paths.append((site.path or type(self).__name__) if site else type(self).__name__)
        try:
            return call(self, *inputs, **settings)
        finally:
            timer.paths.pop()

    def recorded(op: Any, plan: Any, inputs: Any, nodes: Any, arrays: Any, own: Any, saved: Any,
                 tensors: Any) -> None:  # fmt: skip
        record(op, plan, inputs, nodes, arrays, own, saved, tensors)
        edges = getattr(tensors[0].node, "edges", None)
        if isinstance(edges, list):
            edges[:] = [(to, _placed(timer, rule), *rest) for to, rule, *rest in edges]

    Op.plan, Layer.__call__ = plan, called  # type: ignore[method-assign]
    staircase._record = recorded

    def restore() -> None:
        Op.plan, Layer.__call__ = plan_of, call  # type: ignore[method-assign]
        staircase._record = record

    return restore


def _placed(timer: _Timer, rule: Callable[..., Any]) -> Callable[..., Any]:
    """A gradient rule that says, when it runs, of which layer it is."""
    path = timer.paths[-1]

    def run(*gradients: Any) -> Any:
        timer.paths.append(path)
        timer.backward += 1
        try:
            return rule(*gradients)
        finally:
            timer.backward -= 1
            timer.paths.pop()

    return run
