"""Events: marks in the stream of a device, and the time that lay between two of them there."""

from __future__ import annotations

from typing import Any

from .stream import enter, is_recording, stream_of


def mark(device: int) -> Any:
    """A mark behind all that the device was asked until now, which waits for nothing; None while
    the stream is recorded, when nothing runs."""
    if is_recording(device):
        return None
    from cupy.cuda import Event

    enter(device)
    event = Event()
    event.record(stream_of(device))
    return event


def seconds(start: Any, end: Any) -> float:
    """What the device took from one mark to the other; waits until it has come there."""
    from cupy.cuda import get_elapsed_time

    end.synchronize()
    return float(get_elapsed_time(start, end)) / 1e3
