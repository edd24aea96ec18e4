"""Sums over ranks on CUDA devices, by NCCL: on a stream of its own, beside backward.

NCCL's order of adding follows from how the devices are linked, not from who comes first: equal
runs have equal bits, and so have all ranks. The library is the one of the wheel nvidia-nccl-cu12 or
-cu13, which CuPy uses as well, or the system's.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..device import Device
from ..errors import DeviceError
from ..scalar_type import BF16, F16, F32, F64, ScalarType
from .host import Bucket, Parts

if TYPE_CHECKING:
    from .world import World

TYPES = {F16: 6, F32: 7, F64: 8, BF16: 9}  # ncclDataType_t
BYTES = 1
SUM, AVERAGE = 0, 4  # ncclRedOp_t
FIRST = -5  # the highest priority of a stream
ALIGNMENT = 32  # numbers, so that they are moved 16 bytes at a time


class _Id(ctypes.Structure):
    _fields_ = [("internal", ctypes.c_byte * 128)]


@cache
def library() -> Any:
    """libnccl, with the types of what is called."""
    # Recorded sums and others follow each other on one stream: NCCL need not see to that itself.
    os.environ.setdefault("NCCL_GRAPH_MIXING_SUPPORT", "0")
    spec = find_spec("nvidia.nccl") if find_spec("nvidia") is not None else None
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    names = [str(Path(each) / "lib" / "libnccl.so.2") for each in folders] + ["libnccl.so.2"]
    for name in names:
        try:
            found = ctypes.CDLL(name)
            break
        except OSError as error:
            said = error
    else:
        raise DeviceError(
            f"parallel: several CUDA devices need NCCL, which is not there\n  {said}\n"
            f"  for CUDA 13  pip install 'autograph-nn[nccl13]'\n"
            f"  for CUDA 12  pip install 'autograph-nn[nccl12]'"
        )
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    common: list[Any]
    found.ncclGetErrorString.restype = ctypes.c_char_p
    found.ncclGetUniqueId.argtypes = [pointer]
    found.ncclCommInitRank.argtypes = [pointer, ctypes.c_int, _Id, ctypes.c_int]
    common = [ctypes.c_int, pointer, pointer]
    found.ncclAllReduce.argtypes = [pointer, pointer, size, ctypes.c_int, *common]
    found.ncclReduceScatter.argtypes = found.ncclAllReduce.argtypes
    found.ncclAllGather.argtypes = [pointer, pointer, size, *common]
    return found


def _checked(code: int) -> None:
    if code:
        raise DeviceError(f"NCCL: {library().ncclGetErrorString(code).decode()}")


class Communicator:
    """The devices of all ranks, and the stream on which they talk."""

    def __init__(self, comm: Any, device: Device) -> None:
        from cupy.cuda import Device as CudaDevice
        from cupy.cuda import Stream

        identity = _Id()
        if comm.rank == 0:
            _checked(library().ncclGetUniqueId(ctypes.byref(identity)))
        comm.Bcast(np.frombuffer(memoryview(identity), np.uint8))
        self.device, self._handle = device, ctypes.c_void_p()
        with CudaDevice(device.index):
            # first in line: a sum that waits for room on the device holds up the other ranks
            self.stream = Stream(non_blocking=True, priority=FIRST)
            _checked(
                library().ncclCommInitRank(
                    ctypes.byref(self._handle), comm.size, identity, comm.rank
                )
            )

    def add(self, array: Any, sums: Any, average: bool, stream: Any) -> None:
        """The sum, or average, over the ranks: of all of the array in place, or in this rank's part
        of it."""
        call = library().ncclAllReduce if sums is array else library().ncclReduceScatter
        kind, how = TYPES[ScalarType.of(array)], AVERAGE if average else SUM
        at, to = array.data.ptr, sums.data.ptr
        _checked(call(at, to, sums.size, kind, how, self._handle, stream.ptr))

    def gather(self, mine: Any, whole: Any, stream: Any) -> None:
        """The arrays of all ranks, one behind the other, in place."""
        _checked(
            library().ncclAllGather(
                mine.data.ptr, whole.data.ptr, mine.nbytes, BYTES, self._handle, stream.ptr
            )
        )


class DeviceBucket(Bucket):
    """Numbers of this rank on its device."""

    def __init__(
        self,
        world: World,
        ranks: Communicator,
        size: int,
        device: Device,
        dtype: np.dtype[Any],
        average: bool,
        parts: bool,
    ) -> None:
        from cupy.cuda import Event

        super().__init__(size, device, dtype)
        self.world, self.ranks, self.average = world, ranks, average
        if parts:  # of equal sizes
            self.first = world.rank * (size // world.size)
            self.sums = self.flat[self.first : self.first + size // world.size]
        self._copies: dict[Any, Any] = {}
        self._ready, self._done = (Event(block=False, disable_timing=True) for _ in range(2))

    def begin(self, arrays: Sequence[Any]) -> None:
        """Pack on the stream of the device, add on that of the ranks."""
        from ..backends.cuda.stream import stream_of
        from .cuda_copy import copying

        self.world.enter("the sum of gradients")
        kind = arrays[0].dtype
        copy = self._copies.get(kind)
        if copy is None:
            copy = copying([each.size for each in arrays], kind, self.dtype)
            self._copies[kind] = copy
        start, width = self.flat.data.ptr, self.dtype.itemsize
        copy([start + at * width for at in self.places], [each.data.ptr for each in arrays])
        self._ready.record(stream_of(self.ranks.device.index))
        self.ranks.stream.wait_event(self._ready)
        self.ranks.add(self.flat, self.sums, self.average, self.ranks.stream)
        self._done.record(self.ranks.stream)

    def end(self, flat: Any = None) -> None:
        """Let the stream of the device wait for the sum."""
        from ..backends.cuda.stream import stream_of

        stream_of(self.ranks.device.index).wait_event(self._done)


class DeviceParts(Parts):
    """Arrays on a device of which each rank has some numbers."""

    def __init__(
        self, world: World, ranks: Communicator, pieces: Any, device: Device, dtype: np.dtype[Any]
    ) -> None:
        from .cuda_copy import copying

        super().__init__(pieces, world.rank, device, dtype, ALIGNMENT)
        self.world, self.ranks, self._width = world, ranks, dtype.itemsize
        self._give, self._take = (
            copying([end - first for _, first, end, _ in moves], dtype, dtype)
            for moves in (self._given, self._taken)
        )

    def exchange(self, *arrays: Any) -> None:
        from ..backends.cuda.stream import stream_of

        self.world.enter("the exchange of parameters")
        start, width = self.whole.data.ptr, self._width
        at = [each.data.ptr for each in arrays]
        here, there = (
            ([at[i] + first * width for i, first, _, _ in moves],
             [start + to * width for *_, to in moves])
            for moves in (self._given, self._taken)
        )  # fmt: skip
        self._give(here[1], here[0])
        self.ranks.gather(self.mine, self.whole, stream_of(self.ranks.device.index))
        self._take(*there)
