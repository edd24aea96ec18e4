"""One stream for each device, memory of its own for a recording, and events.

Everything that autograph asks of a device goes through one non-blocking stream, so launches are
in order without waiting, whatever thread makes them. The default stream of CUDA is never used:
it would not be ordered with ours.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import get_ident
from typing import Any

from .graph import Counters, Graph


class _Here(threading.local):
    device: int | None = None  # the device that was entered last by this thread
    stream: Any = None  # and its stream


_here = _Here()
_recording: dict[int, int] = {}  # devices whose stream records, and the thread that asked
_counters: dict[int, Counters] = {}  # of these recordings
_finished = threading.Condition()


def _ask_first() -> int:
    global current_device, current_stream
    from cupy.cuda.device import get_device_id
    from cupy.cuda.stream import get_current_stream

    current_device, current_stream = get_device_id, get_current_stream
    return get_device_id()


current_device: Callable[[], int] = _ask_first  # the index of this thread's device
current_stream: Callable[[], Any] = lambda: None  # noqa: E731 its stream there


@cache
def stream_of(device: int) -> Any:
    """The stream of a device, a cupy.cuda.Stream."""
    from cupy.cuda import Device, Stream

    with Device(device):
        return Stream(non_blocking=True)


def enter(device: int) -> None:
    """Make a device and its stream those of this thread, also for the caller's own CuPy code.

    What the thread has asked of another stream until now is done before.
    """
    if _recording and _recording.get(device, get_ident()) != get_ident():
        with _finished:  # what this thread asks would be recorded by the other one
            _finished.wait_for(lambda: _recording.get(device, get_ident()) == get_ident())
    if _here.device == device == current_device() and current_stream() is _here.stream:
        return
    from cupy.cuda import Device, get_current_stream

    Device(device).use()
    stream, before = stream_of(device), get_current_stream()
    if before.ptr != stream.ptr:
        follow(device, before)
    stream.use()
    _here.device, _here.stream = device, stream


def follow(device: int, other: Any) -> None:
    """Let the stream of a device wait for what another one of it was asked until now."""
    from cupy.cuda import Device, Event

    with Device(device):
        stream_of(device).wait_event(_marked(Event, other))


def wait_for(device: int, other: int) -> None:
    """Let the stream of one device wait for what another device was asked until now."""
    from cupy.cuda import Device, Event

    with Device(other):
        event = _marked(Event, stream_of(other))
    with Device(device):
        stream_of(device).wait_event(event)


def _marked(event_class: Any, stream: Any) -> Any:
    event = event_class(block=False, disable_timing=True)
    event.record(stream)
    return event


def is_recording(device: int) -> bool:
    """Whether what a device is asked is written down instead of done."""
    return device in _recording


def counter(device: int, size: int) -> int | None:
    """The address of a workspace of so few bytes that it only holds a counter, while a recording is
    made, of which nothing else uses it; see `graph`."""
    counters = _counters.get(device)
    return None if counters is None else counters.take(size)


@contextmanager
def recording(device: int) -> Iterator[list[Graph]]:
    """Within the block, what this thread asks of a device is recorded; the list then holds the
    graph. Other threads wait. Where the block fails, the stream works again as before.
    """
    from cupy.cuda import runtime

    enter(device)
    stream: Any = stream_of(device)
    graphs: list[Graph] = []
    counters = Counters()
    stream.begin_capture()
    _recording[device], _counters[device] = get_ident(), counters
    failed = True
    try:
        yield graphs
        failed = False
    finally:
        try:
            graphs.append(Graph(runtime.streamEndCapture(stream.ptr), counters))
        except Exception:
            if not failed:
                raise
        finally:
            with _finished:
                del _recording[device], _counters[device]
                _finished.notify_all()


class PrivateMemory:
    """Memory that nobody else may reuse: what a recording's launches write stays theirs.

    Keep it, and the arrays made in it, for as long as the recording is replayed.
    """

    def __init__(self) -> None:
        from cupy.cuda import MemoryPool

        self.pool = MemoryPool()

    @contextmanager
    def use(self) -> Iterator[None]:
        """Within the block, arrays that this thread makes lie in this memory."""
        from cupy.cuda import using_allocator

        with using_allocator(self.pool.malloc):
            yield

    def nbytes(self) -> int:
        """How much it holds."""
        return int(self.pool.total_bytes())
