"""Winograd's transforms for filters of 3 x 3: between pixels and the 16 planes in which a
convolution is a product for each.

Two outputs of three taps are the four products of F(2, 3), nested for rows and columns:

    y = A' [(G w G') * (B' x B)] A      for windows x of 4 x 4 pixels and outputs y of 2 x 2

which is 16 multiplications where sums of taps are 36 (Lavin and Gray, 2016). Each output depends on
the pixels of its own filter alone, as it should. The gradient of w is G' [(A dy A') * (B' x B)] G.
All go through channels, side by side in memory, by whole vectors.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir

from . import jit
from .scalars import F32, I16, I64, VOID
from .tiles import LANES, VECTORS
from .vectors import Vectors

SIDE = 4  # of a window of x
PLANES = SIDE * SIDE
INPUT, DELTAS, OUTPUT = range(3)  # places in `addresses`


@cache
def addresses(scalar: str) -> np.ndarray:
    """Addresses of the three transforms from and to float32 or bfloat16."""

    def build() -> ir.Module:
        made = ir.Module(f"winograd_{scalar}")
        for name in ("input", "deltas", "output"):
            getattr(Transform(made, name, 8, scalar), name)()
        return made

    functions = jit.load(f"winograd_{scalar}_{LANES}x{VECTORS}", [__file__], build)
    return np.array([functions(name) for name in ("input", "deltas", "output")], np.int64)


class Transform(Vectors):
    """Emits one transform; strides count numbers, `plane` is from a plane to the next."""

    def __init__(self, made: ir.Module, name: str, words: int, scalar: str) -> None:
        function = ir.Function(made, ir.FunctionType(VOID, [I64] * words), name)
        super().__init__(made, ir.IRBuilder(function.append_basic_block()), LANES)
        self.arguments, self.scalar = function.args, scalar

    def pointer(self, word: Any, kind: ir.Type = F32) -> Any:
        return self.builder.inttoptr(word, kind.as_pointer())

    def memory(self) -> ir.Type:
        return F32 if self.scalar == "f32" else I16

    def input(self) -> None:
        """input(x, row, column, out, plane, count, 0, 0): B' x B of so many vectors."""
        b = self.builder
        x, row, column, out, plane, count, *_ = self.arguments
        x, out = self.pointer(x, self.memory()), self.pointer(out)

        def each(v):
            at = b.mul(v, I64(self.lanes))
            found = [
                [self.load_wide(b.gep(x, [place])) for place in line]
                for line in self.square(SIDE, row, column, at)
            ]
            self.keep(self.both(found, self.window), out, plane, at)

        self.count_to(I64(0), count, each)
        b.ret_void()

    def deltas(self) -> None:
        """deltas(dy, row, column, out, plane, count, panel, 0): A dy A', the vectors of a panel of
        columns side by side and panels so far apart."""
        b = self.builder
        dy, row, column, out, plane, count, panel, _ = self.arguments
        dy, out = self.pointer(dy, self.memory()), self.pointer(out)

        def each(v):
            at = b.mul(v, I64(self.lanes))
            found = [
                [self.load_wide(b.gep(dy, [place])) for place in line]
                for line in self.square(2, row, column, at)
            ]
            which, rest = b.udiv(v, I64(VECTORS)), b.urem(v, I64(VECTORS))
            place = b.add(b.mul(which, panel), b.mul(rest, I64(self.lanes)))
            self.keep(self.both(found, self.slope), out, plane, place)

        self.count_to(I64(0), count, each)
        b.ret_void()

    def output(self) -> None:
        """output(planes, plane, y, row, column, bias, count, flag): A' m A + bias; a vector at
        `flag` becomes NaN where a value is not finite."""
        b = self.builder
        m, plane, y, row, column, bias, count, flag = self.arguments
        m, y, flag = self.pointer(m), self.pointer(y, self.memory()), self.pointer(flag)
        has_bias, start = b.icmp_signed("!=", bias, I64(0)), self.pointer(bias)
        added, finite = b.alloca(self.vector), b.alloca(self.vector)
        b.store(self.zero, added)
        b.store(self.load(flag), finite)

        def each(v):
            at = b.mul(v, I64(self.lanes))
            with b.if_then(has_bias):
                b.store(self.load(b.gep(start, [at])), added)
            found = [
                [
                    self.load(b.gep(m, [b.add(at, b.mul(plane, I64(SIDE * i + j)))]))
                    for j in range(SIDE)
                ]
                for i in range(SIDE)
            ]
            values, places = self.both(found, self.outputs), self.square(2, row, column, at)
            for line, there in zip(values, places, strict=True):
                for value, place in zip(line, there, strict=True):
                    value = b.fadd(value, b.load(added))
                    b.store(self.fma(value, self.zero, b.load(finite)), finite)
                    self.store_wide(value, b.gep(y, [place]))

        self.count_to(I64(0), count, each)
        self.store(b.load(finite), flag)
        b.ret_void()

    # -- One direction of each, and both ------

    def window(self, x):
        """B' x."""
        b = self.builder
        return b.fsub(x[0], x[2]), b.fadd(x[1], x[2]), b.fsub(x[2], x[1]), b.fsub(x[1], x[3])

    def slope(self, dy):
        """A dy."""
        b, (one, two) = self.builder, dy
        return one, b.fadd(one, two), b.fsub(one, two), b.fneg(two)

    def outputs(self, m):
        """A' m."""
        b = self.builder
        return b.fadd(b.fadd(m[0], m[1]), m[2]), b.fsub(b.fsub(m[1], m[2]), m[3])

    def both(self, lines, turn):
        """Down the columns, then along the rows."""
        columns = [turn(column) for column in zip(*lines, strict=True)]
        return [turn(line) for line in zip(*columns, strict=True)]

    # -- Memory ------

    def square(self, side, row, column, at):
        """Where so many pixels of so many lines lie."""
        b = self.builder
        lines = [b.add(at, b.mul(row, I64(i))) for i in range(side)]
        return [[b.add(line, b.mul(column, I64(j))) for j in range(side)] for line in lines]

    def keep(self, lines, out, plane, at):
        """One vector for each plane."""
        b = self.builder
        for i, value in enumerate(each for line in lines for each in line):
            self.store(value, b.gep(out, [b.add(at, b.mul(plane, I64(i)))]))

    def load_wide(self, place):
        if self.scalar == "f32":
            return self.load(place)
        return self.widened(self.load(place, ir.VectorType(I16, self.lanes)))

    def store_wide(self, value, place):
        self.store(value if self.scalar == "f32" else self.round_bf16(value), place)
