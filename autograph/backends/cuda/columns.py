"""How sums of columns are shared out to blocks (`columns.cuh`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import divide_up

COLUMN_THREADS = 512
_GROUP = 64  # columns of a block
_BLOCKS = 264  # of a launch, at most, all of which run at once: a constant, it orders the sums


def column_blocks(
    rows: int, columns: int, dtype: np.dtype[Any]
) -> tuple[tuple[int, int], tuple[tuple[int, int, int], np.dtype[Any]], int]:
    """The blocks, the shape and type of the partial sums, and how many columns a thread has."""
    pack, wide = 16 // dtype.itemsize, np.dtype("f8" if dtype.itemsize == 8 else "f4")
    groups, deep = divide_up(columns, _GROUP), COLUMN_THREADS * pack // _GROUP
    shares = max(1, min(_BLOCKS // groups, divide_up(rows, 4 * deep)))
    return (shares, groups), ((shares, 2, columns), wide), pack


def has_whole_tiles(shape: tuple[int, int], dtype: np.dtype[Any]) -> bool:
    """Whether no block meets rows or columns that are not there."""
    (rows, columns), pack = shape, 16 // dtype.itemsize
    return rows % (COLUMN_THREADS * pack // _GROUP) == columns % _GROUP == 0


def adding_threads(shares: int) -> int:
    """The threads of a block that adds up so many shares."""
    return 1024 if shares > 72 else 256
