"""Register tiles: the inner loops of every product and convolution, from one generator.

A tile keeps rows x vectors of sums in registers and adds to each, over up to three nested loops of
k,

    C[i, j] (+)= sum_k A[i, k] * B[k, j]  (+ bias[j])

broadcasting A and loading vectors of B. Rows of A and of C begin where a table of offsets says:
side by side, a matrix apart, or windows of an image with any stride, dilation and width. Sizes and
strides come in a plan of words, so a tile is compiled once for a processor. An empty `asm` ends
each step of k: without it LLVM loads ahead and spills the sums.

Where the processor has dot products of bfloat16, an element of A and B may be a pair of those.
"""

from functools import cache, partial
from itertools import chain

import numpy as np
from llvmlite import ir

from . import jit
from .intrinsics import call
from .scalars import F32, I16, I32, I64, VOID
from .vectors import Vectors, size_of

# Words of a plan; strides count elements. Loop 0 is the outermost.
N0, A0, B0, N1, A1, B1, N2, A2, B2, B_VECTOR, FLAGS, A_TABLE, C_TABLE, PLAN = range(14)
ACCUMULATE, RELU, ROW_BIAS = 1, 2, 4  # flags; a bias is of columns, else of rows


@cache
def shape() -> tuple[int, int, int]:
    """Lanes, rows and vectors of the largest tile on this processor."""
    if jit.has("avx512f"):
        return 16, 12, 2
    if jit.has("avx2") and jit.has("fma"):
        return 8, 6, 2
    if jit.has("neon") or jit.has("asimd") or "aarch64" in jit.binding.get_process_triple():
        return 4, 12, 2
    return 4, 6, 2


def dot_product() -> str:
    """The instruction that multiplies pairs of bfloat16 here, or ""."""
    if jit.has("avx512bf16"):
        return "dpbf16ps"
    return "bfdot" if jit.has("bf16") and shape()[0] == 4 else ""


@cache
def addresses(output: str = "f32", lanes: int = 0, dot: str = "") -> np.ndarray:
    """Addresses of the tiles that store float32 or bfloat16: [vectors - 1, rows - 1], one of 2 *
    ROWS rows last."""
    found, rows, vectors = shape()
    lanes = lanes or found
    name = f"tiles_{output}_{lanes}x{rows}x{vectors}{dot}"
    functions = jit.load(name, [__file__], lambda: module(output, lanes, rows, vectors, dot))
    table = [
        [functions(f"tile_{r}x{v}") for r in heights(rows, v, vectors)]
        for v in range(1, vectors + 1)
    ]
    return np.array(table, np.int64)


def module(output: str, lanes: int, rows: int, vectors: int, dot: str = "") -> ir.Module:
    """A module with every tile up to rows x vectors."""
    made = ir.Module(f"tiles_{output}")
    for v in range(1, vectors + 1):
        for r in sorted(set(heights(rows, v, vectors))):
            Tile(made, f"tile_{r}x{v}", lanes, r, v, output, dot).emit()
    return made


def heights(rows: int, v: int, vectors: int) -> list[int]:
    """The numbers of rows that tiles of v vectors come in; narrow ones may be higher."""
    return [*range(1, rows + 1), rows * (2 if 2 * v <= vectors else 1)]


class Tile(Vectors):
    """Emits tile(plan, A, B, C, bias, width, row): `width` columns of C exist, `row` is where its
    rows' tables begin."""

    def __init__(
        self, made: ir.Module, name: str, lanes: int, rows: int, vectors: int, output: str = "f32",
        dot: str = "",
    ) -> None:  # fmt: skip
        function = ir.Function(made, ir.FunctionType(VOID, [I64] * 7), name)
        super().__init__(made, ir.IRBuilder(function.append_basic_block()), lanes)
        self.arguments, self.rows, self.vectors = function.args, rows, vectors
        self.output, self.memory = output, F32 if output == "f32" else I16
        self.multiply_add = partial(self.dot, dot) if dot else self.fma

    def emit(self) -> None:
        b = self.builder
        plan, a, columns, c, bias, width, row = self.arguments
        words = b.inttoptr(plan, I64.as_pointer())
        self.word = lambda index: b.load(b.gep(words, [I64(index)]))
        a, columns = (b.inttoptr(word, F32.as_pointer()) for word in (a, columns))
        c = b.inttoptr(c, self.memory.as_pointer())

        starts = self.row_starts(A_TABLE, row, a)
        between = self.word(B_VECTOR)
        sums = [[b.alloca(self.vector) for _ in range(self.vectors)] for _ in range(self.rows)]
        for place in chain(*sums):
            b.store(self.zero, place)
        counts = [self.word(n) for n in (N0, N1, N2)]
        a_steps = [self.word(n) for n in (A0, A1, A2)]
        b_steps = [self.word(n) for n in (B0, B1, B2)]

        def step(a_at, b_at):
            loaded = [
                self.load(b.gep(columns, [b.add(b_at, b.mul(between, I64(j)))]))
                for j in range(self.vectors)
            ]
            for i in range(self.rows):
                value = self.splat(b.load(b.gep(starts[i], [a_at])))
                for j in range(self.vectors):
                    total = self.multiply_add(value, loaded[j], b.load(sums[i][j]))
                    b.store(total, sums[i][j])
            self.barrier()

        self.nest(counts, a_steps, b_steps, I64(0), I64(0), step)
        self.finish(sums, c, bias, width, row)
        b.ret_void()

    def nest(self, counts, a_steps, b_steps, a_at, b_at, body) -> None:
        """The loops of k, each advancing its offsets in A and B."""
        if not counts:
            body(a_at, b_at)
            return
        b = self.builder
        before, head, inside, end = b.block, *(b.append_basic_block() for _ in range(3))
        b.branch(head)
        b.position_at_end(head)
        left, a_now, b_now = b.phi(I64), b.phi(I64), b.phi(I64)
        for phi, first in ((left, counts[0]), (a_now, a_at), (b_now, b_at)):
            phi.add_incoming(first, before)
        b.cbranch(b.icmp_signed(">", left, I64(0)), inside, end)
        b.position_at_end(inside)
        self.nest(counts[1:], a_steps[1:], b_steps[1:], a_now, b_now, body)
        left.add_incoming(b.sub(left, I64(1)), b.block)
        a_now.add_incoming(b.add(a_now, a_steps[0]), b.block)
        b_now.add_incoming(b.add(b_now, b_steps[0]), b.block)
        b.branch(head)
        b.position_at_end(end)

    def finish(self, sums, c, bias, width, row) -> None:
        """Bias, earlier sums, relu, and the rows of C: all lanes, or those below `width`."""
        b, last = self.builder, self.vectors - 1
        rows = self.row_starts(C_TABLE, row, c)
        flags = self.word(FLAGS)
        lane = ir.Constant(ir.VectorType(I32, self.lanes), list(range(self.lanes)))
        left = b.trunc(b.sub(width, I64(last * self.lanes)), I32)
        mask = b.icmp_signed("<", lane, self.splat(left))

        def each(whole: bool) -> None:
            with b.if_then(b.icmp_signed("!=", bias, I64(0))):
                start = b.inttoptr(bias, F32.as_pointer())
                with b.if_else(b.icmp_signed("==", b.and_(flags, I64(ROW_BIAS)), I64(0))) as (
                    of_columns,
                    of_rows,
                ):
                    with of_columns:
                        for j in range(self.vectors):
                            place = b.gep(start, [I64(j * self.lanes)])
                            added = self.load_if(place, None if whole or j < last else mask)
                            for i in range(self.rows):
                                b.store(b.fadd(b.load(sums[i][j]), added), sums[i][j])
                    with of_rows:
                        for i in range(self.rows):
                            added = self.splat(b.load(b.gep(start, [I64(i)])))
                            for j in range(self.vectors):
                                b.store(b.fadd(b.load(sums[i][j]), added), sums[i][j])
            with b.if_then(b.icmp_signed("!=", b.and_(flags, I64(ACCUMULATE)), I64(0))):
                for i in range(self.rows):
                    for j in range(self.vectors):
                        place = b.gep(rows[i], [I64(j * self.lanes)])
                        old = self.load_output(place, None if whole or j < last else mask)
                        b.store(b.fadd(old, b.load(sums[i][j])), sums[i][j])
            with b.if_then(b.icmp_signed("!=", b.and_(flags, I64(RELU)), I64(0))):
                for place in chain(*sums):
                    value = b.load(place)  # NaN stays
                    below = b.fcmp_ordered("<", value, self.zero)
                    b.store(b.select(below, self.zero, value), place)
            for i in range(self.rows):
                for j in range(self.vectors if whole else last):
                    self.store_output(b.load(sums[i][j]), b.gep(rows[i], [I64(j * self.lanes)]))
            if not whole:
                ends = [b.gep(row, [I64(last * self.lanes)]) for row in rows]
                self.store_lanes([b.load(row[last]) for row in sums], ends, left)

        is_whole = b.icmp_signed(">=", width, I64(self.vectors * self.lanes))
        with b.if_else(is_whole) as (then, otherwise):
            with then:
                each(True)
            with otherwise:
                each(False)

    def row_starts(self, table, row, base):
        b = self.builder
        offsets = b.inttoptr(self.word(table), I64.as_pointer())
        return [
            b.gep(base, [b.load(b.gep(offsets, [b.add(row, I64(i))]))]) for i in range(self.rows)
        ]

    # -- Vectors ------

    def load_if(self, place, mask, kind=None):
        """The vector at a place, or its lanes that a mask says."""
        kind = kind or self.vector
        if mask is None:
            return self.load(place, kind)
        place = self.builder.bitcast(place, kind.as_pointer())
        short = "f32" if kind.element == F32 else f"i{kind.element.width}"
        arguments = [place.type, I32, mask.type, kind]
        name = f"llvm.masked.load.v{self.lanes}{short}.p0"
        function = self.external(name, kind, arguments)
        size = I32(size_of(kind.element))
        return self.builder.call(function, [place, size, mask, ir.Constant(kind, None)])

    def load_output(self, place, mask):
        if self.output == "f32":
            return self.load_if(place, mask)
        return self.widened(self.load_if(place, mask, ir.VectorType(I16, self.lanes)))

    def store_output(self, value, place):
        self.store(self.as_output(value), place)

    def store_lanes(self, values, places, count) -> None:
        """The first `count` lanes of each value, by halves: masked stores are slow before
        AVX-512."""
        b, part = self.builder, self.lanes // 2
        values = [self.as_output(value) for value in values]
        at = b.alloca(I64)
        rest = [b.alloca(value.type) for value in values]
        b.store(I64(0), at)
        for value, place in zip(values, rest, strict=True):
            b.store(value, place)
        everything = list(range(self.lanes))
        while part:
            with b.if_then(b.icmp_signed("!=", b.and_(count, I32(part)), I32(0))):
                for place, start in zip(rest, places, strict=True):
                    value = b.load(place)
                    half = self.shuffle(value, value, everything[:part])
                    self.store(half, b.gep(start, [b.load(at)]))
                    rest_of = self.shuffle(value, value, everything[part:] + everything[:part])
                    b.store(rest_of, place)
                b.store(b.add(b.load(at), I64(part)), at)
            part //= 2

    def as_output(self, value):
        return value if self.output == "f32" else self.round_bf16(value)


LANES, ROWS, VECTORS = shape()
PANEL = LANES * VECTORS  # columns of the largest tile: how wide packed columns lie


def multiply_rows(tile, plan, a, columns, c, size, bias, rows, count, n, depth):
    """Called in kernels: `count` rows from `rows` on, of plan's tables, times all panels of n
    columns.

    a, columns, c and bias are addresses, `size` the bytes of an element of c, `depth` the k of a
    panel.
    """
    panel = 0
    while panel * PANEL < n:
        width = min(PANEL, n - panel * PANEL)
        vectors = (width + LANES - 1) // LANES
        choice = tile + (vectors - 1) * (ROWS + 1)
        highest = 2 * ROWS if 2 * vectors <= VECTORS else ROWS
        there, here = c + size * panel * PANEL, columns + 4 * panel * depth * PANEL
        added = bias + 4 * panel * PANEL if bias != 0 else 0
        done = 0
        while done < count:
            left = count - done
            step = highest if left >= highest else min(ROWS, left)
            call(
                choice[ROWS if left >= highest else step - 1], plan, a, here, there, added, width,
                rows + done,
            )  # fmt: skip
            done += step
        panel += 1
