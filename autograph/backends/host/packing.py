"""Operands of products, put in the order in which tiles read them.

Columns become panels, [panel][k][PANEL], and rows groups, [group][k][ROWS], of float32; where the
processor multiplies pairs of bfloat16, of pairs, [panel][k / 2][PANEL][2], zero beyond an odd k.
"""

from __future__ import annotations

from .intrinsics import bits
from .jit import kernel
from .lanes import turn
from .scalars import f32, i32
from .tiles import LANES, PANEL, ROWS, VECTORS


@kernel
def pack(
    task, tasks: int, columns: int, width: int, n0: int, n1: int, n2: int, s0: int, s1: int,
    s2: int, sj: int,
    source: T, out: f32,
):  # fmt: skip
    """source[j, k] with strides for k's three loops -> out [panel][k][width], with zeros beyond the
    last column."""
    panels = (columns + width - 1) // width
    for panel in range(task * panels // tasks, (task + 1) * panels // tasks):
        left = columns - panel * width
        pack_panel(
            source + panel * width * sj, left, width, n0, n1, n2, s0, s1, s2, sj,
            out + panel * width * n0 * n1 * n2,
        )  # fmt: skip


def pack_panel(source, left, width, n0, n1, n2, s0, s1, s2, sj, out, turns=True):
    """One panel: k by k where columns lie side by side, blocks turned where k do, else column by
    column. Who knows that k do not says so, and has less to compile."""
    if (sj == 1) & (left >= PANEL) & (width == PANEL):
        for i0 in range(n0):
            for i1 in range(n1):
                for i2 in range(n2):
                    here, there = (
                        source + (i0 * s0 + i1 * s1 + i2 * s2),
                        out + ((i0 * n1 + i1) * n2 + i2) * PANEL,
                    )
                    for j in range(PANEL):
                        there[j] = here[j]
    elif (s2 == 1) & (left >= PANEL) & (width == PANEL) & turns:
        if turns:
            for i0 in range(n0):
                for i1 in range(n1):
                    here, there = source + (i0 * s0 + i1 * s1), out + (i0 * n1 + i1) * n2 * PANEL
                    turn_panel(here, n2, sj, there)
    else:
        for j in range(width):
            for i0 in range(n0):
                for i1 in range(n1):
                    here, there = (
                        source + (j * sj + i0 * s0 + i1 * s1),
                        out + ((i0 * n1 + i1) * n2 * width + j),
                    )
                    if j < left:
                        for i2 in range(n2):
                            there[i2 * width] = here[i2 * s2]
                    else:
                        for i2 in range(n2):
                            there[i2 * width] = 0.0


def turn_panel(source, depth, step, out):
    """A panel of whole columns that lie a step apart."""
    at = 0
    while at + LANES <= depth:
        for v in range(VECTORS):
            turn(source + (v * LANES * step + at), step, out + (at * PANEL + v * LANES), PANEL)
        at += LANES
    while at < depth:
        for j in range(PANEL):
            out[at * PANEL + j] = source[j * step + at]
        at += 1


def pack_beside(source, count, left, depth, s_k, s_j, out):
    """Some panels of a matrix side by side: all of a row at once where columns lie so, which reads
    memory in its order."""
    if (s_j == 1) & (left >= count * PANEL):
        for k in range(depth):
            for panel in range(count):
                here, there = source + (k * s_k + panel * PANEL), out + (panel * depth + k) * PANEL
                for j in range(PANEL):
                    there[j] = here[j]
    else:
        for panel in range(count):
            pack_panel(
                source + panel * PANEL * s_j, left - panel * PANEL, PANEL, 1, 1, depth, 0, 0, s_k,
                s_j, out + panel * depth * PANEL,
            )  # fmt: skip


@kernel
def pack_pairs(task, tasks: int, columns: int, k: int, s_k: int, s_j: int, source: T, out: i32):
    """source[k, j] of any strides -> out [panel][k / 2][PANEL] of pairs."""
    panels, steps = (columns + PANEL - 1) // PANEL, (k + 1) // 2
    for panel in range(task * panels // tasks, (task + 1) * panels // tasks):
        here, left = source + panel * PANEL * s_j, min(PANEL, columns - panel * PANEL)
        there = out + panel * steps * PANEL
        if left < PANEL:
            for at in range(steps * PANEL):
                there[at] = 0
        for step in range(steps):
            row, more = here + 2 * step * s_k, 2 * step + 1 < k
            after = row + (s_k if more else 0)
            for j in range(left):
                there[step * PANEL + j] = pair_of(row[j * s_j], after[j * s_j], more)


def pair_of(low, high, more):
    """Two bfloat16 numbers, widened before, side by side; the second is 0 if there is no more."""
    return ((bits(low) >> 16) & 0xFFFF) | ((bits(high) & -65536) if more else i32(0))


def pack_rows(a, rows, depth, a_row, a_k, out):
    """Rows of a -> out [group][k][ROWS]; what lies beyond the last row is never used."""
    group = 0
    while group * ROWS < rows:
        here, there, count = (
            a + group * ROWS * a_row,
            out + group * ROWS * depth,
            min(ROWS, rows - group * ROWS),
        )
        if (a_row == 1) & (count == ROWS):
            for k in range(depth):
                for i in range(ROWS):
                    there[k * ROWS + i] = here[k * a_k + i]
        elif (a_k == 1) & (count == ROWS):
            for k in range(depth):
                for i in range(ROWS):
                    there[k * ROWS + i] = here[i * a_row + k]
        else:
            for i in range(count):
                for k in range(depth):
                    there[k * ROWS + i] = here[i * a_row + k * a_k]
        group += 1


def pack_row_pairs(a, rows, depth, a_row, a_k, out):
    """The same, of pairs."""
    steps = (depth + 1) // 2
    for i in range(rows):
        here, there = a + i * a_row, out + (i // ROWS * steps * ROWS + i % ROWS)
        for step in range(steps):
            more = 2 * step + 1 < depth
            low, high = here[2 * step * a_k], here[(2 * step + (1 if more else 0)) * a_k]
            there[step * ROWS] = pair_of(low, high, more)
