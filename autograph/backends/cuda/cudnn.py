"""cuDNN through its frontend: graphs of an operation on raw pointers, built once for each shape.

The plan is the first that the library's heuristics name, of all or of an engine that is asked for
(but see `tuning`), so that it is the same in every run, and plans whose sums depend on timing are
refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from importlib import import_module
from itertools import islice
from typing import Any

import numpy as np

from . import stream
from .tuning import fastest, tunes

_TYPES = {"float32": "FLOAT", "float16": "HALF", "bfloat16": "BFLOAT16"}
_PLANS = 8  # that are tried out


@cache
def usable() -> bool:
    """Whether the frontend and the library are there."""
    try:
        return int(import_module("cudnn").backend_version()) >= 90000
    except (ImportError, OSError, RuntimeError, AssertionError, AttributeError):
        return False


def type_of(dtype: np.dtype[Any]) -> Any:
    """What cuDNN calls a scalar type."""
    return getattr(import_module("cudnn").data_type, _TYPES[dtype.name])


def refused() -> type[Exception]:
    """What the frontend raises where the library has no plan."""
    found: type[Exception] = import_module("cudnn").cudnnGraphNotSupportedError
    return found


@cache
def _handle(device: int) -> Any:
    """The handle of the current device, which launches on its stream."""
    cudnn = import_module("cudnn")
    handle = cudnn.create_handle()
    cudnn.set_stream(handle=handle, stream=stream.stream_of(device).ptr)
    return handle


class Graph:
    """`build(graph)` adds operations and answers their tensors; the graph is then called with a
    pointer for each.

    `exact`: float32 is multiplied as it is, not in the tensor cores' shorter mantissas; and where
    the library has a plan of this `engine`, it is taken. With a `key`, which tells graphs apart,
    several plans may be tried out.
    """

    def __init__(
        self, device: int, build: Callable[[Any], Sequence[Any]], *, exact: bool = False,
        engine: str = "", key: str = "",
    ) -> None:  # fmt: skip
        cudnn = import_module("cudnn")
        modes, wide = cudnn.heur_mode, cudnn.data_type.FLOAT
        stream.enter(device)
        self.device, self.handle = device, _handle(device)
        self.graph = graph = cudnn.pygraph(
            handle=self.handle, intermediate_data_type=wide, compute_data_type=wide
        )
        tensors = build(graph)
        graph.validate()
        graph.build_operation_graph()
        tries = bool(key) and tunes()
        graph.create_execution_plans([modes.A, modes.B if tries else modes.FALLBACK])
        graph.deselect_numeric_notes(_refused_notes(exact))
        graph.check_support()
        self.names = [each.get_uid() for each in tensors]
        self.key = f"{key} {exact} {cudnn.backend_version()}" if tries else ""
        self.index = -1  # the plan of the heuristics
        if exact and engine and self._take(engine):
            self.key = ""
        elif not tries:
            graph.build_plans()
            self.workspace = max(1, int(graph.get_workspace_size()))

    def __call__(self, *pointers: int) -> None:
        """Launch on the device's stream."""
        from cupy import empty

        given = dict(zip(self.names, pointers, strict=True))
        if self.key:
            self._choose(given)
        place = stream.counter(self.device, self.workspace)
        if place is None:
            room = empty(self.workspace, np.uint8)
            place = room.data.ptr
        if self.index < 0:
            self.graph._execute(given, place, self.handle)
        else:
            self._run(self.index, given, place)

    def _run(self, index: int, given: dict[int, int], room: int) -> None:
        self.graph._execute_plan_at_index(given, room, index, self.handle, None, None, None)

    def _plans(self) -> Iterator[int]:
        """Those that were not refused, built, the best of the heuristics first."""
        for index in range(int(self.graph.get_execution_plan_count())):
            try:
                self.graph.build_plan_at_index(index)
            except (RuntimeError, refused()):
                continue
            yield index

    def _room(self, index: int) -> int:
        return max(1, int(self.graph.get_workspace_size_plan_at_index(index)))

    def _take(self, engine: str) -> bool:
        """Take the first plan of this engine; whether there is one."""
        for index in self._plans():
            if self.graph.get_plan_name_at_index(index).split("_")[0] == engine:
                self.index, self.workspace = index, self._room(index)
                return True
        return False

    def _choose(self, given: dict[int, int]) -> None:
        """Take the fastest plan; the outputs are written once more for each that is tried."""
        from cupy import empty

        plans = list(islice(self._plans(), _PLANS))
        rooms = [empty(self._room(index), np.uint8) for index in plans]
        found = fastest(
            self.key, self.device,
            [partial(self._run, index, given, room.data.ptr)
             for index, room in zip(plans, rooms, strict=True)],
        )  # fmt: skip
        self.index, self.workspace, self.key = plans[found], rooms[found].size, ""


def _refused_notes(exact: bool) -> list[Any]:
    """What plans may not do: add in an order that depends on timing; and, where `exact`, round
    more than float32 does."""
    notes = import_module("cudnn").numerical_note
    names = ["NONDETERMINISTIC"]
    if exact:
        names += [
            "TENSOR_CORE", "DOWN_CONVERT_INPUTS", "REDUCED_PRECISION_REDUCTION", "FFT",
            "WINOGRAD", "WINOGRAD_TILE_4x4", "WINOGRAD_TILE_6x6", "WINOGRAD_TILE_13x13",
        ]  # fmt: skip
    return [getattr(notes, name) for name in names if hasattr(notes, name)]
