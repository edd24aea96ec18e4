"""A CuPy without a GPU: one device whose memory is the host's, and whose kernels, compiled as C++,
run there thread by thread. What it shows is that kernels are right, and nothing of their speed.

`installed()` puts it where `import cupy` finds it.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, SimpleNamespace
from typing import Any
from weakref import ref

import numpy as np
from numpy.lib.array_utils import byte_bounds

from autograph.backends import CUDA, CUPY
from autograph.backends.cuda import compile as compiler
from autograph.backends.cuda import launch
from autograph.platforms import HostPlatform

HERE = Path(__file__).parent
# Without unique symbols: kernels of one name would share their shared memory. What is read at a
# place that is no multiple of its size ends the process, as on a device.
FLAGS = [
    "-std=c++17", "-O1", "-w", "-fpermissive", "-ffp-contract=off", "-fno-gnu-unique", "-fPIC",
    "-fsanitize=alignment,bounds", "-fsanitize-undefined-trap-on-error",
    "-fsanitize=thread", "--param", "tsan-distinguish-volatile=1",  # host_machine.cpp is asked
]  # fmt: skip
INLINE = {  # what is written for the device's own instructions
    'asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));': "y = from_f16(x.bits);",
    'asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(float(x)));':
        "y.bits = rounded_to_bf16(float(x));",
    'asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(float(x)));':
        "y.bits = rounded_to_f16(float(x));",
    'asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(rest) : "f"(least));': "rest = exp2f(least);",
    'asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * log2e));': "y = exp2f(x * log2e);",
    'asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(share) : "f"(1 + rest));': "share = 1 / (1 + rest);",
    'asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));': "y = a > b || a != a ? a : b;",
}  # fmt: skip
COPIES = """
template <int bytes> APART void copy_async(void* to, const void* from) {
    copy_async(to, from, bytes, FROM);
}
constexpr bool has_bulk_copies = true;
APART void barrier_init(uint64* barrier, uint32 bytes) { barrier_init(barrier, bytes, FROM); }
APART void copy_bulk(void* to, const void* from, uint32 bytes, uint64* barrier) {
    copy_bulk(to, from, bytes, barrier, FROM);
}
APART void barrier_wait(uint64* barrier) { barrier_wait(barrier, FROM); }
"""
PRODUCT = """
APART void multiply_add(float* sum, uint32 a0, uint32 a1, uint32 a2, uint32 a3, uint32 b0,
                        uint32 b1) {
    const uint32 operands[] = {a0, a1, a2, a3, b0, b1};
    multiply_in_warp(sum, operands, FROM);
}
"""
RUN = """
static void** given;
APART static void kernel() { call_kernel(KERNEL<Spec>, given); }
extern "C" APART void run(const int* grid, int threads, int shared, void** words, unsigned order) {
    given = words;
    RUN_GRID(grid, threads, shared, order, kernel);
}
"""
orders = (0,)  # in which threads take turns: each launch runs in all, and to the same bits


def missing() -> str:
    """Why it cannot be used; empty where it can."""
    if sys.platform != "linux" or shutil.which("g++") is None:
        return "kernels run on the host where there is Linux and g++"
    return "CuPy is installed: kernels run on the device" if find_spec("cupy") else ""


_asked: dict[tuple[int, int], Any] = {}  # where arrays lie that were asked for it, the last at last


class Pointer:
    """Where an array lies."""

    device_id = 0

    def __init__(self, array: Any) -> None:
        self._array, self.ptr = array, array.ctypes.data
        owner, place = array, byte_bounds(array)
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        _asked.pop(place, None)
        _asked[place] = ref(owner)


def reached(words: list[int]) -> list[tuple[int, int]]:
    """Where the arrays lie that addresses point into."""
    for place in [place for place, owner in _asked.items() if owner() is None]:
        del _asked[place]
    latest = [place for place in reversed(_asked) if place[0] < place[1]]
    found = (next((place for place in latest if place[0] <= w < place[1]), None) for w in words)
    return [each for each in found if each is not None]


def merged(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those that overlap as one."""
    whole: list[tuple[int, int]] = []
    for low, high in sorted(places):
        if whole and low < whole[-1][1]:
            whole[-1] = whole[-1][0], max(high, whole[-1][1])
        else:
            whole.append((low, high))
    return whole


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

    def copy(self, order: str = "C") -> Any:
        return placed(self)


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


def _compiled(source: str, name: str, flags: list[str]) -> Path:
    """The library of a C++ text, compiled unless it was before."""
    folder = compiler.cache_folder() / "host"
    folder.mkdir(exist_ok=True)
    key = hashlib.sha256((source + str(flags)).encode()).hexdigest()[:24]
    library = folder / f"{name}-{key}.so"
    if not library.exists():
        with TemporaryDirectory(dir=folder) as place:
            path, part, made = (Path(place) / f"{name}.{end}" for end in ("cpp", "o", "so"))
            path.write_text(source)
            for command in ([*flags, "-c", "-o", part, path], ["-shared", "-o", made, part]):
                found = subprocess.run(["g++", *command], capture_output=True, text=True)
                assert found.returncode == 0, f"{name}\n{found.stderr[:3000]}"
            made.replace(library)
    return library


@cache
def machine() -> ctypes.CDLL:
    """What runs kernels: one for all of them."""
    source = (HERE / "host_machine.cpp").read_text()
    flags = ["-std=c++17", "-O2", "-fPIC", "-U_FORTIFY_SOURCE"]  # which refuses jumps to fibers
    library = _compiled(source, "machine", flags)
    found = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    found.end_watch.restype = ctypes.c_char_p
    return found


def built(source: str, name: str) -> ctypes.CDLL:
    """The library of a kernel's text."""
    machine()
    for wanted, instead in INLINE.items():
        source = source.replace(wanted, instead)
    for pattern, instead in (
        (r"__device__ inline uint32 shared_address.*?#endif", COPIES),
        (r"__device__ inline void multiply_add\(float\* .*?\n}", PRODUCT),
        (r"extern __shared__ [^;]*?(\w+)\[\];", r"auto* const \1 = shared_memory;"),
        (r"(?<=\n)#line [^\n]*", ""),
    ):
        source = re.sub(pattern, instead, source, flags=re.DOTALL)
    source = (HERE / "host_cuda.h").read_text() + source
    return ctypes.CDLL(str(_compiled(source, name, FLAGS)))


def launched(library: ctypes.CDLL, places: list[tuple[int, int]], *arguments: Any) -> None:
    """Run a kernel in every order; the arrays that it may touch lie at these places."""
    ends = [end for place in places for end in place]
    before = [ctypes.string_at(low, high - low) for low, high in places] if orders[1:] else []
    first: list[bytes] = []
    for order in orders:
        for (low, _), content in zip(places, before, strict=False):
            ctypes.memmove(low, content, len(content))
        machine().watch((ctypes.c_size_t * len(ends))(*ends), len(places))
        library.run(*arguments, order)
        seen = machine().end_watch().decode()
        assert not seen, f"{library._name}: {seen}"
        after = [ctypes.string_at(low, high - low) for low, high in places] if before else []
        first = first or after
        for a, b in zip(first, after, strict=True):
            assert a == b, f"{library._name}: other bits in order {order}"


def _load(self: Any, device: int) -> Any:
    """The kernel's function, compiled as C++."""
    is_file = isinstance(self.source, Path)
    text = compiler.expand(self.source) if is_file else compiler.expand_text(self.source)
    text = "\n".join([text, compiler.spec_text(self.constants), RUN.replace("KERNEL", self.name)])
    library = built(text, self.name)

    def call(grid: Any, threads: Any, arguments: Any, shared: int) -> None:
        if self.struct:
            words = [ctypes.addressof(arguments[0])]
            places = reached(np.frombuffer(arguments[0], np.uint64).tolist())
        else:
            kept = [_word(each) for each in arguments]
            words = [each.ctypes.data for each in kept]
            places = [byte_bounds(each) for each in arguments if isinstance(each, ndarray)]
        grid = (*grid, *[1] * (3 - len(grid)))
        fits = 0 < min(grid) and grid[0] < 2**31 and max(grid[1:]) < 2**16 and threads[0] <= 1024
        assert fits, f"{self!r}: no device launches {grid} blocks of {threads} threads"
        sizes = (ctypes.c_int * 3)(*grid)
        given = (ctypes.c_void_p * len(words))(*words)
        launched(library, merged(places), sizes, threads[0], shared, given)

    if not self.struct:
        return call
    return lambda grid, threads, words, shared: lambda: call(grid, threads, (words,), shared)


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


def _function(name: str) -> Any:
    """One of NumPy's, whose arrays are the device's."""
    found = getattr(np, name)
    if isinstance(found, (type, np.ufunc)) or not callable(found):
        return found

    def call(*arguments: Any, **settings: Any) -> Any:
        y = found(*arguments, **settings)
        return placed(y) if type(y) is np.ndarray else y

    return call


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
        __getattr__=_function,
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
