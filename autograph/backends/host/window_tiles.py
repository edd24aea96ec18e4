"""Window tiles: the windows that max pooling looks at, convolved, biased, pooled and passed through
relu in registers.

A vector holds one pixel of as many images (or strips of images) as it has lanes, so every filter,
stride, dilation and width costs the same. For R outputs and all places of a window,

    y[r] = relu(max_p(bias[r] + sum_t weight[r, t] * image[place p + tap t]))
"""

from functools import cache
from math import prod

import numpy as np
from llvmlite import ir

from . import jit
from .scalars import F32, I32, I64, VOID
from .tiles import LANES, ROWS, VECTORS
from .vectors import Vectors

DEAD = 255  # the place in a window that nothing reaches: relu stopped it

# Words of a plan: how many rows of taps, where each tap lies in the image (an address of offsets),
# from a window to the next, from an output's weights to the next's, from a window of y to the next,
# and where the places of a window lie. All but the first two count numbers.
GROUPS, TABLE, STEP, LENGTH, OUTPUTS, PLACES = range(6)


def outputs_of(window: tuple[int, int]) -> int:
    """How many outputs a tile has at once; 0 where a window's places are too many."""
    return ROWS * VECTORS // prod(window)


@cache
def addresses(window: tuple[int, int], columns: int) -> np.ndarray:
    """Addresses of the tiles for 1, 2, ... outputs; they go through taps by `columns`."""
    places, most = prod(window), outputs_of(window)
    name = f"window_{LANES}x{most}x{places}_{columns}"

    def build() -> ir.Module:
        made = ir.Module(name)
        for rows in range(1, most + 1):
            WindowTile(made, f"tile_{rows}", rows, places, columns).emit()
        return made

    functions = jit.load(name, [__file__], build)
    return np.array([functions(f"tile_{rows}") for rows in range(1, most + 1)], np.int64)


class WindowTile(Vectors):
    """Emits tile(plan, image, weight, bias, y, index, count) for `count` windows side by side."""

    def __init__(self, made: ir.Module, name: str, rows: int, places: int, columns: int) -> None:
        function = ir.Function(made, ir.FunctionType(VOID, [I64] * 7), name)
        super().__init__(made, ir.IRBuilder(function.append_basic_block()), LANES)
        self.arguments, self.columns = function.args, columns
        self.rows, self.places = range(rows), range(places)
        self.integers = ir.VectorType(I32, LANES)

    def emit(self) -> None:
        b = self.builder
        plan, *pointers, count = self.arguments
        words = b.inttoptr(plan, I64.as_pointer())
        word = [b.load(b.gep(words, [I64(k)])) for k in range(PLACES + len(self.places))]
        table = b.inttoptr(word[TABLE], I64.as_pointer())
        image, weight, bias, y, index = (b.inttoptr(each, F32.as_pointer()) for each in pointers)
        weights = [b.gep(weight, [b.mul(word[LENGTH], I64(r))]) for r in self.rows]
        biases = [self.splat(b.load(b.gep(bias, [I64(r)]))) for r in self.rows]
        sums = [[b.alloca(self.vector) for _ in self.places] for _ in self.rows]

        def window(at):
            start = b.gep(image, [b.mul(at, word[STEP])])
            here = [b.gep(start, [word[PLACES + p]]) for p in self.places]
            for row in sums:
                for place in row:
                    b.store(self.zero, place)

            def taps(group):
                for k in range(self.columns):
                    t = b.add(b.mul(group, I64(self.columns)), I64(k))
                    offset = b.load(b.gep(table, [t]))
                    by = [self.splat(b.load(b.gep(each, [t]))) for each in weights]
                    for p in self.places:
                        pixel = self.load(b.gep(here[p], [offset]))
                        for r in self.rows:
                            b.store(self.fma(by[r], pixel, b.load(sums[r][p])), sums[r][p])
                    self.barrier()

            self.count_to(I64(0), word[GROUPS], taps)
            values = [
                [b.fadd(b.load(each), biases[r]) for each in row] for r, row in enumerate(sums)
            ]
            out = b.mul(at, word[OUTPUTS])
            there = [b.add(out, I64(r * self.lanes)) for r in self.rows]
            with b.if_else(self.any_nan([each for row in values for each in row])) as (then, other):
                for branch, largest in ((then, self.largest_or_nan), (other, self.largest)):
                    with branch:
                        for row, at in zip(values, there, strict=True):
                            value, place = self.relu(*largest(row))
                            self.store(value, b.gep(y, [at]))
                            self.store(place, b.gep(index, [at]))

        self.count_to(I64(0), count, window)
        b.ret_void()

    def number(self, n):
        return ir.Constant(self.integers, [n] * self.lanes)

    def any_nan(self, values):
        """Whether any lane of any of the vectors is NaN."""
        b = self.builder
        pairs = [b.fcmp_unordered("uno", *values[i : i + 2]) for i in range(0, len(values) - 1, 2)]
        if len(values) % 2:
            pairs.append(b.fcmp_unordered("uno", values[-1], values[-1]))
        found = pairs[0]
        for each in pairs[1:]:
            found = b.or_(found, each)
        wide = b.bitcast(b.sext(found, self.integers), ir.VectorType(I64, self.lanes // 2))
        total = self.external(f"llvm.vector.reduce.or.v{self.lanes // 2}i64", I64, [wide.type])
        return b.icmp_signed("!=", b.call(total, [wide]), I64(0))

    def largest(self, values):
        """The largest of numbers and its place, the first of equals: pairs, then pairs of them."""
        b = self.builder
        found = [(value, self.number(p)) for p, value in enumerate(values)]
        while len(found) > 1:
            winners = []
            for (one, at), (two, there) in zip(found[::2], found[1::2], strict=False):
                better = b.fcmp_ordered(">", two, one)
                winners.append((b.select(better, two, one), b.select(better, there, at)))
            found = winners + found[len(found) // 2 * 2 :]
        return found[0]

    def largest_or_nan(self, values):
        """The same, but NaN before all, the last of them."""
        b = self.builder
        best, place = values[0], self.number(0)
        for p, value in enumerate(values[1:], 1):
            nan = b.fcmp_unordered("uno", value, value)
            better = b.or_(b.fcmp_ordered(">", value, best), nan)
            best, place = b.select(better, value, best), b.select(better, self.number(p), place)
        return best, place

    def relu(self, value, place):
        b = self.builder
        dead = b.fcmp_ordered("<=", value, self.zero)
        return b.select(dead, self.zero, value), b.select(dead, self.number(DEAD), place)
