"""Which of a library's algorithms runs: its first answer or, with AUTOGRAPH_TUNE=1, the fastest.

What was found the fastest is kept in the cache folder, and from then on runs in every process: a
choice by the clock alone would give other bits from run to run. Processes that find it at the same
time keep what the first of them has found.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from ...errors import KernelError
from . import stream
from .compile import cache_folder

_RUNS, _REPEATS = 5, 6  # others may use the device meanwhile


@cache
def tunes() -> bool:
    """Whether algorithms are tried out."""
    return os.environ.get("AUTOGRAPH_TUNE") == "1"


def fastest(key: str, device: int, candidates: Sequence[Callable[[], None]]) -> int:
    """The index of the candidate that was found the fastest for this key, now or before."""
    from cupy.cuda import runtime

    name = runtime.getDeviceProperties(device)["name"].decode()
    digest = hashlib.sha256(f"{name} {len(candidates)} {key}".encode()).hexdigest()[:32]
    entry = cache_folder() / f"choice-{digest}.txt"
    known = _read(entry, len(candidates))
    if known is not None or stream.is_recording(device):
        return known or 0
    times = [_time(each, device) for each in candidates]
    found = times.index(min(times))
    try:
        with entry.open("x") as file:
            file.write(str(found))
    except OSError:  # there by now, or no room
        return _read(entry, len(candidates)) or found
    return found


def _read(entry: Path, count: int) -> int | None:
    try:
        found = int(entry.read_text())
    except (OSError, ValueError):
        return None
    return found if 0 <= found < count else None


def _time(run: Callable[[], None], device: int) -> float:
    """Milliseconds of a few runs; infinite where they fail."""
    from cupy.cuda import Event, get_elapsed_time

    here, times = stream.stream_of(device), []
    try:
        run()
        for _ in range(_REPEATS):
            start, end = Event(), Event()
            start.record(here)
            for _ in range(_RUNS):
                run()
            end.record(here)
            end.synchronize()
            times.append(get_elapsed_time(start, end))
    except (RuntimeError, KernelError):
        return float("inf")
    return min(times)
