"""How many samples and threads a block of a chain has, and whether the chain is worth it.

Rules of shapes alone, read off runs on an H200: a timing would change the bits from run to run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import product
from math import ceil

from ...backends.cuda.launch import device_architecture
from ...outline import Outline
from ...scalar_type import BF16, F32
from ..update.together import TOGETHER
from .first import First
from .matrix import Matrix
from .scalar import Scalar
from .stages import DoesNotFit, Layers, Shape, Stage, parse
from .tiles import Block

WAVE = 132  # blocks that run at a time, one on each multiprocessor
SAMPLES = 8  # of a block, which are the columns of a product on tensor cores
DENSE = 1 << 20  # bytes of dense weights that blocks may still read one by one

_SHARED = {80: 163, 87: 163, 120: 99}


def shared_limit(architecture: int) -> int:
    """Bytes of shared memory that a block may have."""
    return _SHARED.get(architecture, 99 if architecture < 90 else 227) * 1024


def first_for(
    x: Outline, parameters: Sequence[Outline], layers: Layers, head: str, has_dx: bool
) -> First:
    """The first kernel of a chain for these inputs; DoesNotFit says why there is none."""
    kinds = {each.scalar_type for each in (x, *parameters)}
    if kinds not in ({F32}, {BF16}):
        names = ", ".join(sorted(map(str, kinds)))
        raise DoesNotFit(f"its scalar types are {names}, and it takes f32 or bf16 alone")
    if x.size == 0:
        raise DoesNotFit("the batch is empty")
    if len(parameters) > TOGETHER:
        raise DoesNotFit(f"it has {len(parameters)} parameters, and takes {TOGETHER}")
    architecture = device_architecture(x.device.index) if x.device.kind == "cuda" else 90
    shapes = tuple(each.shape for each in parameters)
    size = x.scalar_type.dtype.itemsize
    return _first_of(layers, x.shape, shapes, head, has_dx, size, architecture)


@lru_cache(maxsize=256)
def _first_of(
    layers: Layers, shape: Shape, parameters: tuple[Shape, ...], head: str, has_dx: bool,
    itemsize: int, architecture: int,
) -> First:  # fmt: skip
    """The same by shapes."""
    stages = parse(layers, shape[1:], parameters)
    limit, samples = shared_limit(architecture), shape[0]
    weights = [stage.weights for stage in stages if stage.kind == "linear"]
    if not any(stage.weight >= 0 for stage in stages):
        raise DoesNotFit("none of its layers has a weight")
    if sum(weights) * itemsize > DENSE:
        raise DoesNotFit(
            f"its dense weights are {sum(weights) * itemsize:,} bytes, which every block reads, "
            f"and that pays up to {DENSE:,}"
        )
    if len(stages) < 2:
        raise DoesNotFit("it has one stage, which is one kernel already")

    if itemsize == 2:
        most = min(SAMPLES, ceil(samples / WAVE))
        for each, resident in product(range(most, 0, -1), (True, False)):
            try:
                stages, block = parse(layers, shape[1:], parameters), Block(each, 512)
                return Matrix(stages, block, head, has_dx, limit, itemsize, resident)
            except DoesNotFit:
                continue

    def made(block: Block, resident: bool) -> First:
        return scalar_kernel(
            parse(layers, shape[1:], parameters), block, head, has_dx, limit, resident, itemsize
        )

    one = made(Block(1, 512), samples <= WAVE)
    if samples <= WAVE:
        return one
    if all(stage.kind != "conv2" for stage in stages):
        each = 4 if samples <= 4 * WAVE else 8
        return _first_that_fits(made, (Block(each, 512), Block(4, 256), Block(1, 512)), False)
    if head == "scores":
        each = min(8, ceil(samples / WAVE))
        return _first_that_fits(made, [Block(n, 512) for n in range(each, 0, -1)], True)
    if one.shared > 110 * 1024:
        return one
    return _first_that_fits(made, (Block(2 if samples > 512 else 1, 256), Block(1, 512)), False)


def scalar_kernel(
    stages: list[Stage], block: Block, head: str, has_dx: bool, limit: int, resident: bool,
    itemsize: int = 4,
) -> First:  # fmt: skip
    """The kernel with the dense weights in shared memory, or without where that is too much."""
    if resident:
        try:
            return Scalar(stages, block, head, has_dx, limit, itemsize, True)
        except DoesNotFit:
            pass
    return Scalar(stages, block, head, has_dx, limit, itemsize)


def _first_that_fits(
    made: Callable[[Block, bool], First], blocks: Sequence[Block], resident: bool
) -> First:
    for block in blocks[:-1]:
        try:
            return made(block, resident)
        except DoesNotFit:
            continue
    return made(blocks[-1], False)
