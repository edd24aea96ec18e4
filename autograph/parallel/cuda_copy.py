"""Copying many arrays on a CUDA device, converted on the way, in one launch."""

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

_SOURCE = Path(__file__).with_name("copy.cu")
TOGETHER = 96  # arrays that the arguments of a launch have room for

Copy = Callable[[Sequence[int], Sequence[int]], None]  # addresses of targets, and of sources


def copying(sizes: Sequence[int], source: np.dtype[Any], target: np.dtype[Any]) -> Copy:
    """The launches that copy arrays of these sizes."""
    runs = [
        _copying(sizes[at : at + TOGETHER], source, target) for at in range(0, len(sizes), TOGETHER)
    ]

    def run(targets: Sequence[int], sources: Sequence[int]) -> None:
        for i, each in enumerate(runs):
            some = slice(i * TOGETHER, (i + 1) * TOGETHER)
            each(targets[some], sources[some])

    return run


def _copying(sizes: Sequence[int], source: np.dtype[Any], target: np.dtype[Any]) -> Copy:
    kernels = []
    for pack in (1, 16 // max(source.itemsize, target.itemsize)):
        *first, total = accumulate([divide_up(size, 256 * pack) for size in sizes], initial=0)
        constants: dict[str, Any] = {
            "Source": c_type(source), "Target": c_type(target), "count": len(sizes), "pack": pack
        }  # fmt: skip
        kernel = Kernel(_SOURCE, "copy_arrays", constants, struct=True)
        kernels.append((kernel, (max(1, total),), [*sizes, *first]))
    table = c_uint64 * (4 * len(sizes))

    def run(targets: Sequence[int], sources: Sequence[int]) -> None:
        kernel, blocks, numbers = kernels[not reduce(or_, targets, reduce(or_, sources)) % 16]
        kernel(blocks, table(*numbers, *targets, *sources))

    return run
