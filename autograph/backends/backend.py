"""Backend: a provider of kernels for one kind of device."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from ..errors import SettingsError
from ..outline import Outline
from .arrays import adapt_arrays

Adapter = Callable[[Callable[..., Any], Sequence[Any], Sequence[Outline], bool], Callable[..., Any]]


@dataclass(frozen=True, eq=False)
class Backend:
    """A provider of kernels for one kind of device ("host", "cuda", ...).

    Of the backends that have a kernel for an op, the one with the highest rank runs it.
    `module` is imported only when a kernel of this backend is first wanted. `adapt` turns a
    kernel as it is written into one that the staircase calls, once per signature.
    """

    name: str
    kind: str
    rank: int
    module: str
    switch: str = ""  # an environment variable that turns it off with "0"
    adapt: Adapter | None = None

    @cached_property
    def available(self) -> bool:
        if self.switch and os.environ.get(self.switch) == "0":
            return False
        return find_spec(self.module) is not None

    def __repr__(self) -> str:
        return self.name


REFERENCE = Backend("reference", kind="host", rank=-1, module="numpy", adapt=adapt_arrays)
NUMPY = Backend("numpy", kind="host", rank=0, module="numpy", adapt=adapt_arrays)
NATIVE = Backend("native", kind="host", rank=1, module="llvmlite", switch="AUTOGRAPH_JIT")
CUPY = Backend("cupy", kind="cuda", rank=0, module="cupy", adapt=adapt_arrays)
CUDA = Backend("cuda", kind="cuda", rank=1, module="cupy")
CUDNN = Backend("cudnn", kind="cuda", rank=2, module="cudnn")


class Lookups(threading.local):
    """What chooses kernels in a thread, beside the inputs and settings of an op."""

    limit: frozenset[Backend] | None = None  # the backends that `using` leaves on
    tape: Any = None  # what writes down the ops of this thread, if anything does
    key: Any = None  # the one of both that plans are looked up by; under a tape none is found


lookups = Lookups()


@contextmanager
def taped(tape: Any) -> Iterator[None]:
    """Within the block, in this thread, `tape` is asked for the plan of every op; None: no tape."""
    before = lookups.key, lookups.tape
    lookups.key, lookups.tape = tape or lookups.limit, tape
    try:
        yield
    finally:
        lookups.key, lookups.tape = before


def limit() -> frozenset[Backend] | None:
    """What `using` leaves on in this thread; None where it says nothing."""
    return lookups.limit


def enabled(backend: Backend) -> bool:
    """Whether kernels of this backend may run in this thread.

    The reference runs only where `using(REFERENCE)` asks for it.
    """
    if lookups.limit is not None:
        return backend.available and backend in lookups.limit
    return backend.available and backend is not REFERENCE


@contextmanager
def using(*backends: Backend) -> Iterator[None]:
    """Within the block, in this thread, only these backends run kernels.

    >>> with using(NUMPY, CUPY):
    ...     enabled(NATIVE)
    False
    """
    wrong: list[Any] = [each for each in backends if not isinstance(each, Backend)]
    if wrong:
        name = str(wrong[0]).upper()
        raise SettingsError(f"using: {wrong[0]!r} is not a Backend\n  write  using(ag.{name})")
    before = lookups.limit
    chosen = frozenset(backends)
    lookups.limit = chosen if before is None else chosen & before
    lookups.key = lookups.tape or lookups.limit
    try:
        yield
    finally:
        lookups.limit = before
        lookups.key = lookups.tape or before
