"""The generated kernels of a chain on the host, for blocks of any size."""

from __future__ import annotations

from ctypes import c_uint64
from typing import Any, NamedTuple

import numpy as np

from autograph.backends.cuda.launch import Kernel, divide_up
from autograph.ops.chain.configure import scalar_kernel
from autograph.ops.chain.cuda_kernels import first_text, second_text
from autograph.ops.chain.matrix import Matrix
from autograph.ops.chain.second import THREADS, Second
from autograph.ops.chain.stages import parse
from autograph.ops.chain.tiles import Block
from autograph.scalar_type import BF16

from . import host_cupy


class Update(NamedTuple):
    """How the second kernel moves parameters: its constants and numbers, and of each parameter w,
    step, what is remembered and master."""

    constants: dict[str, Any]
    numbers: tuple[float, ...]
    rate: Any
    moving: list[list[Any]]


def simulate(
    layers: Any, x: Any, parameters: Any, head: str, given: Any, block: Any,
    resident: bool = True, update: Update | None = None,
) -> tuple[Any, Any, list[Any]]:  # fmt: skip
    """y (or None), dx (or None) and loss and gradients (or what `update` has moved) of what two
    kernels make of the arrays: on tensor cores where those are of bf16."""
    samples, shapes, limit = len(x), [each.shape for each in parameters], 227 * 1024
    has_dx, is_half = head == "gradient", x.dtype == BF16.dtype
    stages = parse(layers, x.shape[1:], shapes)
    if is_half:
        first: Any = Matrix(stages, Block(*block), head, has_dx, limit, 2, resident)
    else:
        first = scalar_kernel(stages, Block(*block), head, has_dx, limit, True)
    scalar, blocks = "bf16" if is_half else "float", divide_up(samples, block[0])
    with host_cupy.installed() as cupy:
        arrays = [cupy.asarray(each) for each in (x, given, *parameters)]
        y = cupy.empty((samples, int(np.prod(stages[-1].out))), x.dtype)
        dx, losses = cupy.empty(x.shape, x.dtype), cupy.empty(samples, np.float32)
        rows = cupy.empty(first.row * samples, np.float32)
        partials = cupy.empty(first.partial * blocks, np.float32)
        fault = cupy.asarray(np.full(1, 2**64 - 1, np.uint64))
        text, spec = first_text(first, scalar), {"Target": "int64", "blocks": 1}
        run = Kernel(text, "first", spec, threads=block[1], shared=first.shared, struct=True)
        places = [*arrays[:2], y, dx, rows, partials, losses, fault]
        run(blocks, words(*places, samples, *arrays[2:]))
        found = y if head != "gradient" else None, dx if has_dx else None
        if head == "scores":
            return *found, []
        second = Second(first)
        spec = {
            "count": len(shapes), "shares": 1, "moves": 0, "states": 0, "counts": False,
            "has_master": False,
        }  # fmt: skip
        rate, numbers = cupy.zeros(()), np.zeros(4)
        loss, result = cupy.empty((), x.dtype), [cupy.empty(shape, x.dtype) for shape in shapes]
        table: list[Any] = [word for each in result for word in (each, *[0] * 6)]
        if update is not None:
            spec, numbers = spec | update.constants, np.array(update.numbers)
            rate, result, table = cupy.asarray(update.rate), [], []
            for part in update.moving:
                moved = [None if each is None else cupy.asarray(each) for each in part]
                w, step, *states, master = [0 if each is None else each for each in moved]
                table += [0, w, step, *states, *[0] * (3 - len(states)), master]
                result += [each for each in moved if each is not None]
        finished = cupy.zeros(2 + second.tiles, np.uint32)
        given_losses = losses if head == "loss" else 0
        run = Kernel(second_text(first, scalar), "second", spec, threads=THREADS, struct=True)
        places = [arrays[0], rows, partials, given_losses, loss, 0, finished, finished[1:]]
        moves = numbers.view(np.uint64).tolist()
        run(second.blocks(samples), words(*places, samples, blocks, rate, *moves, *table))
    return *found, [np.asarray(each) for each in (loss, *result)]


def words(*given: Any) -> Any:
    """The struct that a kernel takes: addresses of arrays, and numbers."""
    found = [each.data.ptr if isinstance(each, np.ndarray) else int(each) for each in given]
    return (c_uint64 * len(found))(*found)
