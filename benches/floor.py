"""The physical floor: how fast this machine multiplies and moves memory, measured in the same run.

Multiply-adds are counted in a loop that does nothing else, with as many sums in registers as keep
the units busy, on every core; in bf16 where the processor has such products, else it is the f32
rate. Without llvmlite a large NumPy product takes its place. `python -m benches.floor`.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from ctypes import CFUNCTYPE, c_float, c_int64
from functools import cache
from typing import Any

import numpy as np

from .timing import Contender, Times, race

STEPS = 200_000  # of the loop
STREAM = 1 << 24  # f32 elements of each array
SIDE = 2048  # of the product where there is no compiler

PRODUCTS = {
    "f32": "call {v} @llvm.fma.{s}({v} %x, {v} %y, {v} %a{i})",
    "bf16": "call {v} @llvm.x86.avx512bf16.dpbf16ps.512({v} %a{i}, <32 x bfloat> %xh, "
    "<32 x bfloat> %yh)",
}


def loop(kind: str, lanes: int, sums: int) -> str:
    """LLVM's text of a loop of independent multiply-adds."""
    v, s, names = f"<{lanes} x float>", f"v{lanes}f32", range(sums)
    lines = [f"declare {v} @llvm.fma.{s}({v}, {v}, {v})"]
    if kind == "bf16":
        halves = f"{v}, <32 x bfloat>, <32 x bfloat>"
        lines = [f"declare {v} @llvm.x86.avx512bf16.dpbf16ps.512({halves})"]
    lines += [
        "define float @multiply(i64 %n, float %seed) {",
        "entry:",
        f"  %one = insertelement {v} undef, float %seed, i32 0",
        f"  %x = shufflevector {v} %one, {v} undef, <{lanes} x i32> zeroinitializer",
        f"  %y = fadd {v} %x, %x",
    ]
    if kind == "bf16":
        lines += [f"  %{each}h = bitcast {v} %{each} to <32 x bfloat>" for each in "xy"]
    lines += ["  br label %body", "body:", "  %k = phi i64 [0, %entry], [%next, %body]"]
    lines += [f"  %a{i} = phi {v} [zeroinitializer, %entry], [%b{i}, %body]" for i in names]
    lines += [f"  %b{i} = " + PRODUCTS[kind].format(v=v, s=s, i=i) for i in names]
    lines += [
        "  %next = add i64 %k, 1",
        "  %more = icmp slt i64 %next, %n",
        "  br i1 %more, label %body, label %end",
        "end:",
    ]
    total = "%b0"
    for i in names[1:]:
        lines.append(f"  %c{i} = fadd {v} {total}, %b{i}")
        total = f"%c{i}"
    return "\n".join([*lines, f"  %y0 = extractelement {v} {total}, i32 0", "  ret float %y0", "}"])


_engines: list[Any] = []  # they own the compiled code


@cache
def compiled(kind: str) -> tuple[Any, int]:
    """The loop as a function that releases the GIL, and its floating point operations a step."""
    from autograph.backends.host import jit

    wide, middle = jit.has("avx512f"), jit.has("avx2")
    lanes, sums = (16, 24) if wide else (8, 12) if middle else (4, 24)
    if kind == "bf16" and not jit.has("avx512bf16"):
        kind = "f32"
    machine = jit.machine()
    code = jit.binding.parse_assembly(loop(kind, lanes, sums))
    engine = jit.binding.create_mcjit_compiler(code, machine)
    engine.finalize_object()
    run = CFUNCTYPE(c_float, c_int64, c_float)(engine.get_function_address("multiply"))
    _engines.append(engine)
    return run, 2 * lanes * sums * (2 if kind == "bf16" else 1)


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def multiply(kind: str) -> Any:
    """A run of multiply-adds on every core; (run, operations), so that a time is of one."""
    try:
        run, operations = compiled(kind)
    except ImportError:
        a = np.ones((SIDE, SIDE), np.float32)
        return (lambda: a @ a), 2 * SIDE**3
    count = cores()
    pool = ThreadPoolExecutor(count)
    operations *= STEPS * count
    return (lambda: list(pool.map(run, [STEPS] * count, [1e-3] * count))), operations


def stream() -> Any:
    """A run of c = a + b over arrays that fit no cache; (run, bytes)."""
    count = cores()
    a, b, c = (np.ones(STREAM, np.float32) for _ in range(3))
    parts = [slice(i * STREAM // count, (i + 1) * STREAM // count) for i in range(count)]
    pool = ThreadPoolExecutor(count)
    return (lambda: list(pool.map(lambda at: np.add(a[at], b[at], out=c[at]), parts))), 12 * STREAM


CONTENDERS = (
    Contender("floor f32", "benches.floor:multiply", {"kind": "f32"}),
    Contender("floor bf16", "benches.floor:multiply", {"kind": "bf16"}),
    Contender("floor memory", "benches.floor:stream"),
)


def rates(results: dict[str, dict[str, Times]]) -> dict[str, float]:
    """GFLOP/s in f32 and bf16, and GB/s, of a race in which CONTENDERS ran; the best tenth."""
    return {each.name: 1e-9 / results[each.name][""].p10 for each in CONTENDERS}


def main() -> None:
    for name, rate in rates(race(CONTENDERS)).items():
        print(f"{name:14} {rate:8.1f} {'GB/s' if name == 'floor memory' else 'GFLOP/s'}")


if __name__ == "__main__":
    main()
