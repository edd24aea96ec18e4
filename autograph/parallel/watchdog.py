"""The watchdog: a thread that ends the job, and says who was at fault, when a rank dies, hangs or
raises.

MPI alone waits for ever for a rank that does not come. Each rank tells rank 0 every so often how
many exchanges it has entered, and rank 0 tells all; who is silent, or does not enter an exchange
that others wait in, is named when the time is up. They tell a checksum of the names of these
exchanges as well: who has taken another way than rank 0 is named at once, with what it is at.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple
from zlib import crc32

from .world import say

TAG = 77
END = "the end"
ROOM = 2048  # bytes of a message, of whose text so many letters are sent
LETTERS = 160
TRAIL = 4096  # exchanges that a rank remembers: others may be so far behind it, or tell so late

At = tuple[int, int, str, int]  # a place


class Place(NamedTuple):
    """Where a rank is: how many exchanges it has entered, the checksum of their names, the name of
    the last one, and its number once the program has ended."""

    entered: int = 0
    way: int = 0
    text: str = ""
    left: int = 0


class Watchdog:
    """Watches the other ranks of a communicator that nothing else uses."""

    def __init__(self, comm: Any, timeout: float) -> None:
        self.comm, self.timeout, self.every = comm, timeout, min(1.0, timeout / 8)
        self._last = comm.Dup()  # for the end alone
        self.rank, self.size = comm.rank, comm.size
        self._at: At = Place()  # a plain tuple is made in half the time
        self._trail: list[At] = [self._at] * TRAIL
        here = f"{socket.gethostname()}, process {os.getpid()}"
        self.names = comm.allgather(here)
        now = time.monotonic()
        self._known = [Place()] * self.size
        self._apart = 0  # for how many rounds some rank is known to be elsewhere
        self._heard = [now] * self.size  # when a rank was heard of last
        self._moved = [now] * self.size  # and when it entered an exchange last
        self._sent: list[tuple[Any, Any]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="autograph-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch, until the program ends."""
        self._before = sys.excepthook
        sys.excepthook = self._raised
        atexit.register(self._leave)
        self._thread.start()

    # -- told by this rank -------------------------------------------------------------------

    def enter(self, what: str, why: str = "") -> None:
        """An exchange begins, whose name is the same on every rank."""
        entered, text = self._at[0] + 1, f"{what}: {why}" if why else what
        at = entered, crc32(what.encode(), self._at[1]), text, entered if what == END else 0
        self._at = self._trail[entered % TRAIL] = at

    def _raised(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """What Python calls for an error that nobody caught."""
        self._before(kind, error, trace)
        first = ": ".join(filter(None, [kind.__name__, str(error).partition("\n")[0]]))
        self.end(f"{self._name(self.rank)} raised {first}")

    def _leave(self) -> None:
        """The program of this rank has ended: wait for the others, which may not need it any
        more, but would wait for it."""
        self.enter(END)
        self._tell()
        self._last.Barrier()
        self._ended.set()
        self._thread.join()
        self._listen()
        for request, _ in self._sent:
            request.Wait()

    # -- the thread ----------------------------------------------------------------------------

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(self.every):
            slept = time.monotonic() - last - self.every
            if slept > self.every:  # this rank itself was held up, and has not heard the others
                self._heard = [each + slept for each in self._heard]
                self._moved = [each + slept for each in self._moved]
            last = time.monotonic()
            self._tell()
            self._listen()
            fault = self._fault()
            if fault:
                self.end(fault)

    def _tell(self) -> None:
        """Rank 0 tells all, the others tell rank 0."""
        self._sent = [(request, words) for request, words in self._sent if not request.Test()]
        for rank in range(1, self.size) if self.rank == 0 else (0,):
            entered, way, text, left = self._at
            told = json.dumps([entered, way, text[:LETTERS], left])
            message = bytearray(told.encode().ljust(ROOM))
            self._sent.append((self.comm.Isend(message, rank, TAG), message))

    def _listen(self) -> None:
        message, now = bytearray(ROOM), time.monotonic()
        for rank in range(1, self.size) if self.rank == 0 else (0,):
            while self.comm.Iprobe(rank, TAG):
                self.comm.Recv(message, rank, TAG)
                self._heard[rank] = now
                self._note(rank, Place(*json.loads(message)), now)
        self._note(self.rank, Place(*self._at), now)

    def _note(self, rank: int, told: Place, now: float) -> None:
        if told.entered != self._known[rank].entered:
            self._moved[rank] = now
        self._known[rank] = told

    def _fault(self) -> str:
        """Who has held up the others for too long; "" if nobody has."""
        now, known = time.monotonic(), self._known
        watched = range(self.size) if self.rank == 0 else (0, self.rank)
        patience = self.timeout + 0.5 * max(self.rank - 1, 0)  # of several that see it, one speaks
        for rank in watched:
            silent = now - self._heard[rank]
            if rank != self.rank and silent > patience:
                return f"{self._name(rank)} has been silent for {silent:.0f} s"
        most = max(known[rank].entered for rank in watched)
        here = max((known[rank].entered for rank in watched if not known[rank].left), default=0)
        for rank in watched:
            if 0 < known[rank].left <= here:
                return f"{self._name(rank)} has ended its program, and others wait for it"
        elsewhere = [rank for rank in watched if self._is_elsewhere(rank)]
        self._apart = self._apart + 1 if elsewhere else 0
        if self._apart > (1 if self.rank == 0 else 3):  # rank 0 sees most, unless it is behind
            return self._differences(elsewhere)
        for rank in watched:
            if known[rank].entered == most or rank == self.rank != 0:
                continue  # where this rank is late itself, rank 0 says so
            idle, silent = now - self._moved[rank], now - self._heard[rank]
            if idle > patience:
                if silent > 4 * self.every:  # it would have said that it is still there
                    return f"{self._name(rank)} has been silent for {silent:.0f} s"
                at = Place(*self._at)
                waits = f" ({at.text})" if at.entered == most else ""
                return (
                    f"{self._name(rank)} has not come to an exchange{waits} for {idle:.0f} s, "
                    f"and others wait for it"
                )
        return ""

    def _is_elsewhere(self, rank: int) -> bool:
        """Whether a rank is known to have taken another way than this one."""
        there = self._known[rank]
        here = Place(*self._trail[there.entered % TRAIL])
        return rank != self.rank and here.entered == there.entered and here.way != there.way

    def _differences(self, elsewhere: Sequence[int]) -> str:
        """Which rank has taken another way, and where it and the others were."""
        other, there = elsewhere[0], self._known[elsewhere[0]]
        places = {self.rank: self._trail[there.entered % TRAIL][2], other: there.text}
        alone = 0 if self.rank == 0 and len(elsewhere) > self.size / 2 else max(places)
        lines = "".join(f"\n  rank {rank}  {places[rank]}" for rank in sorted(places))
        return f"{self._name(alone)} does something else than rank {sum(places) - alone}{lines}"

    def _name(self, rank: int) -> str:
        return f"rank {rank} of {self.size} ({self.names[rank]})"

    def end(self, why: str) -> None:
        """Say why, and end every rank."""
        first, *lines = why.split("\n")
        say("\n".join([f"autograph: {first}; the job ends", *lines]))
        sys.stdout.flush()
        self.comm.Abort(1)
        os._exit(1)
