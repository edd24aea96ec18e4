"""How the work of a stage is cut into tasks: the cheapest of all cuts, by counting.

A count depends on shapes alone, never on a timing, because a cut is the order of a sum and with it
the bits. An SM issues four instructions a cycle and serves one wavefront of shared memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from math import ceil, gcd, inf, prod
from typing import NamedTuple

from .stages import DoesNotFit, Image, Shape, Stage, up, width

LANES = range(32)
SCRATCH = 8192  # numbers that the shares of one sum may take in shared memory


class Block(NamedTuple):
    """What a block has: samples in shared memory, and threads."""

    samples: int
    threads: int

    @property
    def registers(self) -> int:
        """What a thread may hold without spilling."""
        return 100 if self.threads >= 512 else 150

    def cycles(self, tasks: int, instructions: float, wavefronts: float, depth: int = 2) -> float:
        """Of a phase; `depth`: instructions that wait for one another, in quarters of a cycle."""
        total = 0.0
        for threads, turns in ((self.threads, tasks // self.threads), (tasks % self.threads, 1)):
            warps = ceil(threads / 32)
            if warps:
                total += turns * max(max(warps / 4, depth) * instructions, warps * wavefronts)
        return total

    def sharing(self, shares: int, count: int, each: int) -> float:
        """What it costs to sum shares of a result of `count` numbers, in tasks of `each`."""
        if shares == 1:
            return 0
        if shares * count * self.samples > SCRATCH:
            return inf
        tasks = ceil(self.samples * count / each)
        return 80 + self.cycles(tasks, shares * (each + 1) + 20, 0)


def cheapest(costs: Iterable[tuple[float, ...]], what: str) -> tuple[int, ...]:
    """The cut of the least cost, which comes first in each; the cost itself in front."""
    best = min(costs, default=(inf,))
    if best[0] == inf:
        raise DoesNotFit(f"no cut of {what} fits registers and scratch")
    return best  # type: ignore[return-value]


def wavefronts(places: Sequence[int], vector: int = 1) -> int:
    """Passes over the 32 banks that one warp's load of vectors at these places takes."""
    group, total = 32 // vector, 0
    for first in range(0, len(places), group):
        banks: dict[int, set[int]] = {}
        for place in set(places[first : first + group]):
            banks.setdefault(place // vector % group, set()).add(place)
        total += max(map(len, banks.values()))
    return total


def spread(image: Image, align: int, cost: Callable[[int, int], float]) -> Image:
    """The image with the strides of the fewest bank conflicts, for a little more memory."""
    found = []
    for row in range(image.row, image.row + 5, align):
        for gap in range(0, 32 if image.c > 1 else 1, align):
            plane = image.rows * row + gap
            larger = 1 + plane / image.rows / image.row / 20
            found.append((cost(row, plane) * larger, row, plane))
    _, row, plane = min(found)
    return Image(image.c, image.h, image.w, image.py, image.px, image.rows, row, plane)


# -- dense -----------------------------------------------------------------------------------


def plan_linear(stage: Stage, block: Block) -> None:
    (inputs, *_), (outputs, *_), samples = stage.shape, stage.out, block.samples
    v = width(outputs)

    def forward(shares: int, rows: int) -> float:
        share = up(ceil(inputs / shares), rows)
        loads = 1 + samples / rows + samples * v
        waves = share * (v + samples / rows)
        cost = block.cycles(outputs // v * shares, share * loads, waves, depth=6)
        return cost + block.sharing(shares, outputs, 1)

    rows = width(inputs)
    shares = [n for n in (1, 2, 3, 4, 6, 7, 8, 12, 16, 24, 32) if n <= max(1, inputs // rows)]
    _, share = cheapest(((forward(n, rows), n) for n in shares), "linear")

    def back(each: int) -> float:
        steps = ceil(outputs / 32 / v)
        products = steps * (each + samples + each * samples * v)
        warps, merged = ceil(inputs / each), samples * (4.5 * each + 45)
        waits = 250 * ceil(warps * 32 / block.threads)
        waves = steps * v * (each + samples)
        return waits + block.cycles(warps * 32, 30 + products + merged, waves)

    most = max(1, 32 // samples)
    _, each = cheapest(((back(n), n) for n in (1, 2, 4, 8, 16) if n <= most), "linear")
    stage.plan = {"V": v, "R": rows, "SP": share, "IB": each}
    stage.input, stage.delta = Image(inputs, 1, 1), Image(outputs, 1, 1)


# -- convolution -----------------------------------------------------------------------------


def tile_cost(
    block: Block, summed: int, made: int, grid: Shape, filter: Shape, cells: float, each: int,
    shares: int, patch: Shape, step: int, full: int = 0,
) -> float:  # fmt: skip
    """Of tiles that read a patch: `cells` products a tap, `full` results of `each` channels."""
    held = patch[0] * patch[1] + each * cells + each
    if shares > summed or each > up(made, 2) or held > block.registers or each * cells > 48:
        return inf
    a, share = width(step), ceil(summed / shares)
    loads = patch[0] * ceil(patch[1] / a)
    weights = filter[0] * filter[1] * (each if full else ceil(each / width(each)))
    work = share * (filter[0] * filter[1] * cells * each + loads + weights + 8)
    tasks = block.samples * shares * ceil(made / each) * prod(grid)
    waves = share * (loads * max(a, gcd(step, 8)) + weights)
    size = full or int(cells)
    return block.cycles(tasks, 40 + work, waves) + block.sharing(
        shares, made * prod(grid) * size, size
    )


def plan_conv(stage: Stage, block: Block, needs_input_grad: bool) -> None:
    if stage.padding[0] >= stage.filter[0] or stage.padding[1] >= stage.filter[1]:
        raise DoesNotFit("a padding as large as the filter")
    _plan_forward(stage, block)
    _plan_weight_grad(stage, block)
    _lay_out_input(stage)
    _plan_input_grad(stage, block, needs_input_grad)


def _plan_forward(stage: Stage, block: Block) -> None:
    (c, *_), (o, oh, ow), (sy, sx) = stage.shape, stage.conv_out, stage.stride
    tiles = [stage.pool] if stage.pool else [(1, 1), (1, 2), (1, 3), (1, 4), (2, 2), (2, 4), (1, 7)]

    def grid(ty: int, tx: int) -> Shape:
        return stage.out[1:] if stage.pool else (ceil(oh / ty), ceil(ow / tx))

    def cost(ty: int, tx: int, each: int, shares: int) -> float:
        patch = (ty - 1) * sy + stage.filter[0], (tx - 1) * sx + stage.filter[1]
        return tile_cost(
            block, c, o, grid(ty, tx), stage.filter, ty * tx, each, shares, patch, tx * sx
        )

    cuts = product(tiles, (1, 2, 3, 4, 6, 8), (1, 2, 3, 4, 5, 6, 8))
    costs = ((cost(ty, tx, each, n), ty, tx, each, n) for (ty, tx), each, n in cuts)
    _, ty, tx, each, shares = cheapest(costs, "conv2")
    gy, gx = grid(ty, tx)
    stage.plan = {"TY": ty, "TX": tx, "OB": each, "SP": shares, "GY": gy, "GX": gx}


def _plan_weight_grad(stage: Stage, block: Block) -> None:
    """By cells of a pool, or by rows, whichever is cheaper."""
    (c, *_), (o, oh, ow), samples = stage.shape, stage.conv_out, block.samples
    (kh, kw), (_, sx), taps = stage.filter, stage.stride, stage.weights // stage.out[0]

    def sharing(shares: int) -> float:
        return (
            inf
            if shares * o * taps > SCRATCH and shares > 1
            else (shares > 1) * (80 + block.cycles(o * taps, 2 * shares + 10, 0))
        )

    def rows(xu: int, each: int, shares: int) -> float:
        seen = (xu - 1) * sx + kw
        if each * kw + xu + seen > block.registers - 15 or each > o:
            return inf
        turns = ceil(samples * oh / shares) * ceil(ow / xu)
        a, da = width(xu * sx), width(xu)
        own, other = ceil(xu / da), ceil(seen / a)
        work = 20 + turns * (xu * each * kw + each * own + other + 6)
        waves = turns * (each * own * 1.3 + max(a, 1.5) * other)
        tasks = ceil(o / each) * shares * c * kh
        return block.cycles(tasks, work, waves, 3) + sharing(shares)

    widths = [n for n in (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16) if up(ow, n) < ow + 4] or [1]
    cuts = product(widths, (1, 2, 3, 4, 6, 8), range(1, min(samples * oh, 33) + 1))
    by_rows = min((rows(*cut), -cut[0], *cut[1:]) for cut in cuts)
    by_cells: tuple[float, ...] = (inf,)
    if prod(stage.pool or (1,)) >= 4:
        windows = prod(stage.out[1:])

        def cells(q: int, shares: int) -> float:
            turns = samples * windows / shares
            work = 30 + 10 * q + turns * (1.5 + 3 * q)
            tasks = o * shares * ceil(taps / 32 / q) * 32
            return block.cycles(tasks, work, turns * (1 + 2.2 * q), 4) + sharing(shares)

        cuts2 = product((1, 2, 3, 4, 5, 8), (1, 2, 3, 4, 6, 8))
        by_cells = min((cells(*cut), *cut) for cut in cuts2)
    if by_cells[0] < by_rows[0]:
        stage.plan |= {"cells": 1, "XU": 1, "WQ": int(by_cells[1]), "WSP": int(by_cells[2])}
        return
    if by_rows[0] == inf:
        raise DoesNotFit("no cut of conv2's weight gradient fits registers and scratch")
    _, xu, each, shares = map(int, by_rows)
    stage.plan |= {"cells": 0, "XU": -xu, "WOB": each, "WSP": shares}


def _lay_out_input(stage: Stage) -> None:
    p, (c, h, w), (o, oh, ow) = stage.plan, stage.shape, stage.conv_out
    (kh, kw), (sy, sx), (py, px) = stage.filter, stage.stride, stage.padding
    taps, tiles, groups = c * kh * kw, p["GY"] * p["GX"], ceil(o / p["OB"])
    rows = max((p["GY"] * p["TY"] - 1) * sy + kh, (oh - 1) * sy + kh, h + py)
    row = max((p["GX"] * p["TX"] - 1) * sx + kw, (up(ow, p["XU"]) - 1) * sx + kw, w + px)
    align = width(p["TX"] * sx)
    if p["XU"] > 1:
        align = max(align, width(p["XU"] * sx))
    image = Image(c, h, w, py, px, rows, up(row, align))
    share = ceil(c / p["SP"])

    def cost(row: int, plane: int) -> float:
        def tile(t: int) -> int:
            at, sp = t % tiles, min(t // tiles // groups, p["SP"] - 1)
            y, x = at // p["GX"] * p["TY"] * sy, at % p["GX"] * p["TX"] * sx
            return y * row + x + sp * share * plane

        reads = ((p["TY"] - 1) * sy + kh) * ceil(((p["TX"] - 1) * sx + kw) / align)
        forward = wavefronts([tile(t) for t in LANES], align) * reads * c * tiles * groups
        if p["cells"]:
            places = [k // (kh * kw) * plane + k // kw % kh * row + k % kw for k in range(taps)]
            warps = [wavefronts(places[k : k + 32]) for k in range(0, taps, 32)]
            return forward + sum(warps) * prod(stage.out) * 32
        each = ceil(o / p["WOB"])
        places = [t // kh % c * plane + (t % kh + t // kh // c // each * sy) * row for t in LANES]
        seen = ((p["XU"] - 1) * sx + kw) * ceil(ow / p["XU"]) * oh
        return forward + wavefronts(places) * seen * c * kh * each

    stage.input = spread(image, align, cost)


def _plan_input_grad(stage: Stage, block: Block, wanted: bool) -> None:
    """By rows of narrow images, or by tiles; and where the gradient of the output lies."""
    p, (c, h, w), (o, oh, ow), samples = stage.plan, stage.shape, stage.conv_out, block.samples
    (kh, kw), (sy, sx), (py, px) = stage.filter, stage.stride, stage.padding
    ly, lx = (kh - 1 - py) // sy, (kw - 1 - px) // sx
    rows, row, align, p["rows"] = oh, up(ow, p["XU"]), 4, 0

    def by_rows(each: int, shares: int) -> float:
        if each > c or shares > o or each * w + ow > block.registers - 15:
            return inf
        if shares > 1 and shares * samples * c * h * w > SCRATCH:
            return inf
        share, inner = ceil(o / shares), each * kw * min(ow, w) + ceil(ow / 4) + each * kw + 8
        work = 40 + share * (kh * 4 + kh * min(1, oh * sy / h) / sy * inner)
        waves = share * kh / sy * (ceil(ow / 4) * 2 + each * kw * 2)
        cost = block.cycles(samples * shares * ceil(c / each) * h, work, waves, 3)
        more = 80 + block.cycles(samples * c * h * w, shares * 2 + 20, 0)
        return cost + (shares > 1) * more

    def patch_of(ty: int, tx: int) -> Shape:
        return (ty - 1 + py) // sy + ly + 1, (tx - 1 + px) // sx + lx + 1

    def by_tiles(my: int, mx: int, each: int, shares: int) -> float:
        ty, tx = my * sy, mx * sx
        return tile_cost(
            block, o, c, (ceil(h / ty), ceil(w / tx)), stage.filter, ty * tx / sy / sx, each,
            shares, patch_of(ty, tx), mx, ty * tx,
        )  # fmt: skip

    if wanted:
        each, shares = (1, 2, 3, 4, 6, 8), (1, 2, 3, 4, 5, 6, 8, 16)
        narrow = min((by_rows(*cut), *cut) for cut in product(each, shares))
        tiled = min(
            (by_tiles(*cut), *cut) for cut in product((1, 2), (1, 2, 3, 4, 6), each, shares)
        )
        if min(narrow[0], tiled[0]) == inf:
            raise DoesNotFit("no cut of conv2's input gradient fits registers and scratch")
        if narrow[0] < tiled[0]:
            p |= {"rows": 1, "DOB": narrow[1], "DSP": narrow[2]}
        else:
            _, my, mx, ob, sp = tiled
            ty, tx = my * sy, mx * sx
            gy, gx = ceil(h / ty), ceil(w / tx)
            p |= {"DTY": ty, "DTX": tx, "DGY": gy, "DGX": gx, "DOB": ob, "DSP": sp}
            patch = patch_of(ty, tx)
            align = width(mx)
            rows = max(ly + oh, (gy - 1) * my + patch[0])
            row = max(lx + row, (gx - 1) * mx + patch[1])
    if not wanted or p["rows"]:
        ly = lx = 0
    image = Image(o, oh, ow, ly, lx, rows, up(row, align))

    def cost(row: int, plane: int) -> float:
        total = 1.0
        if p["rows"]:
            groups, share = ceil(c / p["DOB"]), ceil(o / p["DSP"])
            places = [
                t // groups % p["DSP"] * share * plane + t // groups // p["DSP"] * row
                for t in LANES
            ]
            total += wavefronts(places, 4) * ceil(ow / 4) * o * h * kh * groups
        elif wanted:
            tiles, groups, share = p["DGY"] * p["DGX"], ceil(c / p["DOB"]), ceil(o / p["DSP"])
            places = [
                t % tiles // p["DGX"] * (p["DTY"] // sy) * row
                + t % tiles % p["DGX"] * (p["DTX"] // sx)
                + min(t // tiles // groups, p["DSP"] - 1) * share * plane
                for t in LANES
            ]
            reads = patch[0] * ceil(patch[1] / align) * o * tiles * groups
            total += wavefronts(places, align) * reads
        if not p["cells"]:
            groups, v = ceil(o / p["WOB"]), width(p["XU"], align)
            places = [
                t // kh // c % groups * p["WOB"] * plane + t // kh // c // groups * row
                for t in LANES
            ]
            reads = ceil(p["XU"] / v) * p["WOB"] * ceil(ow / p["XU"]) * oh * c * kh * groups
            total += wavefronts(places, v) * reads
        return total

    stage.delta = spread(image, align, cost)


def plan_stage(stage: Stage, block: Block, needs_input_grad: bool) -> None:
    """Cut a stage into tasks, and lay out its input and the gradient of its output."""
    if stage.kind == "linear":
        plan_linear(stage, block)
    elif stage.kind == "conv2":
        plan_conv(stage, block, needs_input_grad)
    else:
        stage.input, stage.delta = Image(*stage.shape), Image(*stage.out)
