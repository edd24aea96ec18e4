"""Rows added up by index on a device, as in gradients of indexing: the same bits every run."""

from functools import cache
from math import prod
from pathlib import Path

import cupy
import numpy as np

from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import Kernel, aligned, divide_up, number
from ...backends.cuda.words import words

_SOURCE = Path(__file__).with_name("added.cu")
_BLOCKS = 128  # that sort a few indices: about as many as a device runs at once
_LISTED = 2**15, 2**16 * _BLOCKS  # indices and rows up to which they do
_SHARED = 64 * 1024  # bytes that every device has for a block


def added_rows_cuda(size, indices, rows):
    """(size, ...) with each of rows (M, ...) added at its index of (M,)."""
    shape, width, count = (size, *rows.shape[1:]), prod(rows.shape[1:]), len(rows)
    if not (count and size and width):
        return cupy.zeros(shape, rows.dtype)
    run = _added(size, count, width, rows.dtype, indices.dtype)
    return run(aligned(_contiguous(rows)), _contiguous(indices)).reshape(shape)


def _contiguous(array):
    return array if array.flags.c_contiguous else cupy.ascontiguousarray(array)


@cache
def _added(size, count, width, dtype, index):
    """The launches for rows (count, width) that are added into (size, width)."""
    pack, lanes = min(8, 16 // dtype.itemsize), 1
    while width % pack:
        pack //= 2
    while lanes < 32 and lanes * pack < width:
        lanes *= 2
    wide = np.dtype("f8" if dtype.itemsize >= 4 else "f4") if dtype.kind in "fV" else dtype
    piece = max(32, 1 << (count.bit_length() - 1) // 2)  # as many as there may be of them
    windows, slabs = divide_up(count, piece) * (count > piece), divide_up(width, lanes * pack)
    marks, is_listed = windows * (width // pack), count <= _LISTED[0] and size <= _LISTED[1]
    groups = (size if is_listed else count) + windows
    blocks = divide_up(groups, 256 // lanes) * slabs
    memory = count + divide_up(size * is_listed + 1 + marks, 2)
    n, sizes = number(count), (np.int64(size), number(width), number(slabs), number(piece))
    add = Kernel(_SOURCE, "added", {
        "Scalar": c_type(dtype), "Sum": c_type(wide), "lanes": lanes, "pack": pack,
        "has_starts": is_listed,
    })  # fmt: skip
    items = max(32, 1 << (count - 1).bit_length())
    threads, is_shared = min(1024, items), 4 * items <= _SHARED
    listed = Kernel(_SOURCE, "listed", {
        "Index": c_type(index), "threads": threads, "each": items // threads,
        "is_shared": is_shared,
    }, threads=threads, shared=4 * items * is_shared)  # fmt: skip
    keys_of = Kernel(_SOURCE, "keys_of", {"Index": c_type(index)})
    rows_each = divide_up(size, _BLOCKS)
    ranges = divide_up(size, rows_each), np.int32(rows_each)

    def run(rows, indices):
        fault, make = words().fault, cupy.empty if is_listed else cupy.zeros
        keys, total = make(memory, np.int64), make((size, width), dtype)
        partial = cupy.empty((2 * windows, width), wide)
        if is_listed:
            listed(ranges[0], indices, keys, fault, n, np.int32(size), ranges[1], np.int64(marks))
        else:
            keys_of(divide_up(count, 256), indices, keys, fault, n, sizes[0])
            keys[:count].sort()
        add(blocks, rows, keys, total, partial, n, *sizes)
        return total

    return run
