"""The generated kernels of a chain on the host: compiled as C++, run thread by thread."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from autograph.backends.cuda import compile as compiler
from autograph.ops.chain import cuda_kernels
from autograph.ops.chain.configure import scalar_kernel
from autograph.ops.chain.matrix import Matrix
from autograph.ops.chain.second import Second
from autograph.ops.chain.stages import parse
from autograph.ops.chain.tiles import Block
from autograph.scalar_type import BF16

from . import host_cupy

HERE = Path(__file__).parent
SOURCES = Path(cuda_kernels.__file__).parent
FLAGS = [*host_cupy.FLAGS, "-shared", "-fPIC"]
GUARD = 64  # numbers around every array that a kernel writes, which have to stay

COPIES = """
template <int bytes> inline void copy_async(void* to, const void* from) { memcpy(to, from, bytes); }
inline void copies_wait() {}
constexpr bool has_bulk_copies = true;
inline void barrier_init(uint64* barrier, uint32 bytes) { *barrier = bytes; }
inline void copy_bulk(void* to, const void* from, uint32 bytes, uint64* barrier) {
    memcpy(to, from, bytes);
    *barrier -= bytes;
}
inline void barrier_wait(uint64* barrier) { if (*barrier) abort(); }
inline float larger(float a, float b) { return a > b || a != a ? a : b; }
"""
ROUND = 'asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(float(x)));'
SCALARS = {np.dtype("f4"): "float", BF16.dtype: "bf16"}
RUN = """
static const void* given;
static void body() { KERNEL<Spec>(*(const GIVEN<Spec>*)given); is_done[running] = 1; }
extern "C" void run(int blocks, int threads, int shared, const void* words, bool reverse) {
    given = words;
    const int grid[] = {blocks, 1, 1};
    run_grid(grid, threads, shared, reverse, body);
}
"""


def available() -> bool:
    return shutil.which("g++") is not None


def built(
    folder: Path, kernel: str, templates: str, sizes: str, text: str, spec: dict[str, Any]
) -> Any:
    """The library of a kernel, in a folder of its own chain."""
    seen = {SOURCES / "copies.cuh", SOURCES / "machine.cuh"}
    scalar = compiler._expand(compiler.HEADERS / "scalar.cuh", seen)
    scalar = scalar.replace(ROUND, "y.bits = rounded_to_bf16(float(x));")
    parts = [
        (HERE / "host_cuda.h").read_text(), scalar, sizes, COPIES,
        compiler._expand(SOURCES / templates, seen), text, compiler.spec_text(spec),
        RUN.replace("KERNEL", kernel.rstrip("012"))
        .replace("GIVEN", "Given" if kernel == "first" else "Table"),
    ]  # fmt: skip
    lines = [line for line in "\n".join(parts).splitlines() if not line.startswith("#line")]
    source = "\n".join(lines).replace(
        "extern __shared__ __align__(128) unsigned char shared[];",
        "unsigned char* const shared = shared_memory;",
    )
    path = folder / f"{kernel}.cpp"
    library = path.with_suffix(".so")
    if not library.exists():
        path.write_text(source)
        subprocess.run(["g++", *FLAGS, "-o", library, path], check=True)
    return ctypes.CDLL(str(library))


class Guarded:
    """An array of NaNs that begins at a multiple of 64 bytes, with guards on both sides."""

    def __init__(self, shape: Any, dtype: Any = np.float32) -> None:
        count = int(np.prod(shape))
        whole = np.full(count + 3 * GUARD, 7, dtype)
        size = whole.itemsize
        first = GUARD + -(whole.ctypes.data // size) % (64 // size)
        self.whole, self.own = whole, whole[first : first + count].reshape(shape)
        self.own[...] = np.nan if whole.dtype.kind != "i" else -1

    @property
    def address(self) -> int:
        outside = self.whole.size - self.own.size
        assert (self.whole == 7).sum() >= outside
        return self.own.ctypes.data


def placed(array: Any) -> Guarded:
    found = Guarded(array.shape, array.dtype)
    found.own[...] = array
    return found


class Update(NamedTuple):
    """How the second kernel moves parameters: its constants and numbers, and of each parameter w,
    step, what is remembered and master."""

    constants: dict[str, Any]
    numbers: tuple[float, ...]
    rate: Any
    moving: list[list[Any]]


def simulate(
    folder: Path, layers: Any, x: Any, parameters: Any, head: str, given: Any, block: Any,
    reverse: bool = False, resident: bool = True, update: Update | None = None,
) -> tuple[Any, Any, list[Any]]:  # fmt: skip
    """y (or None), dx (or None) and loss and gradients (or what `update` has moved) of what two
    kernels make of the arrays: on tensor cores where those are of bf16."""
    samples, shapes, limit = len(x), [each.shape for each in parameters], 227 * 1024
    has_dx = head == "gradient"
    stages = parse(layers, x.shape[1:], shapes)
    if x.dtype == BF16.dtype:
        first: Any = Matrix(stages, Block(*block), head, has_dx, limit, 2, resident)
    else:
        first = scalar_kernel(stages, Block(*block), head, has_dx, limit, True)
    scalar = f"using Scalar = {SCALARS[x.dtype]};\n"
    sizes = f"{scalar}constexpr int S = {block[0]}, NT = {block[1]};"
    spec: dict[str, Any] = {"Target": "int64", "blocks": 1}
    kernel = built(folder, "first", first.templates, sizes, first.text(), spec)
    blocks, outputs = -(-samples // block[0]), int(np.prod(stages[-1].out))
    arrays = [placed(x), *map(placed, parameters)]
    y, dx = Guarded((samples, outputs), x.dtype), Guarded(x.shape, x.dtype)
    rows, partials = Guarded(first.row * samples), Guarded(first.partial * blocks)
    losses, fault = Guarded(samples), np.full(1, 2**64 - 1, np.uint64)
    words = [
        arrays[0].address, given.ctypes.data, y.address, dx.address, rows.address,
        partials.address, losses.address, fault.ctypes.data, samples,
        *[each.address for each in arrays[1:]],
    ]  # fmt: skip
    kernel.run(blocks, block[1], first.shared, (ctypes.c_uint64 * len(words))(*words), reverse)
    found = y.own if head != "gradient" else None, dx.own if has_dx else None
    if head == "scores":
        return *found, []
    second = Second(first)
    spec = {"count": len(shapes), "moves": 0, "states": 0, "counts": False, "has_master": False}
    rate, numbers = np.zeros(()), np.zeros(4)
    loss, gradients = Guarded((), x.dtype), [Guarded(shape, x.dtype) for shape in shapes]
    table_of = [[each.address, 0, 0, 0, 0, 0, 0] for each in gradients]
    if update is not None:
        spec, rate, numbers = spec | update.constants, update.rate, np.array(update.numbers)
        moving = [
            [None if each is None else placed(each) for each in part] for part in update.moving
        ]
        gradients, table_of = [each for part in moving for each in part if each is not None], []
        for part in moving:
            w, step, *states, master = [0 if each is None else each.address for each in part]
            table_of.append([0, w, step, *states, *[0] * (3 - len(states)), master])
    kernel = built(folder, f"second{spec['moves']}", "total.cuh", scalar, second.text(), spec)
    finished = np.zeros(2 + second.tiles, np.uint32)
    words = [
        arrays[0].address, rows.address, partials.address,
        losses.address if head == "loss" else 0, loss.address, Guarded(1).address,
        finished.ctypes.data, finished.ctypes.data + 4, samples, blocks, 1, rate.ctypes.data,
        *numbers.view(np.uint64).tolist(), *[word for words in table_of for word in words],
    ]  # fmt: skip
    table = (ctypes.c_uint64 * len(words))(*words)
    kernel.run(second.blocks(samples), 256, 0, table, reverse)
    assert all(each.address for each in (y, dx, rows, partials, losses, loss, *gradients))
    return *found, [loss.own, *[each.own for each in gradients]]
