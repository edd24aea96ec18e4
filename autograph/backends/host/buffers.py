"""Memory for outputs that is used again: what a training step frees, the next step gets without
page faults."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import prod
from typing import Any

import numpy as np

SMALL = 512 << 10  # bytes; below, the system reuses memory as well
FEW = SMALL // 8  # elements, which are small whatever they are
LARGE_PAGE = 2 << 20
LIMIT = 1 << 30  # bytes kept for later; more go back to the system

# Freeing one mapped piece of nearly 32 MB tells glibc, which adapts its thresholds to what it sees
# freed, to keep the top of its heap: else a step may give it back and fault it in again each time.
with suppress(MemoryError):
    np.empty(31 << 20, np.uint8)

_lock = threading.RLock()  # an array may die, and take it again, while its thread holds it

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


def _pages(size: int) -> Any:
    """Fresh memory, in large pages where the system has them: few faults, and few look-ups of
    addresses; none of it is there before it is written."""
    if size < LARGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return bytearray(size)
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"{size} bytes: {error}") from None
    with suppress(OSError):  # a system without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


class Store:
    """Memory that arrays gave back, by its size; of at most `limit` bytes."""

    def __init__(self, limit: float) -> None:
        self.free: dict[int, list[tuple[Any, int]]] = {}
        self.kept, self.limit = 0, limit

    def take(self, size: int) -> tuple[Any, int]:
        """Memory of this size, and where in it the first aligned byte is."""
        with _lock:
            found = self.free.get(size)
            if found:
                self.kept -= size
                return found.pop()
        memory = _pages(size)
        return memory, -np.frombuffer(memory, np.uint8).ctypes.data % 64

    def give(self, memory: Any, start: int) -> None:
        with _lock:
            if self.kept + len(memory) <= self.limit:
                self.kept += len(memory)
                self.free.setdefault(len(memory), []).append((memory, start))

    def clear(self) -> None:
        """Give all of it back to the system."""
        with _lock:
            self.free.clear()
            self.kept = 0

    def holds(self, array: np.ndarray) -> bool:
        """Whether the array lies in memory of this store, which nobody else uses again."""
        base: Any = array
        while type(base) is np.ndarray:
            base = base.base
        return type(base) is _Lease and base.store is self


class _Lease(np.ndarray):
    """Memory of a store while arrays lie over it; given back when the last of them is gone."""

    __slots__ = ("start", "store")

    def __del__(self) -> None:
        memory = self.base  # no array: views of a view of an array would forget the lease
        if isinstance(memory, bytearray | mmap.mmap):
            self.store.give(memory, self.start)


shared = Store(LIMIT)
_private: dict[int, Store] = {}  # of threads that write a recording


@contextmanager
def private(store: Store) -> Iterator[None]:
    """Within the block, arrays of this thread, small ones too, lie in a store of their own."""
    thread = threading.get_ident()
    before = _private.get(thread)
    _private[thread] = store
    try:
        yield
    finally:
        if before is None:
            del _private[thread]
        else:
            _private[thread] = before


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """A C-contiguous array of any values; its memory, 64-byte aligned, comes from an array that is
    gone if it can."""
    count = prod(shape)
    if count < FEW and not _private:
        return np.empty(shape, dtype)
    size, store = count * np.dtype(dtype).itemsize, _private.get(threading.get_ident())
    if store is None:
        if size < SMALL:
            return np.empty(shape, dtype)
        store = shared
    return _leased(store, _rounded(size), shape, dtype)


def _rounded(size: int) -> int:
    """The bytes to take for so many: at most an eighth is lost, or a line."""
    step = 1 << max(size.bit_length() - 4, 6)
    return (size + step - 1) // step * step + 64


def _leased(store: Store, rounded: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array in memory of a store."""
    memory, start = store.take(rounded)
    lease = np.ndarray.__new__(_Lease, rounded - 64, np.uint8, memory, start)
    lease.start, lease.store = start, store
    return np.ndarray(shape, dtype, lease)


def allocator(shape: tuple[int, ...], dtype: Any = np.float32) -> Callable[[], np.ndarray]:
    """`empty` for arrays of one kind, whose size is asked once."""
    plain, kind = np.empty, np.dtype(dtype)
    size = prod(shape) * kind.itemsize
    if size < SMALL:
        return lambda: empty(shape, kind) if _private else plain(shape, kind)
    rounded = _rounded(size)
    return lambda: empty(shape, kind) if _private else _leased(shared, rounded, shape, kind)


def clear() -> None:
    """Give all kept memory back to the system."""
    shared.clear()
