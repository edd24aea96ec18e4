"""The generated kernels of a chain on the host: compiled as C++, run thread by thread."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from autograph.backends.cuda import compile as compiler
from autograph.ops.chain import cuda_kernels
from autograph.ops.chain.first import first_kernel
from autograph.ops.chain.second import Second
from autograph.ops.chain.stages import parse
from autograph.ops.chain.tiles import Block

HERE = Path(__file__).parent
SOURCES = Path(cuda_kernels.__file__).parent
FLAGS = ["-std=c++17", "-O1", "-w", "-fpermissive", "-ffp-contract=off", "-shared", "-fPIC"]
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
"""
RUN = """
static const void* given;
static void body() { KERNEL<Spec>(*(const GIVEN<Spec>*)given); is_done[running] = 1; }
extern "C" void run(int blocks, int threads, int shared, const void* words, bool reverse) {
    given = words;
    run_blocks(blocks, threads, shared, reverse, body);
}
"""


def available() -> bool:
    return shutil.which("g++") is not None


def built(folder: Path, kernel: str, sizes: str, text: str, spec: dict[str, Any]) -> Any:
    """The library of a kernel, in a folder of its own chain."""
    seen = {SOURCES / "copies.cuh"}
    scalar = compiler._expand(compiler.HEADERS / "scalar.cuh", seen)
    templates = "first.cuh" if kernel == "first" else "total.cuh"
    parts = [
        (HERE / "simulated.h").read_text(), scalar, "using Scalar = float;", sizes, COPIES,
        compiler._expand(SOURCES / templates, seen), text, compiler.spec_text(spec),
        RUN.replace("KERNEL", kernel).replace("GIVEN", "Given" if kernel == "first" else "Table"),
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

    def __init__(self, shape: Any) -> None:
        count = int(np.prod(shape))
        whole = np.full(count + 3 * GUARD, 7, np.float32)
        first = GUARD + -(whole.ctypes.data // 4) % 16
        self.whole, self.own = whole, whole[first : first + count].reshape(shape)
        self.own[...] = np.nan

    @property
    def address(self) -> int:
        outside = self.whole.size - self.own.size
        assert (self.whole == 7).sum() >= outside
        return self.own.ctypes.data


def placed(array: Any) -> Guarded:
    found = Guarded(array.shape)
    found.own[...] = array
    return found


def simulate(
    folder: Path, layers: Any, x: Any, parameters: Any, head: str, given: Any, block: Any,
    reverse: bool = False,
) -> tuple[Any, Any, list[Any]]:  # fmt: skip
    """y (or None), dx (or None) and loss and gradients of what two kernels make of f32 arrays."""
    samples, shapes = len(x), [each.shape for each in parameters]
    has_dx = head == "gradient"
    stages = parse(layers, x.shape[1:], shapes)
    first = first_kernel(stages, Block(*block), head, has_dx, 227 * 1024, True)
    sizes = f"constexpr int S = {block[0]}, NT = {block[1]};"
    kernel = built(folder, "first", sizes, first.text(), {"Target": "int64", "blocks": 1})
    blocks, outputs = -(-samples // block[0]), int(np.prod(stages[-1].out))
    arrays = [placed(x), *map(placed, parameters)]
    y, dx = Guarded((samples, outputs)), Guarded(x.shape)
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
    kernel = built(folder, "second", "", second.text(), spec)
    loss, gradients = Guarded(()), [Guarded(shape) for shape in shapes]
    finished = np.zeros(2 + second.tiles, np.uint32)
    words = [
        arrays[0].address, rows.address, partials.address,
        losses.address if head == "loss" else 0, loss.address, Guarded(1).address,
        finished.ctypes.data, finished.ctypes.data + 4, samples, blocks, 1, 0, 0, 0, 0, 0,
    ]  # fmt: skip
    for each in gradients:
        words += [each.address, 0, 0, 0, 0, 0, 0]
    table = (ctypes.c_uint64 * len(words))(*words)
    kernel.run(second.blocks(samples), 256, 0, table, reverse)
    assert all(each.address for each in (y, dx, rows, partials, losses, loss, *gradients))
    return *found, [loss.own, *[each.own for each in gradients]]
