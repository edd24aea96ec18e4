"""Kernels as Python callables: compiled for the device at hand, loaded once, then launched."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import addressof, c_uint64, c_void_p
from functools import cache, cached_property, partial
from pathlib import Path
from struct import Struct
from threading import local
from typing import Any

import numpy as np

from . import stream
from .compile import Constant, compile_kernel

NULL = np.uint64(0)  # no array: CuPy would follow None

_SHARED_LIMIT = 48 * 1024  # bytes a kernel may use before it has to ask
_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8  # CUfunction_attribute

_loaded: dict[Any, Any] = {}  # functions by device and kernel


class Kernel:
    """One kernel of a source file with its constants: `kernel(blocks, *arguments)`.

    Blocks are a number or a tuple of up to three. Arguments are CuPy arrays, NumPy scalars,
    and Python floats (double); of a kernel that takes one struct by value (`struct=True`) a
    ctypes array with its words. It runs on the current stream of the current device.
    """

    __slots__ = ("_functions", "constants", "name", "shared", "source", "struct", "threads")

    def __init__(
        self,
        source: Path | str,
        name: str,
        constants: dict[str, Constant],
        *,
        threads: int = 256,
        shared: int = 0,
        struct: bool = False,
    ) -> None:
        self.source, self.name, self.constants = source, name, constants
        self.threads, self.shared, self.struct = (threads,), shared, struct
        self._functions: dict[int, Any] = {}  # by device

    def __call__(self, blocks: int | tuple[int, ...], *arguments: Any) -> None:
        if self.struct:
            self.bound(blocks, *arguments)()
            return
        grid = blocks if isinstance(blocks, tuple) else (blocks,)
        self._function()(grid, self.threads, arguments, self.shared)

    def bound(self, blocks: int | tuple[int, ...], words: Any) -> Callable[[], None]:
        """What launches it with a struct, as its words are then."""
        grid = blocks if isinstance(blocks, tuple) else (blocks,)
        launch: Callable[[], None] = self._function()(grid, self.threads, words, self.shared)
        return launch

    def _function(self) -> Any:
        device = stream.current_device()
        function = self._functions.get(device)
        if function is None:
            function = self._functions[device] = self._load(device)
        return function

    def _load(self, device: int) -> Any:
        """The kernel's function on a device: equal kernels share it, and it stays loaded, because
        a recording may launch it after this object is gone."""
        from cupy.cuda import driver
        from cupy.cuda.function import Module

        key = device, self.source, self.name, repr(self.constants), self.shared
        if key in _loaded:
            return _loaded[key]
        name, code = compile_kernel(
            self.source, self.name, self.constants, device_architecture(device)
        )
        module = Module()
        module.load(code)
        function = module.get_function(name)
        if self.shared > _SHARED_LIMIT:
            driver.funcSetAttribute(function.ptr, _MAX_DYNAMIC_SHARED_SIZE_BYTES, self.shared)
        return _loaded.setdefault(key, _of_struct(function) if self.struct else function)

    def __repr__(self) -> str:
        return f"Kernel({self.name}, {self.constants})"


def _of_struct(function: Any) -> Any:
    """What makes launches of a CuPy function that takes one struct by value, which CuPy does not
    pass."""
    from cupy.cuda import driver

    def bound(grid: tuple[int], threads: tuple[int], words: Any, shared: int) -> Any:
        place = c_void_p(addressof(words))
        launch: Any = partial(
            driver.launchKernel, function.ptr, *grid, 1, 1, *threads, 1, 1, shared,
            stream.current_stream().ptr, addressof(place), 0,
        )  # fmt: skip
        launch.reads = words, place
        return launch

    return bound


class Launch(local):
    """The launch of so many blocks of a kernel that takes one struct by value, again and again on
    one device: `pack` its words, in this format, then `run` it. Each thread has its own struct.
    """

    def __init__(self, kernel: Kernel, blocks: int, form: str) -> None:
        form_of = Struct(form)
        self._made_of = kernel, blocks, (c_uint64 * (form_of.size // 8))()
        self.pack = partial(form_of.pack_into, self._made_of[2], 0)

    @cached_property
    def run(self) -> Callable[[], None]:
        """The launch on the device that is current when it is first asked for."""
        kernel, blocks, words = self._made_of
        return kernel.bound(blocks, words)


def aligned(array: Any) -> Any:
    """The array, or a copy where it does not begin between accesses of 16 bytes."""
    return array if array.data.ptr % 16 == 0 else array.copy()


@cache
def device_architecture(device: int) -> int:
    """The compute capability of a device, 90 for 9.0."""
    from cupy.cuda import Device

    return int(Device(device).compute_capability)


def divide_up(a: int, b: int) -> int:
    """The number of parts of size `b` that hold `a`."""
    return -(-a // b)


def number(value: int) -> np.int32:
    """A size as a kernel takes it."""
    assert value < 2**31, f"{value} is too large for one launch"
    return np.int32(value)


def offset_type(size: int) -> np.dtype[np.signedinteger[Any]]:
    """The type that reaches every place of an array: int32 where that is enough."""
    return np.dtype(np.int32 if size < 2**31 - 2**20 else np.int64)  # a grid may overshoot
