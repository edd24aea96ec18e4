"""The kinds of device there are: the host, NVIDIA's through CuPy, and what others register.

A platform knows how arrays get there and back. It knows nothing of ops.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Protocol

import numpy as np

from .errors import DeviceError, MemoryLimitError

Array = Any  # numpy.ndarray, cupy.ndarray, or what another platform owns


class Platform(Protocol):
    """One kind of device: `name` is the part of a device's name before the colon."""

    name: str

    def owns(self, array_type: type) -> bool:
        """Whether arrays of this Python type live here."""

    def index_of(self, array: Array) -> int: ...

    def check(self, index: int) -> None:
        """Raise DeviceError, with the remedy, unless device `index` can be used."""

    def put(self, array: np.ndarray[Any, Any], index: int) -> Array:
        """A copy of a host array on device `index` (the host: the array itself)."""

    def get(self, array: Array) -> np.ndarray[Any, Any]:
        """The values on the host: waits for the device."""

    def move(self, array: Array, index: int) -> Array:
        """The array on another device of this platform."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], index: int) -> Array: ...

    def cast(self, array: Array, dtype: np.dtype[Any]) -> Array:
        """A contiguous copy with another scalar type."""

    def contiguous(self, array: Array) -> Array:
        """The array in C order, itself if it is so already."""

    def synchronize(self, index: int) -> None: ...

    def memory(self, index: int) -> tuple[int, int]:
        """Free and total bytes."""

    def describe(self, index: int) -> dict[str, str]:
        """What a person wants to know of the device, by heading."""

    def count(self) -> int:
        """How many devices there are."""


class HostPlatform:
    """NumPy arrays in the memory of this process."""

    name = "host"

    def owns(self, array_type: type) -> bool:
        return issubclass(array_type, np.ndarray | np.generic)

    def index_of(self, array: Array) -> int:
        return 0

    def check(self, index: int) -> None:
        pass

    def put(self, array: np.ndarray[Any, Any], index: int) -> Array:
        return array

    def get(self, array: Array) -> np.ndarray[Any, Any]:
        return array  # type: ignore[no-any-return]

    def move(self, array: Array, index: int) -> Array:
        return array

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], index: int) -> Array:
        try:
            return np.empty(shape, dtype)
        except MemoryError:
            size = int(np.prod(shape, dtype=np.float64)) * dtype.itemsize
            raise MemoryLimitError(
                f"host: no memory for {size:,} bytes, a {dtype} array of shape {shape}\n"
                f"  use a smaller batch"
            ) from None

    def cast(self, array: Array, dtype: np.dtype[Any]) -> Array:
        with np.errstate(all="ignore"):
            return array.astype(dtype, order="C")

    def contiguous(self, array: Array) -> Array:
        return array if array.flags.c_contiguous else array.copy()

    def synchronize(self, index: int) -> None:
        pass

    def memory(self, index: int) -> tuple[int, int]:
        page = os.sysconf("SC_PAGE_SIZE")
        return os.sysconf("SC_AVPHYS_PAGES") * page, os.sysconf("SC_PHYS_PAGES") * page

    def describe(self, index: int) -> dict[str, str]:
        import platform

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return {"name": platform.processor() or platform.machine(), "cores": str(cores)}

    def count(self) -> int:
        return 1


class CudaPlatform:
    """CuPy arrays on NVIDIA devices. CuPy is imported when a device is first used."""

    name = "cuda"

    def owns(self, array_type: type) -> bool:
        cupy = sys.modules.get("cupy")
        return cupy is not None and issubclass(array_type, cupy.ndarray)

    def index_of(self, array: Array) -> int:
        return int(array.device.id)

    def check(self, index: int) -> None:
        count = self._cupy().cuda.runtime.getDeviceCount()
        if index >= count:
            have = ", ".join(f"cuda:{i}" for i in range(count))
            raise DeviceError(
                f"Device: cuda:{index} is not there\n  devices    {have}\n  write one of these"
            )

    def put(self, array: np.ndarray[Any, Any], index: int) -> Array:
        cupy = self._cupy()
        with cupy.cuda.Device(index):
            try:
                return cupy.asarray(np.ascontiguousarray(array).reshape(array.shape))
            except cupy.cuda.memory.OutOfMemoryError:
                raise self._no_memory(array.nbytes, index) from None

    def get(self, array: Array) -> np.ndarray[Any, Any]:
        return np.asarray(array.get())

    def move(self, array: Array, index: int) -> Array:
        cupy = self._cupy()
        with cupy.cuda.Device(index):
            return cupy.asarray(array)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], index: int) -> Array:
        cupy = self._cupy()
        with cupy.cuda.Device(index):
            try:
                return cupy.empty(shape, dtype)
            except cupy.cuda.memory.OutOfMemoryError:
                raise self._no_memory(int(np.prod(shape)) * dtype.itemsize, index) from None

    def cast(self, array: Array, dtype: np.dtype[Any]) -> Array:
        return array.astype(dtype, order="C")

    def contiguous(self, array: Array) -> Array:
        return self._cupy().ascontiguousarray(array).reshape(array.shape)

    def synchronize(self, index: int) -> None:
        self._cupy().cuda.Device(index).synchronize()

    def memory(self, index: int) -> tuple[int, int]:
        free, total = self._cupy().cuda.Device(index).mem_info
        return int(free), int(total)

    def describe(self, index: int) -> dict[str, str]:
        runtime = self._cupy().cuda.runtime
        properties = runtime.getDeviceProperties(index)
        return {
            "name": properties["name"].decode(),
            "compute capability": f"{properties['major']}.{properties['minor']}",
            "multiprocessors": str(properties["multiProcessorCount"]),
            "runtime": str(runtime.runtimeGetVersion()),
        }

    def count(self) -> int:
        try:
            return int(self._cupy().cuda.runtime.getDeviceCount())
        except DeviceError:
            return 0

    def _cupy(self) -> Any:
        """CuPy, once it is known to be there and to see a device."""
        cupy = sys.modules.get("cupy")
        if cupy is not None and _checked[:1] == [os.getpid()]:
            return cupy
        if _checked and _checked[0] != os.getpid():
            raise DeviceError(
                "Device: this process was forked after a device was used, and CUDA does not "
                "survive a fork\n  start workers with  multiprocessing.get_context('spawn')"
            )
        try:
            import cupy
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

    def _no_memory(self, size: int, index: int) -> MemoryLimitError:
        cupy = self._cupy()
        cupy.get_default_memory_pool().free_all_blocks()
        free, total = cupy.cuda.Device(index).mem_info
        return MemoryLimitError(
            f"cuda:{index}: no memory for {size:,} bytes\n"
            f"  free   {free:,} of {total:,} bytes, after the pool was emptied\n"
            f"  use a smaller batch, or bf16"
        )


_checked: list[int] = []  # the process that found CuPy and a device

PLATFORMS: dict[str, Platform] = {"host": HostPlatform(), "cuda": CudaPlatform()}


def register_platform(platform: Platform) -> None:
    """Make another kind of device known by its name."""
    PLATFORMS[platform.name] = platform
