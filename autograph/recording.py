"""Recording: a step on tape, and the values that go in and come out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple
from weakref import ref

import numpy as np

from . import ops
from .device import Device
from .op import Op
from .tape import Tape
from .tensor import Tensor
from .tensor.staircase import version_of
from .watching import Written


class Trial(NamedTuple):
    """An eager step: what it was given, what it wrote, and which bits came out."""

    device: Device
    inputs: list[Any]
    written: list[Written]
    bits: list[bytes] | None  # of the outputs, then of what was written; None: not kept
    read: list[tuple[ref[Tensor], int]]  # what it only read, and the versions of that

    def forget(self) -> None:
        """Let go of the copies."""
        self.inputs.clear()
        self.written.clear()

    def is_stale(self) -> bool:
        """Whether what it read has changed since, so that a replay would answer something else."""
        return any(
            (tensor := each()) is None or version_of(tensor).count != count
            for each, count in self.read
        )


@dataclass(eq=False)
class Recording:
    """A tape, the arguments that it reads, what came out, and what it reads and writes beside."""

    tape: Tape
    buffers: list[Tensor]
    results: Any
    outputs: list[Tensor]
    held: list[Any]  # (tensor, array), and whether it was frozen
    written: list[tuple[ref[Tensor], Any]]
    updates: bool  # whether it is a step of an optimizer

    def __post_init__(self) -> None:
        self.held = [(each, array, _is_frozen(each())) for each, array in self.held]

    def fill(self, inputs: list[Tensor]) -> None:
        """Copy the arguments to where the recording reads them."""
        copy = self.tape.copy
        for buffer, each in zip(self.buffers, inputs, strict=True):
            copy(buffer, each)

    def run(self) -> Any:
        """Replay, and copy what came out, which the next replay writes over."""
        self.tape.replay()
        if not self.outputs:
            return self.results
        fresh = [Tensor.borrow(empty_like(each)) for each in self.outputs]
        for to, each in zip(fresh, self.outputs, strict=True):
            self.tape.copy(to, each)
        return replaced(self.results, iter(fresh))

    def is_current(self) -> bool:
        """Whether the tensors that were recorded are still where they were, and as frozen."""
        for each, array, frozen in self.held:
            tensor = each()
            if tensor is None or tensor._array is not array or _is_frozen(tensor) is not frozen:
                return False
        return True

    def wrote(self) -> None:
        """Raise the versions of what a replay has written."""
        for each, _ in self.written:
            tensor = each()
            if tensor is not None:
                version = tensor.version or version_of(tensor)
                version.count += 1


def _is_frozen(tensor: Tensor | None) -> bool:
    return tensor is None or tensor.node is None


def outlined(value: Any, tensors: list[Tensor]) -> Any:
    """What a recording depends on of arguments or results; their tensors go into the list."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return value.outline
    if isinstance(value, tuple | list):
        return type(value), *[outlined(each, tensors) for each in value]
    if isinstance(value, dict):
        return dict, *[(name, outlined(each, tensors)) for name, each in value.items()]
    hash(value)
    return type(value), value


def replaced(value: Any, tensors: Iterator[Tensor]) -> Any:
    """The same with other tensors in place of its own."""
    if isinstance(value, Tensor):
        return next(tensors)
    if isinstance(value, tuple | list):
        parts = [replaced(each, tensors) for each in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, dict):
        return {name: replaced(each, tensors) for name, each in value.items()}
    return value


def empty_like(tensor: Tensor) -> Any:
    return tensor.device.empty(tensor.shape, tensor.dtype)


def copies(values: Any) -> list[Any]:
    """Copies of arrays, or of the arrays of tensors."""
    return [ops.copy(each._array if isinstance(each, Tensor) else each) for each in values]


def bits_of(values: Iterable[Any]) -> list[bytes]:
    """For arrays, or the arrays of tensors, what is equal where shapes and bits are."""
    return [_bits(each._array if isinstance(each, Tensor) else each) for each in values]


def _bits(array: Any) -> bytes:
    digest = blake2b(repr(array.shape).encode(), digest_size=32)
    on_host = isinstance(array, np.ndarray)
    found: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8) if on_host else None
    digest.update(array.tobytes() if found is None else found)
    return digest.digest()


def reason(error: Exception) -> str:
    """What went wrong, and in which op."""
    name, trace = "", error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if isinstance(owner, Op):
            name = f"{owner.name}: "
        trace = trace.tb_next
    return f"{name}{str(error) or type(error).__name__}"
