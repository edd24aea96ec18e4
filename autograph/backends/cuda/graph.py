"""Recorded CUDA graphs, in which the counters of a library's products are cleared together.

cublasLt hands out the tiles of a large product by a counter, which it clears before, and cuDNN the
pieces of attention: in a graph that is a node between two kernels, which wait for it. So in a
recording each of these launches has a counter of its own, and one node at the beginning clears all.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from functools import cache
from typing import Any
from weakref import finalize

from ...errors import KernelError

_COUNTER, _COUNT = 256, 256  # bytes of one, as memory is aligned; and how many a recording has
_MEMSET = 2  # CUgraphNodeType


class _Memset(ctypes.Structure):
    """CUDA_MEMSET_NODE_PARAMS"""

    _fields_ = [
        ("to", c_uint64),
        ("pitch", c_size_t),
        ("value", c_uint32),
        ("item", c_uint32),
        ("width", c_size_t),
        ("height", c_size_t),
    ]


class Counters:
    """Memory for the counters of one recording."""

    def __init__(self) -> None:
        from cupy.cuda import Memory

        self.memory, self.taken = Memory(_COUNTER * _COUNT), 0

    def take(self, size: int) -> int | None:
        """The address of another one, while there are any."""
        if not 0 < size <= _COUNTER or self.taken == _COUNT:
            return None
        self.taken += 1
        return int(self.memory.ptr) + _COUNTER * (self.taken - 1)

    def index(self, memset: _Memset) -> int | None:
        """Which of them is cleared."""
        index: int = (memset.to - int(self.memory.ptr)) // _COUNTER
        return index if 0 <= index < self.taken and not memset.value else None


class Graph:
    """What a stream has recorded, ready to be launched."""

    def __init__(self, handle: int, counters: Counters) -> None:
        from cupy.cuda import runtime

        self._counters = counters
        try:
            if counters.taken:
                _clear_at_once(handle, counters)
            self._ready = runtime.graphInstantiate(handle)
        finally:
            runtime.graphDestroy(handle)
        self._launch = runtime.graphLaunch
        finalize(self, runtime.graphExecDestroy, self._ready).atexit = False

    def launch(self, stream: Any) -> None:
        """Do it all, after what the stream has been asked before."""
        self._launch(self._ready, stream.ptr)


def _clear_at_once(graph: int, counters: Counters) -> None:
    """Take the nodes that clear one counter out of a graph, and put one before all others."""
    driver = _driver()
    if driver is None:
        return
    before: dict[int, list[int]] = {node: [] for node in _nodes(driver, graph)}
    after: dict[int, list[int]] = {node: [] for node in before}
    for start, end in _edges(driver, graph):
        before[end].append(start)
        after[start].append(end)
    clearing: dict[int, list[int]] = {}
    for node in before:
        index = _cleared(driver, node, counters)
        if index is not None:
            clearing.setdefault(index, []).append(node)
    for node, *again in clearing.values():  # what is cleared once more in between stays as it is
        if not again and len(before[node]) == len(after[node]) == 1:
            _link(driver, graph, *before[node], *after[node])
            _call(driver, "cuGraphDestroyNode", c_void_p(node))
    first, context = c_void_p(), c_void_p()
    _call(driver, "cuCtxGetCurrent", byref(context))
    whole = _Memset(int(counters.memory.ptr), 0, 0, 1, _COUNTER * counters.taken, 1)
    _call(
        driver, "cuGraphAddMemsetNode", byref(first), c_void_p(graph), None, c_size_t(0),
        byref(whole), context,
    )  # fmt: skip
    for node, behind in before.items():
        if not behind:
            _link(driver, graph, int(first.value or 0), node)


def _cleared(driver: Any, node: int, counters: Counters) -> int | None:
    """Which counter a node clears."""
    kind, memset = c_int(), _Memset()
    _call(driver, "cuGraphNodeGetType", c_void_p(node), byref(kind))
    if kind.value != _MEMSET:
        return None
    _call(driver, "cuGraphMemsetNodeGetParams", c_void_p(node), byref(memset))
    return counters.index(memset)


def _nodes(driver: Any, graph: int) -> list[int]:
    count = c_size_t()
    _call(driver, "cuGraphGetNodes", c_void_p(graph), None, byref(count))
    found = (c_void_p * count.value)()
    _call(driver, "cuGraphGetNodes", c_void_p(graph), found, byref(count))
    return [each for each in found if each is not None]


def _edges(driver: Any, graph: int) -> list[tuple[int, int]]:
    count = c_size_t()
    _call(driver, "cuGraphGetEdges_v2", c_void_p(graph), None, None, None, byref(count))
    starts, ends = (c_void_p * count.value)(), (c_void_p * count.value)()
    kinds = (c_uint64 * count.value)()
    _call(driver, "cuGraphGetEdges_v2", c_void_p(graph), starts, ends, kinds, byref(count))
    return [(int(start or 0), int(end or 0)) for start, end in zip(starts, ends, strict=True)]


def _link(driver: Any, graph: int, start: int, end: int) -> None:
    _call(
        driver, "cuGraphAddDependencies_v2", c_void_p(graph), (c_void_p * 1)(start),
        (c_void_p * 1)(end), None, c_size_t(1),
    )  # fmt: skip


@cache
def _driver() -> Any:
    """The driver's library; None where it is older than these calls (CUDA 12.3)."""
    driver = ctypes.CDLL("libcuda.so.1")
    return driver if hasattr(driver, "cuGraphGetEdges_v2") else None


def _call(driver: Any, name: str, *arguments: Any) -> None:
    status = getattr(driver, name)(*arguments)
    if status:
        raise KernelError(f"CUDA: {name}: status {status}")
