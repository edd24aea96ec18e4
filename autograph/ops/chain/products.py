"""How products on tensor cores are cut into tasks of warps: the cheapest of all cuts, by counting.

As in `tiles`, a count depends on shapes alone. A multiprocessor issues four instructions a cycle
and serves one wavefront of shared memory; each of its four tensor cores takes about seven cycles
for 16 x 8 x 16 products. One warp alone issues an instruction in about five cycles.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import ceil, gcd, inf, prod

from .stages import Image, Shape, Stage, up
from .tiles import Block, cheapest, wavefronts

SUMS = 40  # that a thread has in registers
BODY = 128  # products in the text of a loop
TILES = (1, 1), (1, 2), (2, 1), (2, 2), (2, 4), (4, 2)


def turns_of(
    block: Block, tasks: int, loads: float, products: float, instructions: float, waits: float = 0
) -> float:
    """Cycles of so many tasks of a warp."""
    warps, total = block.threads // 32, 0.0
    for busy, turns in ((warps, tasks // warps), (tasks % warps, 1)):
        if busy:
            issued = ceil(busy / 4) * max(instructions, 7 * products)
            total += turns * (100 + waits + max(busy * loads, issued, 5 * instructions))
    return total


def summing(block: Block, shares: int, count: int) -> float:
    """Cycles of a phase that sums the shares of so many numbers."""
    return 0.0 if shares == 1 else 300 + ceil(count / block.threads) * (20 + 4 * shares)


# -- convolution -----------------------------------------------------------------------------


def pixels(shape: Shape, cell: int, size: Shape, row: int, border: Shape, step: Shape) -> Image:
    """An image of pixels of `cell` numbers, with a border, each `step` from the next; `size` is
    that of all of it. Behind a sample is room for what is read and left out."""
    c, h, w = shape
    extent = size[0] * row
    return Image(
        c, h, w, border[0], border[1], rows=size[0], row=step[0] * row, cell=step[1] * cell,
        plane=1 if cell > 1 else extent, extent=extent, sample=up(extent + 16, 8),
        origin=border[0] * row + border[1] * cell,
    )  # fmt: skip


def divisors(n: int) -> list[int]:
    return [i for i in range(1, n + 1) if n % i == 0]


def convolve(
    block: Block, shape: Shape, cells: Sequence[int], made: int, out: Shape, filter: Shape,
    stride: Shape, border: Shape, step: Shape, tiles: Sequence[Shape], each: int,
) -> tuple[dict[str, int], Image]:  # fmt: skip
    """The cut of a convolution, of which `each` cell takes so many instructions in the end, and
    the image that it reads, of pixels of one of these `cells`."""
    (_, h, w), (kh, kw), (sy, sx) = shape, filter, stride
    costs, images = [], []
    for cell, (ty, tx) in product(cells, tiles):
        gy, gx = ceil(out[0] / ty), ceil(out[1] / tx)
        rows = max((gy * ty - 1) * sy + kh, border[0] + (h - 1) * step[0] + 1)
        columns = max((gx * tx - 1) * sx + kw, border[1] + (w - 1) * step[1] + 1)
        least = up(columns * cell, 2)
        conflicts, row = min(
            (_conflicts(gy, gx, ty * sy * row, tx * sx * cell) * (1 + (row - least) / 500), row)
            for row in range(least, least + 32, 2)
        )
        images.append(pixels(shape, cell, (rows, columns), row, border, step))
        for n, shares in product((1, 2, 3, 4), divisors(kh)):
            for body in (kh // shares, 1):
                cost, chunks = _convolving(
                    block, (ty, tx), (gy, gx), made, filter, stride, cell, conflicts, n, shares,
                    body, each,
                )  # fmt: skip
                costs.append((cost, len(images) - 1, ty, tx, gy, gx, n, shares, body, chunks))
    best = cheapest(costs, "conv2")
    names = "TY", "TX", "GY", "GX", "N", "SP", "B", "Q"
    return dict(zip(names, best[2:], strict=True)), images[best[1]]


def _convolving(
    block: Block, tile: Shape, grid: Shape, made: int, filter: Shape, stride: Shape, cell: int,
    conflicts: float, n: int, shares: int, body: int, each: int,
) -> tuple[float, int]:  # fmt: skip
    """Cycles, and how many chunks of 8 numbers a row of the filter is."""
    (ty, tx), (kh, kw), columns = tile, filter, ceil(made / 8)
    chunks, bodies = ceil(kw * cell / 8), kh // shares // body
    if shares * bodies > 1:
        chunks = up(chunks, 2)
    steps, pairs = ceil(body * chunks / 2), ceil(ty * tx / 2)
    if n > columns or n * pairs * 4 > SUMS or steps * pairs * n > BODY:
        return inf, 0
    reads = ((ty - 1) * stride[0] + body) * tx * chunks * conflicts * (1.5 if cell % 2 else 1)
    weights = 0 if shares * bodies == 1 and n == columns and steps * n <= 8 else 2 * steps * n
    groups = ceil(block.samples * prod(grid) / 8) * ceil(columns / n)
    cells = 2 * n * ty * tx
    masked = reads * ((1 if kw * cell % 8 else 0) / chunks + cell % 2)
    instructions = 50 + bodies * (reads + masked + steps * n * (1 + pairs)) + each * cells
    cost = turns_of(
        block, groups * shares, bodies * (reads + weights) + cells, bodies * steps * pairs * n,
        instructions,
    )  # fmt: skip
    return cost + summing(block, shares, block.samples * made * prod(grid) * ty * tx), chunks


def _conflicts(gy: int, gx: int, down: int, right: int) -> float:
    """Wavefronts of a load by a warp, whose lanes read four words of each of eight tiles."""
    groups = range(min(4, ceil(gy * gx / 8)))
    total = 0
    for group in groups:
        tiles = [min(group * 8 + g, gy * gx - 1) for g in range(8)]
        starts = [(tile // gx * down + tile % gx * right) // 2 for tile in tiles]
        total += wavefronts([start + t for start in starts for t in range(4)])
    return total / len(groups)


def plan_conv(stage: Stage, block: Block, wanted: bool) -> None:
    (c, h, w), (o, oh, ow), (kh, kw) = stage.shape, stage.conv_out, stage.filter
    (py, px), pool = stage.padding, stage.pool
    seen = (stage.out[1] * pool[0], stage.out[2] * pool[1]) if pool else (oh, ow)
    stage.plan, stage.input = convolve(
        block, stage.shape, [1] if c == 1 else [up(c, 2), up(c, 8)], o, seen, stage.filter,
        stage.stride, stage.padding, (1, 1), [pool] if pool else TILES, 6 if pool else 12,
    )  # fmt: skip
    stage.delta = pixels(stage.conv_out, up(o, 2), (oh, ow), ow * up(o, 2), (0, 0), (1, 1))
    if wanted:
        back, stage.delta = convolve(
            block, stage.conv_out, [up(o, 2), up(o, 8)], c, (h, w), stage.filter, (1, 1),
            (kh - 1 - py, kw - 1 - px), stage.stride, TILES, 20,
        )  # fmt: skip
        stage.plan |= {f"D{name}": value for name, value in back.items()}
    stage.plan |= {"cells": 0} | _plan_weight_grad(stage, block)


def _plan_weight_grad(stage: Stage, block: Block) -> dict[str, int]:
    (kh, kw), (o, oh, ow), cell = stage.filter, stage.conv_out, stage.input.cell
    steps, columns = ceil(block.samples * oh * ow / 16), 1 if cell % 2 else 2
    units = ceil(o / 16) * ceil(kw * cell / 8 / columns)

    def cost(body: int, shares: int) -> float:
        if body * columns * 4 > SUMS or shares * stage.weights > 16384:
            return inf
        each = ceil(steps / shares)
        loads = each * (4 + 4 * body) * 1.5
        instructions = 60 + each * (30 + body * (4 + 3 * columns)) + 8 * body * columns
        tasks = kh // body * units * shares
        work = turns_of(block, tasks, loads, each * body * columns, instructions)
        return work + summing(block, shares, stage.weights)

    cuts = product({1, kh}, [n for n in (1, 2, 3, 4, 6, 8, 12, 16) if n <= steps])
    _, body, shares = cheapest(((cost(*cut), *cut) for cut in cuts), "conv2's weight gradient")
    return {"WB": body, "WSP": shares}


# -- dense -----------------------------------------------------------------------------------


PIECES = 8  # of a weight, whose rows a warp reads side by side


def rows(count: int, read: int) -> Image:
    """Rows of so many numbers, of which more are read, that begin in four banks each."""
    return Image(count, 1, 1, extent=read, sample=up(read, 64) + 8)


def plan_linear(stage: Stage, block: Block, resident: bool) -> None:
    inputs, outputs = prod(stage.shape), stage.out[0]
    piece = up(ceil(inputs / PIECES), max(2, 8 // gcd(outputs, 8)))  # of whole accesses
    steps = piece // 2

    def cost(v: int, shares: int) -> float:
        each, tasks = ceil(steps / shares), ceil(outputs / 8 / v) * shares
        loads = each * (2 * v + 6)
        instructions = each * (10 + 2.5 * v) + 40 + 12 * v
        waits = 0 if resident else 200 * each
        work = turns_of(block, tasks, loads, each * v / 2, instructions, waits)
        return work + summing(block, shares, block.samples * outputs)

    cuts = product(
        [v for v in (2, 4, 8) if v <= max(2, gcd(outputs, 8))],
        [n for n in (1, 2, 4, 8, 16) if n <= max(1, steps // 2)],
    )
    _, v, shares = cheapest(((cost(*cut), *cut) for cut in cuts), "linear")
    stage.plan = {"V": v, "SP": shares, "R": piece}
    stage.input, stage.delta = rows(inputs, PIECES * piece), rows(outputs, up(outputs, 16))


def plan_stage(stage: Stage, block: Block, wanted: bool, resident: bool) -> None:
    """Cut a stage into tasks, and lay out its input and the gradient of its output."""
    if stage.kind == "linear":
        plan_linear(stage, block, resident)
    elif stage.kind == "conv2":
        plan_conv(stage, block, wanted)
    else:
        stage.input, stage.delta = Image(*stage.shape), Image(*stage.out)
