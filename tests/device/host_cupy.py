"""A CuPy without a GPU: one device whose memory is the host's, and whose kernels, compiled as C++,
run there thread by thread. What it shows is that kernels are right, and nothing of their speed.

`installed()` puts it where `import cupy` finds it.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from autograph.backends import CUDA, CUPY
from autograph.backends.cuda import compile as compiler
from autograph.backends.cuda import launch
from autograph.platforms import HostPlatform

HERE = Path(__file__).parent
# Without unique symbols: kernels of one name would share their shared memory. What is read at a
# place that is no multiple of its size ends the process, as on a device.
FLAGS = [
    "-std=c++17", "-O1", "-w", "-fpermissive", "-ffp-contract=off", "-fno-gnu-unique",
    "-fsanitize=alignment", "-fsanitize-undefined-trap-on-error",
]  # fmt: skip
INLINE = {  # what is written for the device's own instructions
    'asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));': "y = from_f16(x.bits);",
    'asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(float(x)));':
        "y.bits = rounded_to_bf16(float(x));",
    'asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(float(x)));':
        "y.bits = rounded_to_f16(float(x));",
    'asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(rest) : "f"(least));': "rest = exp2f(least);",
    'asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(share) : "f"(1 + rest));': "share = 1 / (1 + rest);",
}  # fmt: skip
RUN = """
static void** given;
static void body() { call_kernel(KERNEL<Spec>, given); is_done[running] = 1; }
extern "C" void run(const int* grid, int threads, int shared, void** words, bool reverse) {
    given = words;
    run_grid(grid, threads, shared, reverse, body);
}
"""
in_reverse = False  # the order in which threads take turns


def missing() -> str:
    """Why it cannot be used; empty where it can."""
    if sys.platform != "linux" or shutil.which("g++") is None:
        return "kernels run on the host where there is Linux and g++"
    return "CuPy is installed: kernels run on the device" if find_spec("cupy") else ""


class Pointer:
    """Where an array lies."""

    device_id = 0

    def __init__(self, array: Any) -> None:
        self._array, self.ptr = array, array.ctypes.data


class ndarray(np.ndarray):  # as CuPy calls it
    """An array of the device."""

    def __new__(cls, shape: Any, dtype: Any = float, memptr: Any = None) -> ndarray:
        if memptr is not None:
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            memory = (ctypes.c_char * size).from_address(memptr.ptr)
            return np.frombuffer(memory, dtype).reshape(shape).view(cls)
        return empty(shape, dtype)

    @property
    def data(self) -> Any:
        return Pointer(self)

    def set(self, values: Any) -> None:
        self[...] = values


def empty(shape: Any, dtype: Any = float) -> Any:
    """Memory that begins at a multiple of 256 bytes, as the device's does; NaN."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    whole = np.full(size + 512, 0xFF, np.uint8)
    first = -whole.ctypes.data % 256
    return whole[first : first + size].view(dtype).reshape(shape).view(ndarray)


def zeros(shape: Any, dtype: Any = float) -> Any:
    y = empty(shape, dtype)
    y[...] = 0
    return y


def placed(values: Any) -> Any:
    y = empty(np.shape(values), np.asarray(values).dtype)
    y[...] = values
    return y


def _load(self: Any, device: int) -> Any:
    """The kernel's function, compiled as C++."""
    text = (
        compiler.expand(self.source)
        if isinstance(self.source, Path)
        else compiler.expand_text(self.source)
    )
    for wanted, instead in INLINE.items():
        text = text.replace(wanted, instead)
    text = re.sub(r"extern __shared__ .*?(\w+)\[\];", r"auto* const \1 = shared_memory;", text)
    parts = (HERE / "host_cuda.h").read_text(), text, compiler.spec_text(self.constants)
    source = "\n".join([*parts, RUN.replace("KERNEL", self.name)])
    source = "\n".join(line for line in source.splitlines() if not line.startswith("#line"))
    folder = compiler.cache_folder() / "host"
    folder.mkdir(exist_ok=True)
    name = f"{self.name}-{hashlib.sha256((source + str(FLAGS)).encode()).hexdigest()[:24]}"
    library = folder / f"{name}.so"
    if not library.exists():
        path, made = folder / f"{name}-{os.getpid()}.cpp", folder / f"{name}-{os.getpid()}.so"
        path.write_text(source)
        command = ["g++", *FLAGS, "-shared", "-fPIC", "-o", made, path]
        found = subprocess.run(command, capture_output=True, text=True)
        assert found.returncode == 0, f"{self!r}\n{found.stderr[:3000]}"
        made.replace(library)
        path.unlink()
    run = ctypes.CDLL(str(library)).run

    def call(grid: Any, threads: Any, arguments: Any, shared: int) -> None:
        if self.struct:
            words = [ctypes.addressof(arguments[0])]
        else:
            kept = [_word(each) for each in arguments]
            words = [each.ctypes.data for each in kept]
        sizes = (ctypes.c_int * 3)(*grid, *[1] * (3 - len(grid)))
        run(sizes, threads[0], shared, (ctypes.c_void_p * len(words))(*words), in_reverse)

    return call


def _word(argument: Any) -> Any:
    """An argument as it lies in memory: of an array, where it is."""
    if isinstance(argument, ndarray):
        return np.array([argument.ctypes.data], np.uint64)
    return np.array([argument])


class _Stream:
    ptr = 1

    def use(self) -> None: ...
    def synchronize(self) -> None: ...


class _Device:
    compute_capability = "90"
    mem_info = (1 << 33, 1 << 34)

    def __init__(self, index: int = 0) -> None: ...
    def use(self) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *error: Any) -> None: ...


def _pinned(size: int) -> Any:
    memory = (ctypes.c_char * size)()
    memory.ptr = ctypes.addressof(memory)  # type: ignore[attr-defined]
    return memory


def module() -> ModuleType:
    """What `import cupy` gives."""
    stream = _Stream()
    found, cuda = ModuleType("cupy"), ModuleType("cupy.cuda")
    found.__spec__ = ModuleSpec("cupy", None)
    found.__dict__.update(
        ndarray=ndarray,
        empty=empty,
        zeros=zeros,
        asarray=placed,
        cuda=cuda,
        ascontiguousarray=lambda x: placed(x) if not x.flags.c_contiguous else x,
        broadcast_to=lambda x, shape: np.broadcast_to(x, shape, subok=True),
        is_available=lambda: True,
        __version__="host",
        __getattr__=lambda name: getattr(np, name),
    )
    cuda.__dict__.update(
        Device=_Device,
        Stream=lambda **settings: stream,
        get_current_stream=lambda: stream,
        device=SimpleNamespace(get_device_id=lambda: 0),
        stream=SimpleNamespace(get_current_stream=lambda: stream),
        runtime=SimpleNamespace(getDeviceCount=lambda: 1),
        memory=SimpleNamespace(OutOfMemoryError=MemoryError),
        MemoryPointer=lambda memory, offset: memory,
        UnownedMemory=lambda ptr, size, owner, device: SimpleNamespace(ptr=ptr, owner=owner),
        alloc_pinned_memory=_pinned,
    )
    return found


@contextmanager
def installed() -> Iterator[ModuleType]:
    """Within the block the device is there."""
    found = module()
    modules = {"cupy": found, "cupy.cuda": found.cuda}
    modules |= {f"cupy.cuda.{name}": getattr(found.cuda, name) for name in ("device", "stream")}
    owns, load, backends = HostPlatform.owns, launch.Kernel._load, (CUPY, CUDA)
    sys.modules.update(modules)
    HostPlatform.owns = lambda self, kind: owns(self, kind) and not issubclass(kind, ndarray)
    launch.Kernel._load = _load
    for backend in backends:
        vars(backend)["available"] = True
    try:
        yield found
    finally:
        for name in modules:
            del sys.modules[name]
        HostPlatform.owns, launch.Kernel._load = owns, load
        for backend in backends:
            del vars(backend)["available"]
