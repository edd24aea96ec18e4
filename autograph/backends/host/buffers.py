"""Memory for outputs that is used again: what a training step frees, the next step gets without
page faults."""

from __future__ import annotations

import os
import threading
from math import prod
from typing import Any

import numpy as np

SMALL = 512 << 10  # bytes; below, the system reuses memory as well
LIMIT = 1 << 30  # bytes kept for later; more go back to the system

_free: dict[int, list[tuple[bytearray, int]]] = {}
_kept = 0
_lock = threading.RLock()  # an array may die, and take it again, while its thread holds it

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


class _Lease(np.ndarray):
    """Kept memory while arrays lie over it; given back when the last of them is gone."""

    __slots__ = ("start",)

    def __del__(self) -> None:
        global _kept
        memory = self.base  # a bytearray: views of a view of an array would forget the lease
        if isinstance(memory, bytearray):
            with _lock:
                if _kept + len(memory) <= LIMIT:
                    _kept += len(memory)
                    _free.setdefault(len(memory), []).append((memory, self.start))


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """A C-contiguous array of any values; its memory, 64-byte aligned, comes from an array that is
    gone if it can."""
    global _kept
    dtype = np.dtype(dtype)
    size = prod(shape) * dtype.itemsize
    if size < SMALL:
        return np.empty(shape, dtype)
    step = 1 << (size.bit_length() - 4)  # at most an eighth is lost
    rounded = (size + step - 1) // step * step + 64
    with _lock:
        found = _free.get(rounded)
        memory, start = found.pop() if found else (None, 0)
        _kept -= rounded if memory is not None else 0
    if memory is None:
        memory = bytearray(rounded)
        start = -np.frombuffer(memory, np.uint8).ctypes.data % 64
    lease = np.ndarray.__new__(_Lease, rounded - 64, np.uint8, memory, start)
    lease.start = start
    return np.ndarray(shape, dtype, lease)


def clear() -> None:
    """Give all kept memory back to the system."""
    global _kept
    with _lock:
        _free.clear()
        _kept = 0
