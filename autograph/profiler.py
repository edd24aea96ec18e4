"""Profiler: where time goes, by op and by layer, on the host and on devices.

Nothing is measured, and nothing costs anything, outside of `profile`: it puts itself in the way of
ops and layers when it begins, and out of it when it ends. A device is never waited for within: its
times are those between marks in its stream, read when the profile has ended.
"""

from __future__ import annotations

import copy
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from .device import Device
from .errors import SettingsError
from .layers import Layer, hooks
from .op import REGISTRY, Op
from .outline import Outline
from .plan import Plan
from .tensor import staircase

BACKWARD = "backward"
# By the kind of a device, the module with `mark(index)` and `seconds(mark, mark)`.
MARKS = {"cuda": "autograph.backends.cuda.events"}
_running = threading.Lock()


class Span(NamedTuple):
    """When something ran, in seconds since the profile began."""

    start: float
    seconds: float  # with the ops that it called itself
    own: float  # without


class Event(NamedTuple):
    """One run of an op's kernel."""

    op: str
    path: str  # of the layer; "" outside of any
    host: Span  # of the call; on a device, what asking it took
    device: Span | None  # what the device took; None where the host computed
    place: str  # "host" or "cuda:0"
    bytes: int  # of its inputs and outputs
    thread: int
    is_backward: bool

    @property
    def own(self) -> float:
        """Seconds where it was computed, without those of ops that it called."""
        return self.host.own if self.device is None else self.device.own


class Line(NamedTuple):
    """What runs of one kind came to."""

    calls: int
    seconds: float  # their own, where they were computed
    host: float  # of these on the host; of runs on a device, what asking took
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
        """Both, as text: milliseconds where each was computed, and those of the host beside them
        where a device computed."""
        measured = sum(each.own for each in self.events)
        devices = sorted({each.place for each in self.events if each.device is not None})
        where = f" on {', '.join(devices)}" if devices else ""
        pieces = [
            f"{len(self.events)} kernels ran for {measured * 1e3:.2f} ms{where}; "
            f"the block took {self.seconds * 1e3:.2f} ms"
        ]
        beside = f" {'host ms':>10}" if devices else ""
        for title, lines in (("op", self.by_op()), ("layer", self.by_layer())):
            width = max(map(len, [*lines, title]), default=0)
            pieces.append(
                f"\n{title:<{width}}  {'calls':>7} {'ms':>10} {'share':>6}{beside} {'MB':>9}"
            )
            for name, line in list(lines.items())[:rows]:
                share = line.seconds / measured if measured else 0.0
                host = f" {line.host * 1e3:>10.3f}" if devices else ""
                pieces.append(
                    f"{name:<{width}}  {line.calls:>7} {line.seconds * 1e3:>10.3f} "
                    f"{share:>6.1%}{host} {line.bytes / 1e6:>9.2f}"
                )
        return "\n".join(pieces)

    def __str__(self) -> str:
        return self.table()

    def save_trace(self, path: str | Path) -> None:
        """Write the events in Chrome's format, for chrome://tracing, ui.perfetto.dev or
        speedscope.app: a row for each thread of the host and for each device."""
        process = os.getpid()
        places = {"host": process}
        told: list[dict[str, Any]] = []
        for each in self.events:
            for place, span in (("host", each.host), (each.place, each.device)):
                if span is not None:
                    told.append(
                        {
                            "name": each.op,
                            "cat": BACKWARD if each.is_backward else "forward",
                            "ph": "X",
                            "ts": span.start * 1e6,
                            "dur": span.seconds * 1e6,
                            "pid": places.setdefault(place, process + len(places)),
                            "tid": each.thread if place == "host" else 0,
                            "args": {"layer": each.path, "bytes": each.bytes},
                        }
                    )
        names: list[dict[str, Any]] = [
            {"name": "process_name", "ph": "M", "pid": number, "args": {"name": place}}
            for place, number in places.items()
        ]
        document = {"traceEvents": names + told, "displayTimeUnit": "ms"}
        Path(path).write_text(json.dumps(document), "utf-8")

    def _lines(self, key: Callable[[Event], str]) -> dict[str, Line]:
        found: dict[str, Line] = {}
        for each in self.events:
            calls, seconds, host, size = found.get(key(each), Line(0, 0.0, 0.0, 0))
            line = calls + 1, seconds + each.own, host + each.host.own, size + each.bytes
            found[key(each)] = Line(*line)
        return dict(sorted(found.items(), key=lambda item: -item[1].seconds))


@contextmanager
def profile(*, apart: bool = False) -> Iterator[Profile]:
    """Within the block, every kernel that runs is timed, on every thread.

    Layers that run together as one op are told as one; `apart`, each runs by itself, which takes
    longer and tells more.

    On a device nothing is waited for: its times come from marks in its stream, and are there when
    the block has ended. Steps that a recording replays are not seen, since their ops are not
    called.

        with profile() as p:
            step()
        print(p.table())
    """
    if not _running.acquire(blocking=False):
        raise SettingsError("profile: there is one already\n  end it first; there is one at a time")
    found, begin = Profile(), perf_counter()
    streams = _Streams(begin)
    restore = _install(_Timer(found, begin, streams))
    together, hooks.apart.wanted = hooks.apart.wanted, apart or hooks.apart.wanted
    try:
        yield found
    finally:
        restore()
        hooks.apart.wanted = together
        found.seconds = perf_counter() - begin
        streams.settle(found)
        _running.release()


class _Streams:
    """Marks in the streams of devices, by the events that they will say the times of."""

    def __init__(self, begin: float) -> None:
        self.begin = begin
        self._first: dict[Device, tuple[Any, float]] = {}  # a mark and when it was made
        self._marked: list[tuple[int, Device, Any, Any, int]] = []

    def mark(self, device: Device) -> Any:
        """A mark; None where the device has none, or only records."""
        name = MARKS.get(device.kind)
        if name is None:
            return None
        marks: Any = import_module(name)
        if device not in self._first:
            device.synchronize()
            first = marks.mark(device.index)
            if first is None:
                return None
            self._first[device] = first, perf_counter() - self.begin
        return marks.mark(device.index)

    def keep(self, place: int, device: Device, start: Any, end: Any, depth: int) -> None:
        """The event at a place of the list ran between two marks, inside of so many others."""
        if start is not None and end is not None:
            self._marked.append((place, device, start, end, depth))

    def settle(self, found: Profile) -> None:
        """Give the events their times on devices, once these are done."""
        inner: dict[tuple[Device, int, int], float] = {}  # of what ended inside, by thread, depth
        for place, device, start, end, depth in self._marked:
            event, seconds_of = found.events[place], import_module(MARKS[device.kind]).seconds
            first, offset = self._first[device]
            seconds = seconds_of(start, end)
            own = max(seconds - inner.pop((device, event.thread, depth + 1), 0.0), 0.0)
            here = device, event.thread, depth
            inner[here] = inner.get(here, 0.0) + seconds
            span = Span(offset + seconds_of(first, start), seconds, own)
            found.events[place] = event._replace(device=span)


class _Timer(threading.local):
    """What one thread is in the middle of."""

    def __init__(self, found: Profile, begin: float, streams: _Streams) -> None:
        self.found, self.begin, self.streams = found, begin, streams
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
            before = None if device is None else self.streams.mark(device)
            depth = len(self.inner) - 1
            self.inner.append(0.0)
            start = perf_counter()
            try:
                return kernel(*arrays)
            finally:
                seconds = perf_counter() - start
                own = seconds - self.inner.pop()
                self.inner[-1] += seconds
                event = Event(
                    op,
                    self.paths[-1],
                    Span(start - self.begin, seconds, own),
                    None,
                    "host" if device is None else str(device),
                    size,
                    threading.get_ident(),
                    bool(self.backward),
                )
                with _adding:
                    self.found.events.append(event)
                    place = len(self.found.events) - 1
                    if device is not None:
                        after = self.streams.mark(device)
                        self.streams.keep(place, device, before, after, depth)

        return run


_adding = threading.Lock()  # an event and its place in the list are one


class _TimedPlans(dict[Any, Plan]):
    """Stands for the plans of an op: those that are looked up are timed, those kept are not."""

    def __init__(self, plans: dict[Any, Plan], twin: Callable[[Plan], Plan]) -> None:
        super().__init__()
        self.plans, self.twin = plans, twin

    def get(self, key: Any, default: Any = None) -> Any:
        found = self.plans.get(key)
        return default if found is None else self.twin(found)

    def __setitem__(self, key: Any, plan: Plan) -> None:
        self.plans[key] = plan

    def __len__(self) -> int:
        return len(self.plans)

    def clear(self) -> None:
        self.plans.clear()


def _install(timer: _Timer) -> Callable[[], None]:
    """Put the timer in the way of ops, layers and recorded rules; answers how to take it away."""
    planned, call, record = Op._planned, Layer.__call__, staircase._record
    twins: dict[int, tuple[Plan, Plan]] = {}  # the plan, which must stay, and its timed twin

    def plan(self: Op, key: Any, given: Any, settings: Any) -> Plan:
        """A plan that was not kept yet, timed where it is asked for, not where it is kept."""
        if timer.planning:
            return planned(self, key, given, settings)
        timer.planning = True
        try:
            found = planned(self, key, given, settings)
        finally:
            timer.planning = False
        return twin_of(self, found)

    def twin_of(op: Op, found: Plan) -> Plan:
        if timer.planning:
            return found
        if id(found) not in twins:
            twin = copy.copy(found)
            twin.recipes = {}  # those that were made before hold kernels that are not timed
            twin.kernel = timer.timed(op.name, found.kernel, [*found.inputs, *found.outputs])
            twins[id(found)] = found, twin
        return twins[id(found)][1]

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

    Op._planned, Layer.__call__ = plan, called  # type: ignore[method-assign]
    staircase._record = recorded
    timed = list(REGISTRY.values())
    for each in timed:
        each.plans = _TimedPlans(each.plans, partial(twin_of, each))

    def restore() -> None:
        Op._planned, Layer.__call__ = planned, call  # type: ignore[method-assign]
        staircase._record = record
        for each in timed:
            if isinstance(each.plans, _TimedPlans):
                each.plans = each.plans.plans

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
