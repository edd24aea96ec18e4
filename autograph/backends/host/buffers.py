"""Memory for outputs that is used again: what a training step frees, the next step gets without
page faults."""

from __future__ import annotations

import mmap
import os
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from math import prod
from typing import Any

import numpy as np

SMALL = 512 << 10  # bytes; below, the system reuses memory as well
FEW = SMALL // 8  # elements, which are small whatever they are
LINE, PAGE, LARGE_PAGE = 64, mmap.PAGESIZE, 2 << 20
REGION = 32 << 20  # bytes that the system is asked for at least
PART = 256 << 10  # bytes that a lender is asked for at least
LIMIT = 1 << 30  # bytes kept for later; what is more may go back to the system

# Freeing one mapped piece of nearly 32 MB tells glibc, which adapts its thresholds to what it sees
# freed, to keep the top of its heap: else a step may give it back and fault it in again each time.
with suppress(MemoryError):
    np.empty(31 << 20, np.uint8)

_lock = threading.RLock()  # an array may die, and take it again, while its thread holds it

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


def _pages(size: int) -> tuple[Any, int]:
    """Fresh memory, a page more than so many bytes, and where in it the first aligned one is; in
    large pages where the system has them: few faults, and few look-ups of addresses. None of it is
    there before it is written."""
    size += PAGE
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        array = bytearray(size)
        return array, -np.frombuffer(array, np.uint8).ctypes.data % LINE
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"{size} bytes: {error}") from None
    if size >= LARGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a system without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory, 0


class Store:
    """Memory in large regions, of which an array gets the smallest hole that it fits into. What
    is wholly free beyond `limit` bytes goes back to the system. A store with a `lender` has parts
    of that one's regions, for as long as it lives."""

    def __init__(self, limit: float, lender: Store | None = None) -> None:
        self.holes: dict[int, tuple[Any, list[tuple[int, int]]]] = {}  # of each region, in order
        self.kept, self.limit, self.lender = 0, limit, lender  # bytes of all holes
        self._given: list[tuple[Any, int, int]] = []  # and no part of holes yet
        self._waiting = 0  # bytes of that, or about so many where threads meet
        self._lent: list[tuple[Any, int, int]] = []
        self._busy = False  # a destructor may run in the middle of anything, and come by here

    def take(self, size: int) -> tuple[Any, int]:
        """Memory, and where in it so many bytes, a multiple of 64, begin."""
        with _lock:
            if self._busy:
                return _pages(size)
            self._busy = True
            try:
                self._gather()
                memory, places, i = self._best(size) or self._grown(size)
                start, end = places[i]
                places[i : i + 1] = [(start + size, end)] if end - start > size else []
                self.kept -= size
            finally:
                self._busy = False
            return memory, start

    def give(self, memory: Any, start: int, size: int) -> None:
        """What was taken is free again, and a part of a hole once somebody takes."""
        self._given.append((memory, start, size))
        self._waiting += size
        if self.kept + self._waiting > self.limit:
            with _lock:
                if not self._busy:
                    self._busy = True
                    try:
                        self._gather()
                    finally:
                        self._busy = False

    def clear(self) -> None:
        """Give all that is free back to the system."""
        with _lock:
            if self._busy:
                return
            self._busy = True
            try:
                self._gather()
                for memory, places in list(self.holes.values()):
                    if _is_whole(memory, places):
                        self._drop(memory, places)
                    elif hasattr(mmap, "MADV_DONTNEED"):
                        for start, end in places:
                            memory.madvise(mmap.MADV_DONTNEED, start, end - start)
            finally:
                self._busy = False

    def _gather(self) -> None:
        """Make holes of all that was given."""
        self._waiting = 0
        while self._given:
            memory, start, size = self._given.pop()
            places = self._insert(memory, start, start + size)
            if self.kept > self.limit and _is_whole(memory, places):
                self._drop(memory, places)

    def _drop(self, memory: Any, places: list[tuple[int, int]]) -> None:
        """Forget a region that is free."""
        self.kept -= places[0][1] - places[0][0]
        del self.holes[id(memory)]

    def _insert(self, memory: Any, start: int, end: int) -> list[tuple[int, int]]:
        """A hole, joined with those beside it; the holes of its region."""
        _, places = self.holes.setdefault(id(memory), (memory, []))
        self.kept += end - start
        i = bisect_left(places, (start, end))
        if i < len(places) and places[i][0] == end:
            end = places.pop(i)[1]
        if i and places[i - 1][1] == start:
            i -= 1
            start = places.pop(i)[0]
        places.insert(i, (start, end))
        return places

    def _best(self, size: int) -> tuple[Any, list[tuple[int, int]], int] | None:
        """The smallest hole that is large enough."""
        found, least = None, float("inf")
        for memory, places in self.holes.values():
            for i, (start, end) in enumerate(places):
                if size <= end - start < least:
                    found, least = (memory, places, i), end - start
        return found

    def _grown(self, size: int) -> tuple[Any, list[tuple[int, int]], int]:
        """A hole where there was none."""
        if self.lender is not None:
            room = _rounded(size, PART)
            memory, start = self.lender.take(room)
            self._lent.append((memory, start, room))
        else:
            room = max(_rounded(size, LARGE_PAGE), REGION)
            try:
                memory, start = _pages(room)
            except MemoryError:
                room = size
                memory, start = _pages(room)
        self._insert(memory, start, start + room)
        found = self._best(size)
        assert found is not None
        return found

    def __del__(self) -> None:
        if self.lender is not None:  # no array lies here any more
            for each in self._lent:
                self.lender.give(*each)

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
            self.store.give(memory, self.start, self.nbytes)


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
    if store is not None:
        return _leased(store, _rounded(size, LINE), shape, dtype)
    if size < SMALL:
        return np.empty(shape, dtype)
    return _leased(shared, _rounded(size, PAGE), shape, dtype)


def _rounded(size: int, step: int) -> int:
    """The bytes to take for so many."""
    return (max(size, 1) + step - 1) // step * step


def _is_whole(memory: Any, places: list[tuple[int, int]]) -> bool:
    """Whether a region is but one hole."""
    return len(places) == 1 and places[0][1] - places[0][0] + PAGE >= len(memory)


def _leased(store: Store, size: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array in memory of a store."""
    memory, start = store.take(size)
    lease = np.ndarray.__new__(_Lease, size, np.uint8, memory, start)
    lease.start, lease.store = start, store
    return np.ndarray(shape, dtype, lease)


def allocator(shape: tuple[int, ...], dtype: Any = np.float32) -> Callable[[], np.ndarray]:
    """`empty` for arrays of one kind, whose size is asked once."""
    kind = np.dtype(dtype)
    size = prod(shape) * kind.itemsize
    if size < SMALL:
        from . import pool

        like = np.broadcast_to(np.empty((), kind), shape)
        return partial(pool.start().new, partial(empty, shape, kind), like)
    rounded = _rounded(size, PAGE)
    return lambda: empty(shape, kind) if _private else _leased(shared, rounded, shape, kind)


def copied(array: np.ndarray) -> np.ndarray:
    """A copy that lies in no store of a recording, whatever this thread writes."""
    if array.nbytes < SMALL:
        return array.copy()
    copy = _leased(shared, _rounded(array.nbytes, PAGE), array.shape, array.dtype)
    np.copyto(copy, array)
    return copy


def clear() -> None:
    """Give all kept memory back to the system."""
    shared.clear()
