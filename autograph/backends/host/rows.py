"""Sums and extremes of rows and of columns, in an order that depends on their lengths alone.

x is seen as (A, B, C), and B is reduced: rows where C is 1, else columns. Sums are float32 over
short blocks, and float64 over those.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .buffers import empty
from .intrinsics import array, larger, smaller
from .jit import kernel
from .product import SHARES, shares
from .scalars import f32, f64

BLOCK = 1024  # of a row, summed in float32
WIDTH = 64  # columns at a time
HEIGHT = 64  # rows of them, summed in float32
LONG = 1 << 15  # numbers of a row, or of a block of columns, that are a task


def sum_of(start, count, x):
    """The sum of numbers side by side; called in kernels that may reassociate."""
    total, at = f64(0.0), start
    while at < start + count:
        stop, part = min(start + count, at + BLOCK), f32(0.0)
        for i in range(at, stop):
            part += x[i]
        total += part
        at = stop
    return total


@kernel(reassociate=True)
def sum_rows(
    task, tasks: int, rows: int, parts: int, length: int, count: int, x: T, sums: f64, out: T
):  # fmt: skip
    """The sum of each part of each row; of whole rows divided by count."""
    for unit in range(task * rows * parts // tasks, (task + 1) * rows * parts // tasks):
        row, part = unit // parts, unit % parts
        first, last = part * length // parts, (part + 1) * length // parts
        total = sum_of(row * length + first, last - first, x)
        if parts == 1:
            out[row] = total / count
        else:
            sums[part * rows + row] = total


@kernel
def sum_columns(
    task, tasks: int, a: int, b: int, c: int, parts: int, count: int, x: T, sums: f64, out: T
):  # fmt: skip
    """The sum of each part of each column; of whole columns divided by count."""
    blocks, short, total = (c + WIDTH - 1) // WIDTH, array(f32, WIDTH), array(f64, WIDTH)
    for unit in range(task * a * parts * blocks // tasks, (task + 1) * a * parts * blocks // tasks):
        block, part, image = unit % blocks, unit // blocks % parts, unit // blocks // parts
        width, last = min(WIDTH, c - block * WIDTH), (part + 1) * b // parts
        row = part * b // parts
        for j in range(WIDTH):
            total[j] = 0.0
        while row < last:
            stop = min(last, row + HEIGHT)
            for j in range(WIDTH):
                short[j] = 0.0
            for i in range(row, stop):
                here = x + ((image * b + i) * c + block * WIDTH)
                if width == WIDTH:
                    for j in range(WIDTH):
                        short[j] += here[j]
                else:
                    for j in range(width):
                        short[j] += here[j]
            for j in range(WIDTH):
                total[j] += short[j]
            row = stop
        for j in range(width):
            if parts == 1:
                out[image * c + block * WIDTH + j] = total[j] / count
            else:
                sums[(part * a + image) * c + block * WIDTH + j] = total[j]


@kernel
def sum_parts(task, tasks: int, size: int, parts: int, count: int, sums: f64, out: T):
    """The sums of parts, in order, divided by count."""
    for i in range(task * size // tasks, (task + 1) * size // tasks):
        total = f64(0.0)
        for part in range(parts):
            total += sums[part * size + i]
        out[i] = total / count


@kernel
def extreme_rows(task, tasks: int, rows: int, length: int, x: T, out: T):
    """The largest of each row, or the smallest; NaN before all."""
    for row in range(task * rows // tasks, (task + 1) * rows // tasks):
        here = x + row * length
        best = here[0]
        for i in range(1, length):
            best = larger(best, here[i]) if LARGEST else smaller(best, here[i])
        out[row] = best


def add_up(x: Any, scalar: Any, shape: tuple[int, int, int], count: int, out: Any) -> None:
    """out (A, C) = the sum over B, divided by count; x is contiguous."""
    a, b, c = shape
    parts = max(1, min(SHARES, b * min(c, WIDTH) // LONG))
    sums = empty((parts * a * c,), np.float64) if parts > 1 else None
    if c == 1:
        tasks = shares(a * parts, x.size)
        sum_rows.of(T=scalar)(tasks, tasks, a, parts, b, count, x, sums, out)
    else:
        tasks = shares(a * parts * -(-c // WIDTH), x.size)
        sum_columns.of(T=scalar)(tasks, tasks, a, b, c, parts, count, x, sums, out)
    if parts > 1:
        tasks = shares(a * c, x.size // b)
        sum_parts.of(T=scalar)(tasks, tasks, a * c, parts, count, sums, out)
