"""The matrix product c = a @ b (+ bias, relu), blocked for caches and cut into tasks whose results
do not depend on the cut.

b is packed into panels of columns and a block of a into groups of rows, so that tiles read both in
order. Operands may have any strides: a transposed one is only packed along the other way. Where the
processor multiplies pairs of bfloat16, these are packed as pairs, and a step of k is one of pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from . import pool, tiles
from .buffers import allocator, empty
from .intrinsics import address, array, as_pointer, call
from .jit import Kernel, kernel
from .packing import pack, pack_beside, pack_pairs, pack_row_pairs, pack_rows
from .scalars import bf16, f32, i32, i64
from .tiles import (
    A0,
    A1,
    A2,
    A_TABLE,
    ACCUMULATE,
    B0,
    B1,
    B2,
    B_VECTOR,
    C_TABLE,
    FLAGS,
    LANES,
    N0,
    N1,
    N2,
    PANEL,
    PLAN,
    RELU,
    ROWS,
)  # fmt: skip

# of k that stay in the first cache while a group of rows meets a panel
K_BLOCK = 256 if LANES == 8 else 384
M_BLOCK = 144  # rows of a that stay in the second cache
FEW = 320  # rows of a: below, packing b as a whole is not repaid
SMALL = 1 << 16  # multiply-adds that one thread does in about the time of waking another
BESIDE = 4  # panels of b that are packed at once
SHARES = 64
DIRECT = 512  # k up to which rows of a, if contiguous, are read where they are
DOT = tiles.dot_product()  # how pairs of bfloat16 are multiplied; "" where they are widened


@kernel
def multiply(
    task, m_blocks: int, n_blocks: int, m: int, n: int, k: int, k_block: int, packs: int, a: T,
    a_row: int, a_k: int,
    b: f32, bias: int, relu: int, c: U, c_row: int, tile: i64, scratch: f32,
):  # fmt: skip
    """A block of rows times a block of panels."""
    m_task, n_task = task // n_blocks, task % n_blocks
    groups, panels = (m + ROWS - 1) // ROWS, (n + PANEL - 1) // PANEL
    first, last = (
        m_task * groups // m_blocks * ROWS,
        min(m, (m_task + 1) * groups // m_blocks * ROWS),
    )
    room = scratch + task * ((groups + m_blocks - 1) // m_blocks) * ROWS * k_block
    plan, a_table, c_table = array(i64, PLAN), array(i64, ROWS), array(i64, ROWS)
    one_loop(plan, a_row if packs == 0 else 1, a_k if packs == 0 else ROWS, c_row, a_table, c_table)
    k0 = 0
    while k0 < max(k, 1):
        depth = min(k_block, k - k0)
        steps, here = (depth + PAIR - 1) // PAIR, a + (first * a_row + k0 * a_k)
        if PAIR == 2:
            pack_row_pairs(here, last - first, depth, a_row, a_k, as_pointer(i32, room))
        elif packs:
            pack_rows(here, last - first, depth, a_row, a_k, room)
        plan[N2] = steps
        plan[FLAGS] = (ACCUMULATE if k0 > 0 else 0) + (
            RELU if (relu != 0) & (k0 + k_block >= k) else 0
        )
        for panel in range(n_task * panels // n_blocks, (n_task + 1) * panels // n_blocks):
            width = min(PANEL, n - panel * PANEL)
            choice = tile + ((width + LANES - 1) // LANES - 1) * (ROWS + 1)
            added = bias + 4 * panel * PANEL if (bias != 0) & (k0 == 0) else 0
            columns = b + (panel * ((k + PAIR - 1) // PAIR) + k0 // PAIR) * PANEL
            row = first
            while row < last:
                rows = min(ROWS, last - row)
                there = c + (row * c_row + panel * PANEL)
                if packs:
                    call(
                        choice[rows - 1], plan, room + (row - first) * steps, columns, there, added,
                        width, 0,
                    )  # fmt: skip
                else:
                    call(
                        choice[rows - 1], plan, a + (row * a_row + k0 * a_k), columns, there, added,
                        width, 0,
                    )  # fmt: skip
                row += rows
        k0 += k_block


@kernel
def multiply_few(
    task, tasks: int, m: int, n: int, k: int, k_block: int, a: T, a_row: int, a_k: int, b: T,
    b_k: int, b_j: int, bias: int, relu: int, c: U, c_row: int, tile: i64, scratch: f32,
):  # fmt: skip
    """All of few rows times some panels, each packed where it is used."""
    panels, groups = (n + PANEL - 1) // PANEL, (m + ROWS - 1) // ROWS
    room = scratch + task * (groups * ROWS + BESIDE * PANEL) * k_block
    columns = room + groups * ROWS * k_block
    plan, a_table, c_table = array(i64, PLAN), array(i64, ROWS), array(i64, ROWS)
    one_loop(plan, 1, ROWS, c_row, a_table, c_table)
    k0 = 0
    while k0 < k:
        depth = min(k_block, k - k0)
        pack_rows(a + k0 * a_k, m, depth, a_row, a_k, room)
        plan[N2] = depth
        plan[FLAGS] = (ACCUMULATE if k0 > 0 else 0) + (
            RELU if (relu != 0) & (k0 + k_block >= k) else 0
        )
        panel, last = task * panels // tasks, (task + 1) * panels // tasks
        while panel < last:
            count, first = min(BESIDE, last - panel), panel
            pack_beside(
                b + (k0 * b_k + panel * PANEL * b_j), count, n - panel * PANEL, depth, b_k, b_j,
                columns,
            )  # fmt: skip
            while panel < first + count:
                width = min(PANEL, n - panel * PANEL)
                choice = tile + ((width + LANES - 1) // LANES - 1) * (ROWS + 1)
                added = bias + 4 * panel * PANEL if (bias != 0) & (k0 == 0) else 0
                row = 0
                while row < m:
                    rows = min(ROWS, m - row)
                    call(
                        choice[rows - 1], plan, room + row * depth,
                        columns + (panel - first) * depth * PANEL,
                        c + (row * c_row + panel * PANEL), added, width, 0,
                    )  # fmt: skip
                    row += rows
                panel += 1
        k0 += k_block


def one_loop(plan, a_row, a_k, c_row, a_table, c_table):
    """A plan with a single loop of k over panels."""
    for i in range(ROWS):
        a_table[i] = i * a_row
        c_table[i] = i * c_row
    plan[N0] = 1
    plan[N1] = 1
    plan[A0] = 0
    plan[A1] = 0
    plan[B0] = 0
    plan[B1] = 0
    plan[A2] = a_k
    plan[B2] = PANEL
    plan[B_VECTOR] = LANES
    plan[A_TABLE] = address(a_table)
    plan[C_TABLE] = address(c_table)


@kernel
def convert(task, tasks: int, size: int, x: T, out: U):
    """Numbers of one type as those of another, rounded once."""
    for i in range(task * size // tasks, (task + 1) * size // tasks):
        out[i] = x[i]


def product(a: Any, b: Any, bias: Any = None, *, relu: bool = False, out: Any = None) -> Any:
    """a (M, K) @ b (K, N) (+ bias (N,), in float32), of any strides, as a row-major array."""
    (m, k), n, size = a.shape, b.shape[1], a.itemsize
    out = empty((m, n), a.dtype) if out is None else out
    if not out.size:
        return out
    (a_row, a_k), (b_k, b_j) = a.strides, b.strides
    rounds = size != 4 and k > K_BLOCK  # sums of several blocks of k are kept in float32
    result = empty((m, n), np.float32) if rounds else out
    a_steps, b_steps = (a_row // size, a_k // size), (b_k // size, b_j // size)
    threads = pool.get_num_threads() if m * n * k >= SMALL else 1
    if k > 0 and m <= FEW and n >= 8 * threads * PANEL and not (DOT and size != 4):
        k_block = _k_block(k)
        multiply_few.of(T=scalar_of(a), U=scalar_of(result))(
            threads, threads, m, n, k, k_block, a, *a_steps, b, *b_steps, bias, int(relu), result,
            n, tiles.addresses(scalar_of(result).name),
            empty((threads * (m + ROWS + BESIDE * PANEL) * k_block,), np.float32),
        )  # fmt: skip
    else:
        columns = pack_columns(b, k, n, *b_steps)
        multiply_packed(a, columns, result, m, n, k, *a_steps, bias, relu)
    if rounds:
        tasks = shares(SHARES, out.size)
        convert.of(T=f32, U=bf16)(tasks, tasks, out.size, result, out)
    return out


def scalar_of(array: Any) -> Any:
    """The engine's scalar type of an array: float32, or else bfloat16."""
    return f32 if array.dtype.itemsize == 4 else bf16


def pack_columns(b: Any, k: int, n: int, b_k: int, b_j: int) -> Any:
    """b (K, N) in panels, of pairs where those are multiplied."""
    panels, scalar = -(-n // PANEL), scalar_of(b)
    tasks = shares(panels, k * n)
    if DOT and scalar is bf16:
        columns = empty((panels * -(-k // 2) * PANEL,), np.float32)
        pack_pairs.of(T=scalar)(tasks, tasks, n, k, b_k, b_j, b, columns)
    else:
        columns = empty((panels * k * PANEL,), np.float32)
        pack.of(T=scalar)(tasks, tasks, n, PANEL, 1, 1, k, 0, 0, b_k, b_j, b, columns)
    return columns


def multiply_packed(
    a: Any, columns: Any, out: Any, m: int, n: int, k: int, a_row: int, a_k: int, bias: Any,
    relu: bool,
) -> None:  # fmt: skip
    """`a` times packed columns into `out`."""
    scalar, output = scalar_of(a), scalar_of(out)
    dot = DOT if scalar is bf16 else ""
    m_blocks, n_blocks, k_block, packs, room = _blocks(
        m, n, k, a_k, scalar is f32, pool.get_num_threads()
    )
    scratch = empty((room,), np.float32) if packs else None
    multiply.of(T=scalar, U=output, PAIR=2 if dot else 1)(
        m_blocks * n_blocks, m_blocks, n_blocks, m, n, k, k_block, packs, a, a_row, a_k, columns,
        bias, int(relu), out, n, tiles.addresses(output.name, dot=dot), scratch,
    )  # fmt: skip


@cache
def _blocks(
    m: int, n: int, k: int, a_k: int, direct: bool, threads: int
) -> tuple[int, int, int, int, int]:
    """Blocks of rows and of panels, how much of k at a time, whether to pack rows, and the room for
    that."""
    groups, panels = -(-m // ROWS), -(-n // PANEL)
    packs = int(k > 0 and (not direct or k > DIRECT or (a_k != 1 and panels > 4)))
    k_block = _k_block(k)
    m_blocks = n_blocks = 1
    if m * n * k >= SMALL:
        m_blocks = min(groups, -(-groups * ROWS // M_BLOCK // threads) * threads)
        n_blocks = min(panels, -(-threads // m_blocks))
    room = m_blocks * n_blocks * -(-groups // m_blocks) * ROWS * k_block
    return m_blocks, n_blocks, k_block, packs, room


def _k_block(k: int) -> int:
    """How much of k at a time: blocks of one size, of whole pairs."""
    return max(2, -(-k // max(1, -(-k // K_BLOCK)) // 2) * 2)


def filling(kernel: Kernel, output: Any, *words: Any) -> Callable[..., Any]:
    """A function that launches with words, its arrays, and a new one like an outline, which it
    answers; by one native call where the system has the memory."""
    new, launch = allocator(output.shape, output.scalar_type.dtype), kernel.launch(*words)
    if isinstance(new, partial):
        return partial(pool.start().fill, *new.args, *launch.args)

    def run(*arrays: Any) -> Any:
        y = new()
        launch(*arrays, y)
        return y

    return run


def shares(parts: int, work: int) -> int:
    """How many tasks to make of so many parts: one where starting a thread costs more than the
    work."""
    return 1 if work < SMALL // 8 else min(parts, SHARES)
