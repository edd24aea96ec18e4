"""The watchdog: a thread that ends the job, and says who was at fault, when a rank dies, hangs or
raises.

MPI alone waits for ever for a rank that does not come. Each rank tells rank 0 every so often how
many exchanges it has entered, and rank 0 tells all; who is silent, or does not enter an exchange
that others wait in, is named when the time is up.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import threading
import time
from types import TracebackType
from typing import Any

import numpy as np

from .world import say

TAG = 77
ENTERED, LEFT = 0, 1  # the words of a message: exchanges entered, and the one that is the end
WORDS = 2


class Watchdog:
    """Watches the other ranks of a communicator that nothing else uses."""

    def __init__(self, comm: Any, timeout: float) -> None:
        self.comm, self.timeout, self.every = comm, timeout, min(1.0, timeout / 8)
        self._last = comm.Dup()  # for the end alone
        self.rank, self.size = comm.rank, comm.size
        self.entered = 0  # exchanges that this rank has entered
        self.left = 0  # the number of the last one, once its program has ended
        self.what = ""  # the exchange that it is in, or was in last
        here = f"{socket.gethostname()}, process {os.getpid()}"
        self.names = comm.allgather(here)
        now = time.monotonic()
        self._known = np.zeros((self.size, WORDS), np.int64)
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

    def enter(self, what: str) -> None:
        """An exchange begins."""
        self.what = what
        self.entered += 1

    def _raised(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """What Python calls for an error that nobody caught."""
        self._before(kind, error, trace)
        first = str(error).partition("\n")[0]
        self.end(f"{self._name(self.rank)} raised {kind.__name__}: {first}")

    def _leave(self) -> None:
        """The program of this rank has ended: wait for the others, which may not need it any
        more, but would wait for it."""
        self.left = self.entered + 1
        self.enter("the end")
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
            words = np.array([self.entered, self.left], np.int64)
            self._sent.append((self.comm.Isend(words, rank, TAG), words))

    def _listen(self) -> None:
        words, now = np.empty(WORDS, np.int64), time.monotonic()
        for rank in range(1, self.size) if self.rank == 0 else (0,):
            while self.comm.Iprobe(rank, TAG):
                self.comm.Recv(words, rank, TAG)
                self._heard[rank] = now
                if words[ENTERED] != self._known[rank, ENTERED]:
                    self._moved[rank] = now
                self._known[rank] = words
        if self.entered != self._known[self.rank, ENTERED]:
            self._moved[self.rank] = now
        self._known[self.rank] = self.entered, self.left

    def _fault(self) -> str:
        """Who has held up the others for too long; "" if nobody has."""
        now, known = time.monotonic(), self._known
        watched = range(self.size) if self.rank == 0 else (0, self.rank)
        patience = self.timeout + 0.5 * max(self.rank - 1, 0)  # of several that see it, one speaks
        for rank in watched:
            silent = now - self._heard[rank]
            if rank != self.rank and silent > patience:
                return f"{self._name(rank)} has been silent for {silent:.0f} s"
        most = max(known[rank, ENTERED] for rank in watched)
        here = max((known[rank, ENTERED] for rank in watched if not known[rank, LEFT]), default=0)
        for rank in watched:
            if 0 < known[rank, LEFT] <= here:
                return f"{self._name(rank)} has ended its program, and others wait for it"
            if known[rank, ENTERED] == most or rank == self.rank != 0:
                continue  # where this rank is late itself, rank 0 says so
            idle, silent = now - self._moved[rank], now - self._heard[rank]
            if idle > patience:
                if silent > 4 * self.every:  # it would have said that it is still there
                    return f"{self._name(rank)} has been silent for {silent:.0f} s"
                waits = f" ({self.what})" if self.entered == most else ""
                return (
                    f"{self._name(rank)} has not come to an exchange{waits} for {idle:.0f} s, "
                    f"and others wait for it"
                )
        return ""

    def _name(self, rank: int) -> str:
        return f"rank {rank} of {self.size} ({self.names[rank]})"

    def end(self, why: str) -> None:
        """Say why, and end every rank."""
        say(f"autograph: {why}; the job ends")
        sys.stdout.flush()
        self.comm.Abort(1)
        os._exit(1)
