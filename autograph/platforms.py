"""The kinds of device there are: the host, NVIDIA's through CuPy, and what others register.

A platform knows how arrays get there and back. It knows nothing of ops.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from .errors import MemoryLimitError

Array = Any  # numpy.ndarray, cupy.ndarray, or what another platform owns


class Platform(Protocol):
    """One kind of device: `name` is the part of a device's name before the colon.

    A platform may have `around(kernel, index)` too: the kernel as it is called there, say on a
    stream.
    """

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

    move = put

    def get(self, array: Array) -> np.ndarray[Any, Any]:
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


class LazyPlatform:
    """A platform in a module of its own, which is imported when it is first asked something."""

    def __init__(self, name: str, module: str, array_type: str) -> None:
        self.name, self._module = name, module
        self._package, self._class = array_type.split(".")

    def owns(self, array_type: type) -> bool:
        """Asked of every new type: answered without the module."""
        package = sys.modules.get(self._package)
        return package is not None and issubclass(array_type, getattr(package, self._class))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        platform = import_module(self._module, __package__).PLATFORM
        for each in dir(Platform):
            if not each.startswith("_") and each not in ("name", "owns"):
                setattr(self, each, getattr(platform, each))
        return getattr(platform, name)


PLATFORMS: dict[str, Platform] = {
    "host": HostPlatform(),
    "cuda": LazyPlatform("cuda", ".backends.cuda.platform", "cupy.ndarray"),
}


def register_platform(platform: Platform) -> None:
    """Make another kind of device known by its name."""
    PLATFORMS[platform.name] = platform
