"""Tapes: what a step asks of a device or of the host, written down so that it can be asked again.

On a device it is a CUDA graph. On the host it is a list of native launches with the addresses that
they work on, run by one call, and between them the kernels that only Python can call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import Any, Protocol

import numpy as np

from . import ops
from .backends import NATIVE, enabled
from .backends.backend import lookups, taped
from .device import HOST, Device
from .errors import CaptureError
from .op import Op
from .plan import Plan, Signature
from .tensor import Tensor

Call = Callable[[], None]

_writing = threading.RLock()  # one thread at a time: who launches tells one listener


class Tape(Protocol):
    """What can be written once and replayed."""

    device: Device
    runs: bool  # whether what is written is also done

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Within the block, what this thread asks of the device is written down."""

    @contextmanager
    def memory(self) -> Iterator[None]:
        """Within the block, arrays are made in memory that only this tape uses again."""

    def beside(self, array: Any) -> Any:
        """A copy that lies in no memory of this tape."""

    def settle(self) -> None:
        """It is written: memory that nobody uses now goes back to the system."""

    def replay(self) -> None:
        """Do it all again; on a device, wait for nothing."""

    def copy(self, to: Tensor, x: Tensor) -> None:
        """Write the values of a tensor into another, in turn with replays."""


def tape_of(device: Device) -> Tape:
    """A new tape for what is asked of a device."""
    return HostTape() if device.is_host else DeviceTape(device)


class DeviceTape:
    """The launches on a CUDA device, as a graph."""

    runs = False

    def __init__(self, device: Device) -> None:
        from .backends.cuda.stream import PrivateMemory, enter, stream_of

        self.device, self.stream = device, stream_of(device.index)
        self.memory_pool = PrivateMemory()
        self._enter = partial(enter, device.index)
        self.graph: Any = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        from .backends.cuda.stream import recording

        with recording(self.device.index) as graphs:
            yield
        self.graph = graphs[0]

    @contextmanager
    def memory(self) -> Iterator[None]:
        with self.memory_pool.use():
            yield

    beside = staticmethod(ops.copy)

    def settle(self) -> None:
        """What is free on a device, its pools keep."""

    def replay(self) -> None:
        self._enter()
        self.graph.launch(self.stream)

    def copy(self, to: Tensor, x: Tensor) -> None:
        self._enter()
        array = x._array  # what is pending knows how it lies from now on
        if x.outline.is_contiguous and to.outline.is_contiguous:
            to._array.data.copy_from_device_async(array.data, array.nbytes)
        else:
            ops.assign(to._array, array)


class HostTape:
    """The kernels that ran on the host: `calls` of Python, most of which run many launches.

    A native kernel is what it launches. Any other is called again with the same arrays, and what
    it answers is copied to where its first answer lies, which later kernels read.
    """

    runs = True

    def __init__(self) -> None:
        self.device = HOST
        self.calls: list[Call] = []
        self._launches: list[Launch] = []  # since the last call of Python
        self._held: list[Any] = []  # memory that addresses lead to
        self._store: Any = None
        self._thread = threading.get_ident()

    # -- writing -----------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        with _writing, _refusing_to_read(), taped(self), self._listening():
            yield
        self._end_stretch()

    @contextmanager
    def _listening(self) -> Iterator[None]:
        if not enabled(NATIVE):
            yield
            return
        from .backends.host import jit, pool

        pool.listen(self._launched)
        jit.tape = self
        try:
            yield
        finally:
            pool.listen(None)
            jit.tape = None

    @contextmanager
    def memory(self) -> Iterator[None]:
        if not enabled(NATIVE):
            yield
            return
        from .backends.host.buffers import Store, private, shared

        self._store = self._store or Store(float("inf"), lender=shared)
        with private(self._store):
            yield

    def beside(self, array: Any) -> Any:
        if self._store is None:
            return array.copy()
        from .backends.host.buffers import copied

        return copied(array)

    def settle(self) -> None:
        if self._store is not None:
            from .backends.host.buffers import clear

            clear()

    def plan(self, op: Op, given: Sequence[Signature], settings: Mapping[str, Any]) -> Plan:
        """The plan of an op as it runs while this tape is written."""
        if op.dynamic:
            raise CaptureError("the shape of its output depends on values")
        with taped(None):
            twin = copy(op.plan(given, settings))
        if not twin.native:
            twin.kernel = partial(self._call, twin.kernel, bool(op.writes))
        if twin.prepare is not None:
            twin.prepare = tuple(
                [
                    step
                    if step is None or isinstance(kind, type)
                    else partial(self._call, step, False)
                    for step, kind in zip(twin.prepare, twin.given, strict=True)
                ]
            )
        return twin

    def _call(self, kernel: Callable[..., Any], writes: bool, *arrays: Any) -> Any:
        """Run a kernel, and write down to run it again."""
        with taped(None):
            answers = kernel(*arrays)
        found = answers if isinstance(answers, tuple) else (answers,)
        fresh = [
            (i, each)
            for i, each in enumerate(found)
            if each is not None and each.size and not any(_overlap(each, x) for x in arrays)
        ]
        if fresh or writes:
            self._end_stretch()
            self.calls.append(partial(_again, kernel, arrays, fresh, isinstance(answers, tuple)))
        return answers

    def _launched(self, address: int, tasks: int, *words: Any) -> None:
        """A native launch is about to run."""
        if lookups.key is not self or threading.get_ident() != self._thread:
            return
        block = np.array([_word(each) for each in words], np.int64)
        arrays = [each for each in words if isinstance(each, np.ndarray)]
        self._held += [each for each in arrays if not self._store.holds(each)]
        self._launches.append(Launch(address, tasks, block))

    def looks_at(self, flag: Any, refuse: Call) -> None:
        """The launch before raises a flag where `refuse` has to be called."""
        if lookups.key is self and threading.get_ident() == self._thread:
            self._launches[-1].flag, self._launches[-1].refuse = flag, refuse

    def _end_stretch(self) -> None:
        if self._launches:
            self.calls.append(Stretch(self._launches).run)
            self._launches = []

    # -- replaying ---------------------------------------------------------------------------

    def replay(self) -> None:
        for call in self.calls:
            call()

    def copy(self, to: Tensor, x: Tensor) -> None:
        np.copyto(to._array, x._array)


@contextmanager
def _refusing_to_read() -> Iterator[None]:
    """Within the block the thread that writes a tape reads no values."""
    numpy = Tensor.numpy

    def read(tensor: Tensor) -> Any:
        if isinstance(lookups.key, HostTape):
            raise CaptureError("it reads the values of a tensor")
        return numpy(tensor)

    Tensor.numpy = read  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Tensor.numpy = numpy  # type: ignore[method-assign]


class Launch:
    """A kernel, for how many tasks, the words it gets, and how it refuses what it met."""

    __slots__ = ("address", "block", "flag", "refuse", "tasks")

    def __init__(self, address: int, tasks: int, block: np.ndarray[Any, Any]) -> None:
        self.address, self.tasks, self.block = address, tasks, block
        self.flag: Any = None
        self.refuse: Call | None = None


class Stretch:
    """Launches that one native call runs, one after the other."""

    def __init__(self, launches: Sequence[Launch]) -> None:
        from .backends.host.pool import replay

        self.launches, self._replay = launches, replay
        self.table = np.array(
            [
                (
                    each.address,
                    each.block.ctypes.data,
                    each.tasks,
                    0 if each.flag is None else each.flag.ctypes.data,
                )
                for each in launches
            ],
            np.int64,
        )

    def run(self) -> None:
        done = self._replay(self.table)
        if done < len(self.launches):
            stopped = self.launches[done]
            stopped.flag[...] = 0
            assert stopped.refuse is not None
            stopped.refuse()


def _again(
    kernel: Callable[..., Any], arrays: Sequence[Any], places: Sequence[tuple[int, Any]], many: bool
) -> None:
    """Call a kernel, and copy what it answers to where it lay at first."""
    answers = kernel(*arrays)
    for i, to in places:
        np.copyto(to, answers[i] if many else answers)


def _overlap(a: Any, b: Any) -> bool:
    return isinstance(b, np.ndarray) and np.may_share_memory(a, b)


def _word(value: Any) -> int:
    """What a launch puts into a block of words."""
    if value is None:
        return 0
    if isinstance(value, np.ndarray):
        return value.ctypes.data
    if isinstance(value, float):
        return int(np.float64(value).view(np.int64))
    return int(value)
