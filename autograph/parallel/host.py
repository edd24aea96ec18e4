"""Sums over ranks on the host, in the order of the ranks: the same bits everywhere, whoever comes
first.

Each rank adds up one part of the numbers, rank 0's first, and all ranks get the parts back. On one
machine they read each other's memory, a shared window of MPI; otherwise it is sent, each number
twice, as any all-reduce has to.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..device import HOST, Device
from ..scalar_type import ScalarType

if TYPE_CHECKING:
    from .world import World

Move = tuple[int, int, int, int]  # array, its first number and its end, and where they go

LATE = 1 << 20  # bytes from which a sum runs beside backward; smaller ones are done at once

_worker: ThreadPoolExecutor | None = None


class Bucket:
    """Numbers of this rank, and what becomes of them: `begin` packs arrays, `end` waits until
    `sums` holds the sum over the ranks: of all numbers, or of this rank's part, which begins at
    `first`. This one is of one rank."""

    places: Sequence[int] = (0,)  # where each array goes
    first = 0

    def __init__(self, size: int, device: Device, dtype: np.dtype[Any]) -> None:
        self.size, self.dtype = size, dtype
        self.flat = self.sums = device.put(np.zeros(size, dtype))

    def begin(self, arrays: Sequence[Any]) -> None:
        """Take the numbers of arrays, and begin to add."""
        pack(self.flat, arrays, self.places)

    def end(self, flat: Any = None) -> None:
        """Wait until it is done."""


def pack(flat: Any, arrays: Sequence[Any], places: Sequence[int]) -> None:
    """Write arrays into a flat one, each at its place."""
    for each, at in zip(arrays, places, strict=True):
        flat[at : at + each.size] = each.reshape(-1)


class HostBucket(Bucket):
    """Numbers of this rank on the host."""

    def __init__(
        self, world: World, comm: Any, size: int, dtype: np.dtype[Any], average: bool, parts: bool
    ) -> None:
        self.world, self.size, self.dtype = world, size, dtype
        self.factor, self._in_parts = 1 / world.size if average else 1.0, parts
        self._is_late = size * dtype.itemsize >= LATE
        near = world.local_size == world.size
        self.ways = (_Window if near else _Messages)(comm, -(-size // world.size), dtype)
        self._found = self.ways.part if parts else self.ways.whole[:size]
        self.first = world.rank * self._found.size if parts else 0
        wide = ScalarType(dtype).accumulator.dtype
        self._rounded = dtype != wide
        self._wide = np.empty(self.ways.part.size, wide) if self._rounded else self.ways.part
        private = not self._rounded and (parts or not near)  # the others write elsewhere
        self.flat = self.sums = self._found if private else np.zeros(self._found.size, wide)
        self._under_way: Future[None] | None = None

    def begin(self, arrays: Sequence[Any]) -> None:
        if self.world.rehearses:
            return
        pack(self.ways.mine, arrays, self.places)
        self.world.enter("the sum of gradients")
        if self._is_late:
            self._under_way = _background().submit(self._add)
        else:
            self._add()

    def end(self, flat: Any = None) -> None:
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            under_way.result()

    def _add(self) -> None:
        """Add up this rank's part, in the order of the ranks."""
        rows, wide = self.ways.exchange(), self._wide
        if self._rounded:
            np.copyto(wide, rows[0])
        else:
            np.add(rows[0], rows[1], out=wide)
        for row in rows[1 if self._rounded else 2 :]:
            np.add(wide, row.astype(wide.dtype) if self._rounded else row, out=wide)
        if self.factor != 1:
            wide *= self.factor
        if self._rounded:
            np.copyto(self.ways.part, wide)
        self.ways.collect(self._in_parts)
        if self.flat is not self._found:
            np.copyto(self.flat, self._found)


def _background() -> ThreadPoolExecutor:
    """The one thread that adds while backward runs: sums are in order on every rank."""
    global _worker
    if _worker is None:
        _worker = ThreadPoolExecutor(1, "autograph-sums")
    return _worker


class _Window:
    """Memory that the ranks of one machine share."""

    def __init__(self, comm: Any, part: int, dtype: np.dtype[Any]) -> None:
        ranks, rank = comm.size, comm.rank
        self._numbers, every = _shared(comm, [part * ranks] * ranks, dtype)
        self._sums, (self.whole, *_) = _shared(comm, [part * ranks] + [0] * (ranks - 1), dtype)
        self.mine, here = every[rank], slice(rank * part, (rank + 1) * part)
        self._rows = [each[here] for each in every]
        self.part = self.whole[here]  # where this rank hands in its sums
        self._meet = partial(_meet, comm)

    def exchange(self) -> Sequence[Any]:
        """Every rank's numbers of this rank's part, once all have brought theirs."""
        self._meet(self._numbers)
        return self._rows

    def collect(self, in_parts: bool) -> None:
        """Wait for the others: for their parts, and until they have read this rank's numbers."""
        self._meet(self._sums)


class _Messages:
    """Messages between ranks of several machines."""

    def __init__(self, comm: Any, part: int, dtype: np.dtype[Any]) -> None:
        ranks = comm.size
        self.comm = comm
        self.mine, self.whole = np.zeros(part * ranks, dtype), np.zeros(part * ranks, dtype)
        self._rows, self.part = np.empty((ranks, part), dtype), np.empty(part, dtype)

    def exchange(self) -> Sequence[Any]:
        self.comm.Alltoall(_bytes(self.mine), _bytes(self._rows))
        return self._rows  # type: ignore[return-value]  # by the first axis

    def collect(self, in_parts: bool) -> None:
        if not in_parts:
            self.comm.Allgather(_bytes(self.part), _bytes(self.whole))


def _shared(comm: Any, sizes: Sequence[int], dtype: np.dtype[Any]) -> tuple[Any, list[Any]]:
    """Memory that the ranks of a machine share, and that of each rank that has some."""
    from mpi4py import MPI

    nbytes = [size * dtype.itemsize for size in sizes]
    window: Any = MPI.Win.Allocate_shared(nbytes[comm.rank], dtype.itemsize, comm=comm)
    every = [
        np.frombuffer(window.Shared_query(rank)[0], np.uint8)[:each].view(dtype)
        for rank, each in enumerate(nbytes)
        if each
    ]
    if nbytes[comm.rank]:
        every[comm.rank][:] = 0
    window.Lock_all()
    return window, every


def _meet(comm: Any, window: Any) -> None:
    window.Sync()
    comm.Barrier()
    window.Sync()


def _bytes(array: Any) -> Any:
    return array.reshape(-1).view(np.uint8)


class Parts:
    """Arrays of which each rank has some numbers, and gives them to the others. `pieces` says of
    each rank: which array, and which of its numbers."""

    def __init__(
        self,
        pieces: Sequence[Sequence[tuple[int, int, int]]],
        rank: int,
        device: Device,
        dtype: np.dtype[Any],
        alignment: int = 1,
    ) -> None:
        every: list[list[Move]] = []
        for some in pieces:
            at, moves = 0, []
            for i, first, end in some:
                moves.append((i, first, end, at))
                at += end - first + (first - end) % alignment
            every.append(moves)
        room = max(moves[-1][3] + moves[-1][2] - moves[-1][1] if moves else 0 for moves in every)
        room += -room % alignment
        self.whole = device.put(np.zeros(room * len(pieces), dtype))
        self.mine = self.whole[rank * room : (rank + 1) * room]
        moved = [
            [(i, first, end, at + room * each) for i, first, end, at in moves]
            for each, moves in enumerate(every)
        ]
        self._given = moved.pop(rank)
        self._taken = [move for moves in moved for move in moves]

    def exchange(self, *arrays: Any) -> None:
        """Write what the other ranks have into the arrays."""


class HostParts(Parts):
    """Such arrays on the host."""

    def __init__(self, world: World, comm: Any, pieces: Any, dtype: np.dtype[Any]) -> None:
        super().__init__(pieces, world.rank, HOST, dtype)
        self.world, self.comm = world, comm

    def exchange(self, *arrays: Any) -> None:
        from mpi4py import MPI

        if self.world.rehearses:
            return
        every = [each.reshape(-1) for each in arrays]
        for i, first, end, at in self._given:
            self.whole[at : at + end - first] = every[i][first:end]
        self.world.enter("the exchange of parameters")
        self.comm.Allgather(MPI.IN_PLACE, _bytes(self.whole))
        for i, first, end, at in self._taken:
            every[i][first:end] = self.whole[at : at + end - first]
