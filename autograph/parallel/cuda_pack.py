"""Packing gradients on a CUDA device, all of a bucket in one launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import c_uint64
from functools import reduce
from itertools import accumulate
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.cuda.compile import c_type
from ..backends.cuda.launch import Kernel, divide_up

_SOURCE = Path(__file__).with_name("pack.cu")
TOGETHER = 96  # arrays that the arguments of a launch have room for

Pack = Callable[[Any, Sequence[Any]], None]


def packing(
    sizes: Sequence[int], places: Sequence[int], source: np.dtype[Any], target: np.dtype[Any]
) -> Pack:
    """The launches that write arrays of these sizes into a flat one, each at its place."""
    runs = [
        _packing(sizes[at : at + TOGETHER], places[at : at + TOGETHER], source, target)
        for at in range(0, len(sizes), TOGETHER)
    ]

    def run(flat: Any, arrays: Sequence[Any]) -> None:
        for i, each in enumerate(runs):
            each(flat, arrays[i * TOGETHER : (i + 1) * TOGETHER])

    return run


def _packing(
    sizes: Sequence[int], places: Sequence[int], source: np.dtype[Any], target: np.dtype[Any]
) -> Pack:
    kernels = []
    for pack in (1, 16 // max(source.itemsize, target.itemsize)):
        *first, total = accumulate([divide_up(size, 256 * pack) for size in sizes], initial=0)
        constants: dict[str, Any] = {
            "Source": c_type(source), "Target": c_type(target), "count": len(sizes), "pack": pack
        }  # fmt: skip
        kernel = Kernel(_SOURCE, "pack_flat", constants, struct=True)
        kernels.append((kernel, (max(1, total),), [*sizes, *places, *first]))
    table = c_uint64 * (1 + 4 * len(sizes))

    def run(flat: Any, arrays: Sequence[Any]) -> None:
        pointers = [each.data.ptr for each in arrays]
        kernel, blocks, numbers = kernels[not reduce(or_, pointers, flat.data.ptr) % 16]
        kernel(blocks, table(flat.data.ptr, *numbers, *pointers))

    return run
