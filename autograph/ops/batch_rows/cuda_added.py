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
_SCANNED = 2**24  # indices times rows up to which looking through is faster than sorting


def added_rows_cuda(size, indices, rows):
    """(size, ...) with each of rows (M, ...) added at its index of (M,)."""
    shape, width, count = (size, *rows.shape[1:]), prod(rows.shape[1:]), len(rows)
    if not (count and size and width):
        return cupy.zeros(shape, rows.dtype)
    rows = rows if rows.flags.c_contiguous else cupy.ascontiguousarray(rows)
    scans = width >= 32 and size * count <= _SCANNED
    constants, pieces, lanes = _constants(rows.dtype, indices.dtype, width)
    rows, fault = aligned(rows), words().fault
    if scans:
        total = cupy.empty(shape, rows.dtype)
        kernel = _kernel("added_by_scan", constants)
        kernel(
            (size, pieces), rows, indices, total, fault, number(count), np.int64(size),
            np.int64(width),
        )  # fmt: skip
        return total
    keys, total = cupy.empty(count, np.int64), cupy.zeros(shape, rows.dtype)
    _kernel("keys_of", constants)(
        divide_up(count, 256), indices, keys, fault, number(count), np.int64(size)
    )
    keys.sort()
    _kernel("added_by_key", constants)(
        (divide_up(count, 256 // lanes), pieces), rows, keys, total, number(count),
        np.int64(size), np.int64(width),
    )  # fmt: skip
    return total


@cache
def _constants(dtype, index, width):
    """The constants as pairs, the pieces that a row is cut into, and the threads across one."""
    pack = 16 // dtype.itemsize
    while width % pack:
        pack //= 2
    lanes = 1
    while lanes < 256 and lanes * pack < width:
        lanes *= 2
    wide = np.dtype("f8") if dtype.kind == "f" and dtype.itemsize >= 4 else dtype
    constants = {
        "Scalar": c_type(dtype), "Sum": "float" if dtype.itemsize == 2 and dtype.kind in "fV"
        else c_type(wide), "Index": c_type(index), "lanes": lanes, "pack": pack,
    }  # fmt: skip
    return tuple(constants.items()), divide_up(width, lanes * pack), lanes


@cache
def _kernel(name, constants):
    return Kernel(_SOURCE, name, dict(constants))
