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

    def add(self, array: Any, average: bool, stream: Any) -> None:
        """The sum, or average, over the ranks, in place."""
        kind = TYPES[ScalarType.of(array)]
        at, how = array.data.ptr, AVERAGE if average else SUM
        _checked(
            library().ncclAllReduce(at, at, array.size, kind, how, self._handle, stream.ptr)
        )

    def gather(self, mine: Any, whole: Any, stream: Any) -> None:
        """The arrays of all ranks, one behind the other."""
        _checked(
            library().ncclAllGather(
                mine.data.ptr, whole.data.ptr, mine.nbytes, BYTES, self._handle, stream.ptr
            )
        )


def communicator(comm: Any, device: Device) -> Communicator:
    """A new one, of the ranks of an MPI communicator."""
    return Communicator(comm, device)


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
    ) -> None:
        from cupy.cuda import Event

        super().__init__(size, device, dtype)
        self.world, self.ranks, self.average = world, ranks, average
        self._packs: dict[Any, Any] = {}
        self._ready, self._done = (
            Event(block=False, disable_timing=True) for _ in range(2)
        )

    def begin(self, arrays: Sequence[Any]) -> None:
        """Pack on the stream of the device, add on that of the ranks."""
        from ..backends.cuda.stream import stream_of

        self.world.enter("the sum of gradients")
        kind = arrays[0].dtype
        run = self._packs.get(kind)
        if run is None:
            from .cuda_pack import packing

            sizes = [each.size for each in arrays]
            run = self._packs[kind] = packing(sizes, self.places, kind, self.dtype)
        run(self.flat, arrays)
        self._ready.record(stream_of(self.ranks.device.index))
        self.ranks.stream.wait_event(self._ready)
        self.ranks.add(self.flat, self.average, self.ranks.stream)
        self._done.record(self.ranks.stream)

    def end(self) -> None:
        """Let the stream of the device wait for the sum."""
        from ..backends.cuda.stream import stream_of

        stream_of(self.ranks.device.index).wait_event(self._done)


class DeviceParts(Parts):
    """Memory of which each rank writes a part, on its device."""

    def __init__(
        self, world: World, ranks: Communicator, size: int, device: Device, dtype: np.dtype[Any]
    ) -> None:
        super().__init__(size, world.size, device, dtype)
        self.world, self.ranks = world, ranks

    def collect(self) -> None:
        from ..backends.cuda.stream import stream_of

        self.world.enter("the exchange of parameters")
        self.ranks.gather(self.mine, self.whole, stream_of(self.ranks.device.index))
