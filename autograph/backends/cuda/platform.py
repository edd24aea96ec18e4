"""CuPy arrays on NVIDIA devices. CuPy is imported when a device is first used.

Whatever is asked of a device is asked through its one stream (`stream.enter`), from any thread.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from math import prod
from typing import Any

import numpy as np

from ...errors import CaptureError, DeviceError, MemoryLimitError
from ...platforms import Array
from . import stream, words

_checked: list[int] = []  # the process that found CuPy and a device


class CudaPlatform:
    """The platform "cuda", as `autograph.platforms.Platform` says."""

    name = "cuda"

    def owns(self, array_type: type) -> bool:
        return issubclass(array_type, _cupy().ndarray)

    def index_of(self, array: Array) -> int:
        return int(array.data.device_id)

    def check(self, index: int) -> None:
        count = _cupy().cuda.runtime.getDeviceCount()
        if index >= count:
            have = ", ".join(f"cuda:{i}" for i in range(count))
            raise DeviceError(
                f"Device: cuda:{index} is not there\n  devices    {have}\n  write one of these"
            )

    def around(self, function: Callable[..., Any], index: int) -> Callable[..., Any]:
        """The function, called on the device's stream; out of memory it says so in our words."""
        no_memory = _cupy().cuda.memory.OutOfMemoryError
        enter = stream.enter

        def run(*arrays: Any, **settings: Any) -> Any:
            enter(index)
            try:
                return function(*arrays, **settings)
            except no_memory as error:
                refused = _no_memory(index, str(error))
            raise refused

        return run

    def put(self, array: np.ndarray[Any, Any], index: int) -> Array:
        """A copy there. One number is a launch that carries it, which a recording freezes."""
        placed = self.empty(array.shape, array.dtype, index)
        if array.size == 1:
            from .pointwise import fill

            fill(placed, array)
        elif array.size:
            _refuse_in_recording(index, "a host array is put on the device")
            placed.set(np.ascontiguousarray(array).reshape(array.shape))
        return placed

    def get(self, array: Array) -> np.ndarray[Any, Any]:
        if isinstance(array, np.ndarray):
            return array
        index = self.index_of(array)
        _refuse_in_recording(index, "the host reads an array")
        stream.enter(index)
        values = np.asarray(array.get())
        words.check_faults(index)
        return values

    def move(self, array: Array, index: int) -> Array:
        source = self.index_of(array)
        if source == index:
            return array
        _refuse_in_recording(source, "an array moves between devices")
        whole = self.contiguous(array)
        placed = self.empty(whole.shape, whole.dtype, index)
        stream.wait_for(index, source)
        stream.enter(index)
        placed.data.copy_from_device_async(whole.data, whole.nbytes)
        stream.wait_for(source, index)  # its memory is not reused before it has been read
        return placed

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], index: int) -> Array:
        cupy = _cupy()
        stream.enter(index)
        try:
            return cupy.empty(shape, dtype)
        except cupy.cuda.memory.OutOfMemoryError as error:
            refused = _no_memory(index, str(error), prod(shape) * dtype.itemsize)
        raise refused

    def cast(self, array: Array, dtype: np.dtype[Any]) -> Array:
        from .arrange import arranged

        return self.around(arranged, self.index_of(array))(array, dtype)

    def contiguous(self, array: Array) -> Array:
        from .arrange import arranged

        if array.flags.c_contiguous:
            return array
        return self.around(arranged, self.index_of(array))(array)

    def synchronize(self, index: int) -> None:
        _cupy()
        _refuse_in_recording(index, "the host waits for the device")
        stream.stream_of(index).synchronize()
        words.check_faults(index)

    def memory(self, index: int) -> tuple[int, int]:
        free, total = _cupy().cuda.Device(index).mem_info
        return int(free), int(total)

    def describe(self, index: int) -> dict[str, str]:
        runtime = _cupy().cuda.runtime
        properties = runtime.getDeviceProperties(index)
        return {
            "name": properties["name"].decode(),
            "compute capability": f"{properties['major']}.{properties['minor']}",
            "multiprocessors": str(properties["multiProcessorCount"]),
            "runtime": str(runtime.runtimeGetVersion()),
        }

    def count(self) -> int:
        try:
            return int(_cupy().cuda.runtime.getDeviceCount())
        except DeviceError:
            return 0


PLATFORM = CudaPlatform()


def _cupy() -> Any:
    """CuPy, once it is known to be there and to see a device."""
    cupy: Any = sys.modules.get("cupy")
    if cupy is not None and _checked[:1] == [os.getpid()]:
        return cupy
    if _checked and _checked[0] != os.getpid():
        raise DeviceError(
            "Device: this process was forked after a device was used, and CUDA does not "
            "survive a fork\n  start workers with  multiprocessing.get_context('spawn')"
        )
    try:
        cupy = import_module("cupy")
    except ImportError as error:
        raise DeviceError(
            f"Device: a CUDA device needs CuPy, which cannot be imported ({error})\n"
            "  for CUDA 13  pip install 'autograph-nn[cuda13]'\n"
            "  for CUDA 12  pip install 'autograph-nn[cuda12]'"
        ) from None
    if not cupy.is_available():
        raise DeviceError(
            f"Device: CuPy {cupy.__version__} is installed, but sees no CUDA device\n"
            "  check  nvidia-smi  and that the driver is not older than the CUDA of the wheel"
        )
    _checked.append(os.getpid())
    return cupy


def _refuse_in_recording(index: int, what: str) -> None:
    if stream.is_recording(index):
        raise CaptureError(f"{what}\n  a recorded step cannot do that")


def _no_memory(index: int, said: str, size: int | None = None) -> MemoryLimitError:
    """The error, once memory that is free but kept for later has been given back."""
    cupy = _cupy()
    cupy.get_default_memory_pool().free_all_blocks()
    free, total = cupy.cuda.Device(index).mem_info
    wanted = f"{size:,} bytes" if size is not None else _size_in(said)
    return MemoryLimitError(
        f"cuda:{index}: no memory for {wanted}\n"
        f"  free   {free:,} of {total:,} bytes, after the pool was emptied\n"
        f"  use a smaller batch, or bf16"
    )


def _size_in(said: str) -> str:
    """The size that CuPy's message names: "Out of memory allocating 1,024 bytes (...)"."""
    before, found, rest = said.partition("allocating ")
    return rest.split(" (")[0] if found else "an array"
