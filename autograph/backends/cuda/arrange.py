"""Copies of device arrays in another order, and images between their two layouts.

Images are (N, C, H, W) to the callers; channels last, their memory runs N H W C.
"""

from __future__ import annotations

from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .compile import Constant
from .launch import Kernel, divide_up, number, offset_type
from .pointwise import copy_kernel

_SOURCE = Path(__file__).with_name("arrange.cu")
_LARGE = 2**20  # numbers of a matrix from which tiles are larger
_TILE = 64, 64  # rows and columns of those
_SHORT = 16  # rows of so few numbers go through a kernel of their own


def arranged(x: Any, dtype: np.dtype[Any] | None = None) -> Any:
    """A contiguous copy of an array of any strides, in another scalar type if one is given."""
    import cupy

    wanted = x.dtype if dtype is None else dtype
    y = cupy.empty(x.shape, wanted)
    if not x.size:
        return y
    dimensions, steps = _collapsed(x.shape, tuple(step // x.dtype.itemsize for step in x.strides))
    swap = len(dimensions) in (2, 3) and steps[-2] == 1 and x.dtype == wanted
    if swap and steps[-1] == dimensions[-2]:
        batch = prod(dimensions[:-2])
        if batch == 1 or steps[0] == dimensions[-2] * dimensions[-1]:
            rows, columns = dimensions[-1], dimensions[-2]
            _transpose(x, y, batch, rows, columns, columns, rows)
            return y
    run, size = _copy(x.dtype, wanted, dimensions, steps, x.data.ptr % 16 == 0)
    run(x, y, size)
    return y


def channels_last(x: Any, channels: int | None = None) -> Any:
    """(N, C, H, W) as a contiguous (N, H, W, C), a copy where it does not lie so; with more
    `channels` than there are, the others are zero."""
    import cupy

    n, c, h, w = x.shape
    wanted = channels or c
    there = x.transpose(0, 2, 3, 1)
    if wanted == c and there.flags.c_contiguous:
        return there
    if not x.flags.c_contiguous:
        if wanted == c:
            return arranged(there)
        x = arranged(x)
    y = cupy.empty((n, h, w, wanted), x.dtype)
    _transpose(x, y, n, c, h * w, h * w, wanted)
    return y


def channels_first(x: Any, channels: int | None = None) -> Any:
    """A contiguous (N, H, W, C) as a contiguous (N, C, H, W), of which the first `channels`."""
    import cupy

    n, h, w, c = x.shape
    y = cupy.empty((n, channels or c, h, w), x.dtype)
    _transpose(x, y, n, h * w, channels or c, c, h * w)
    return y


def _transpose(x: Any, y: Any, batch: int, rows: int, columns: int, x_row: int, y_row: int) -> None:
    """y (batch, columns, y_row) from x (batch, rows, x_row)."""
    sizes = [number(each) for each in (batch, rows, columns, x_row, y_row)]
    itemsize, short = x.dtype.itemsize, min(y_row, columns)
    if short <= _SHORT and itemsize <= 4:
        if y_row * itemsize in (4, 8, 16) and y.data.ptr % 16 == 0:
            pieces = divide_up(columns, 256), min(batch, 65535)
            _transposing(itemsize, y_row, True, narrow=True)(pieces, x, y, *sizes)
            return
        long, whole = max(y_row, columns), x_row == columns and y_row == rows
        fits = whole and long * itemsize % 16 == 0 and (x.data.ptr | y.data.ptr) % 16 == 0
        kernel = _transposing(itemsize, short, y_row <= columns, fits)
        kernel((divide_up(long, 256 if fits else 128), min(batch, 65535)), x, y, *sizes)
        return
    high, wide = _TILE if itemsize <= 4 and rows * columns >= _LARGE else (32, 32)
    fits = ((x_row | y_row) * itemsize | x.data.ptr | y.data.ptr) % 16 == 0
    blocks = divide_up(columns, wide), min(divide_up(y_row, high), 65535), min(batch, 65535)
    _turning(itemsize, high, wide, 16 // itemsize if fits else 1)(blocks, x, y, *sizes)


@cache
def _turning(itemsize: int, high: int, wide: int, pack: int) -> Kernel:
    """The kernel where no side is short."""
    bits = f"uint{8 * itemsize}"
    constants: dict[str, Constant] = {"Bits": bits, "high": high, "wide": wide, "pack": pack}
    return Kernel(_SOURCE, "transpose", constants)


@cache
def _transposing(
    itemsize: int, few: int, short_rows: bool, whole: bool = False, narrow: bool = False
) -> Kernel:
    """The kernel; `few` says how short the short side is."""
    bits = f"uint{8 * itemsize}"
    constants: dict[str, Constant] = {"Bits": bits, "few": few, "short_rows": short_rows}
    if narrow:
        return Kernel(_SOURCE, "transpose_narrow", constants)
    return Kernel(_SOURCE, "transpose_whole" if whole else "transpose_short", constants)


def _collapsed(
    shape: tuple[int, ...], steps: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sizes and steps with as few dimensions as will do."""
    dimensions: list[int] = []
    strides: list[int] = []
    for size, step in zip(shape, steps, strict=True):
        if size == 1:
            continue
        if strides and strides[-1] == size * step:
            dimensions[-1] *= size
            strides[-1] = step
        else:
            dimensions.append(size)
            strides.append(step)
    return tuple(dimensions or (1,)), tuple(strides or (1,))


@cache
def _copy(
    source: np.dtype[Any], result: np.dtype[Any], dimensions: tuple[int, ...],
    steps: tuple[int, ...], aligned: bool,
) -> tuple[Any, Any]:  # fmt: skip
    """The launch of a copy, and the size it takes."""
    pack = 16 // max(source.itemsize, result.itemsize) if aligned and steps[-1] == 1 else 1
    while pack > 1 and (dimensions[-1] % pack or any(each % pack for each in steps[:-1])):
        pack //= 2
    size = prod(dimensions)
    reach = sum(abs(step) * (count - 1) for step, count in zip(steps, dimensions, strict=True))
    offset = offset_type(max(size, reach + 1))
    kernel = copy_kernel(source, result, dimensions, steps, offset, pack)
    blocks = divide_up(size, 256 * pack)
    return lambda x, y, last: kernel(blocks, x, y, last), offset.type(size)
