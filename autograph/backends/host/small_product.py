"""Products so small that every launch counts: each task packs the columns that it multiplies.

Operands have any strides; float32 rows are read where they lie, bfloat16 ones are widened first.
"""

from __future__ import annotations

from functools import cache
from math import prod

import numpy as np

from .intrinsics import array, call
from .jit import kernel
from .packing import pack_panel
from .product import DIRECT, SMALL, one_loop
from .scalars import f32, i64
from .tiles import FLAGS, LANES, N2, PANEL, PLAN, RELU, ROWS

TINY = 1024  # elements of scratch that a single task has on its stack
LARGEST = 1 << 16  # elements of a or of b: above, blocks for caches are worth a launch


def is_small(m: int, n: int, k: int) -> bool:
    """Whether a product (m, k) @ (k, n) is one of these."""
    return k <= DIRECT and m * k <= LARGEST and k * n <= LARGEST


@cache
def columns_of(m: int, n: int, k: int, threads: int) -> tuple[int, int, int, int]:
    """Blocks of rows and of columns, a task each, how many these are, and the room for packed
    columns."""
    panels, groups = -(-n // PANEL), -(-m // ROWS)
    if m * n * k < SMALL:
        return 1, 1, 1, panels * k * PANEL
    n_blocks = min(panels, threads)
    m_blocks = min(groups, threads // n_blocks)
    return m_blocks, n_blocks, m_blocks * n_blocks, m_blocks * panels * k * PANEL


@cache
def places_of(batch: tuple[int, ...], *steps: tuple[int, ...]) -> np.ndarray:
    """Where each matrix of a batch begins in each array, (matrices, arrays), from the strides of
    the batch."""
    indices = np.indices(batch).reshape(len(batch), prod(batch))
    places = [np.asarray(each, np.int64) @ indices for each in steps]
    return np.ascontiguousarray(np.stack(places, axis=-1))


def steps_of(array: np.ndarray) -> tuple[int, ...]:
    """Strides in elements."""
    return tuple(step // array.itemsize for step in array.strides)


@kernel
def multiply_small(
    task, m_blocks: int, n_blocks: int, m: int, n: int, k: int, a: T, a_row: int, a_k: int,
    b: T, b_k: int, b_j: int, bias: int, relu: int, c: T, tile: i64, scratch: f32, room: int,
):  # fmt: skip
    """c = a @ b (+ bias, relu), a block of rows times a block of columns; each task widens its rows
    if they are WIDE. One task that is LITTLE needs no scratch."""
    if LITTLE:
        scratch = array(f32, TINY)
    m_task, n_task = task // n_blocks, task % n_blocks
    groups, panels = (m + ROWS - 1) // ROWS, (n + PANEL - 1) // PANEL
    first = m_task * groups // m_blocks * ROWS
    last = min(m, (m_task + 1) * groups // m_blocks * ROWS)
    columns = scratch + (m_task * panels) * k * PANEL
    rows = scratch + (m_blocks * panels * k * PANEL + task * room)
    if WIDE:
        widen(a + first * a_row, last - first, k, a_row, a_k, rows)
    for panel in range(n_task * panels // n_blocks, (n_task + 1) * panels // n_blocks):
        here, left = columns + panel * k * PANEL, n - panel * PANEL
        pack_panel(b + panel * PANEL * b_j, left, PANEL, 1, 1, k, 0, 0, b_k, b_j, here)
        added = bias + 4 * panel * PANEL if bias != 0 else 0
        there, flags = c + (first * n + panel * PANEL), RELU if relu != 0 else 0
        if WIDE:
            times_panel(
                tile, rows, k, 1, here, there, n, last - first, min(PANEL, left), k, added, flags
            )
        else:
            times_panel(
                tile, a + first * a_row, a_row, a_k, here, there, n, last - first,
                min(PANEL, left), k, added, flags,
            )  # fmt: skip


@kernel
def multiply_each(
    task, tasks: int, count: int, places: i64, m: int, n: int, k: int, a: T, a_row: int,
    a_k: int, b: T, b_k: int, b_j: int, c: T, tile: i64, scratch: f32,
):  # fmt: skip
    """c[i] = a[i] @ b[i] of many matrices, which begin where `places` says."""
    panels = (n + PANEL - 1) // PANEL
    columns = scratch + task * k * (panels * PANEL + m * WIDE)
    rows = columns + panels * PANEL * k
    for i in range(task * count // tasks, (task + 1) * count // tasks):
        left, right = a + places[2 * i], b + places[2 * i + 1]
        if WIDE:
            widen(left, m, k, a_row, a_k, rows)
        for panel in range(panels):
            rest, there = n - panel * PANEL, c + (i * m * n + panel * PANEL)
            pack_panel(right + panel * PANEL * b_j, rest, PANEL, 1, 1, k, 0, 0, b_k, b_j, columns)
            if WIDE:
                times_panel(tile, rows, k, 1, columns, there, n, m, min(PANEL, rest), k, 0, 0)
            else:
                times_panel(tile, left, a_row, a_k, columns, there, n, m, min(PANEL, rest), k, 0, 0)


@kernel
def back_of_linear_relu(
    task, weight_tasks: int, x_tasks: int, rows: int, inputs: int, outputs: int, dy: T, y: T,
    x: T, weight: T, dx: T, dweight: T, dbias: T, tile: i64, scratch: f32,
):  # fmt: skip
    """Of y = relu(x @ weight + bias): some tasks for dweight and dbias, the others for dx, each
    with what of dy relu let through."""
    panels, x_panels = (outputs + PANEL - 1) // PANEL, (inputs + PANEL - 1) // PANEL
    deltas = scratch + panels * rows * PANEL
    columns = deltas + x_tasks * rows * outputs
    if task < weight_tasks:
        total = array(f32, PANEL)
        turned = columns + (x_panels * PANEL * outputs + task * rows * inputs)
        if WIDE:
            widen(x, rows, inputs, inputs, 1, turned)
        for panel in range(task * panels // weight_tasks, (task + 1) * panels // weight_tasks):
            here, first = scratch + panel * rows * PANEL, panel * PANEL
            width = min(PANEL, outputs - first)
            for j in range(PANEL):
                total[j] = 0.0
            for i in range(rows):
                start, there = i * outputs + first, here + i * PANEL
                if width == PANEL:
                    for j in range(PANEL):
                        value = 0.0 if y[start + j] <= 0.0 else dy[start + j]
                        there[j] = value
                        total[j] += value
                else:
                    for j in range(width):
                        value = 0.0 if y[start + j] <= 0.0 else dy[start + j]
                        there[j] = value
                        total[j] += value
                    for j in range(width, PANEL):
                        there[j] = 0.0
            for j in range(width):
                dbias[first + j] = total[j]
            slope = dweight + first
            if WIDE:
                times_panel(
                    tile, turned, 1, inputs, here, slope, outputs, inputs, width, rows, 0, 0
                )
            else:
                times_panel(tile, x, 1, inputs, here, slope, outputs, inputs, width, rows, 0, 0)
    else:
        turn = task - weight_tasks
        mine = deltas + turn * rows * outputs
        for i in range(rows * outputs):
            mine[i] = 0.0 if y[i] <= 0.0 else dy[i]
        for panel in range(turn * x_panels // x_tasks, (turn + 1) * x_panels // x_tasks):
            here, first = columns + panel * outputs * PANEL, panel * PANEL
            left = inputs - first
            pack_panel(weight + first * outputs, left, PANEL, 1, 1, outputs, 0, 0, 1, outputs, here)
            times_panel(
                tile, mine, outputs, 1, here, dx + first, inputs, rows, min(PANEL, left), outputs,
                0, 0,
            )  # fmt: skip


def widen(a, rows, columns, row, column, out):
    """A matrix of any strides as float32, its rows side by side."""
    for i in range(rows):
        here, there = a + i * row, out + i * columns
        if column == 1:
            for j in range(columns):
                there[j] = here[j]
        else:
            for j in range(columns):
                there[j] = here[j * column]


def times_panel(tile, a, a_row, a_k, columns, c, c_row, m, width, k, bias, flags):
    """m rows of a times one packed panel."""
    plan, a_table, c_table = array(i64, PLAN), array(i64, ROWS), array(i64, ROWS)
    one_loop(plan, a_row, a_k, c_row, a_table, c_table)
    plan[N2] = k
    plan[FLAGS] = flags
    choice, row = tile + ((width + LANES - 1) // LANES - 1) * (ROWS + 1), 0
    while row < m:
        rows = min(ROWS, m - row)
        call(choice[rows - 1], plan, a + row * a_row, columns, c + row * c_row, bias, width, 0)
        row += rows
