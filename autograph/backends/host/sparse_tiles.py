"""Sparse tiles: products with a list of few values, for the gradients behind relu and max pooling.

    Y[i, j] += sum_l values[l] * X[offsets[l] + i * stride + j]

Rows of Y are whole vectors.
"""

from functools import cache

from llvmlite import ir

from . import jit
from .scalars import F32, I32, I64, VOID
from .tiles import shape
from .vectors import Vectors


@cache
def sparse_address(rows: int, vectors: int) -> int:
    """Address of the sparse tile of this shape."""
    lanes = shape()[0]
    name = f"sparse_{lanes}x{rows}x{vectors}"

    def build() -> ir.Module:
        made = ir.Module(name)
        SparseTile(made, lanes, rows, vectors).emit()
        return made

    return jit.load(name, [__file__], build)("tile")


class SparseTile(Vectors):
    """Emits tile(count, values, offsets, step, X, stride, Y, Y's stride)."""

    def __init__(self, made: ir.Module, lanes: int, rows: int, vectors: int) -> None:
        function = ir.Function(made, ir.FunctionType(VOID, [I64] * 8), "tile")
        super().__init__(made, ir.IRBuilder(function.append_basic_block()), lanes)
        self.arguments, self.rows, self.vectors = function.args, rows, vectors

    def emit(self) -> None:
        b, places = self.builder, range(self.rows * self.vectors)
        count, values, offsets, skip, x, stride, y, y_stride = self.arguments
        values, x, y = (b.inttoptr(word, F32.as_pointer()) for word in (values, x, y))
        offsets = b.inttoptr(offsets, I32.as_pointer())
        copies = 2 if len(places) <= 6 else 1  # sums enough to hide a multiply-add's latency
        sums = [[b.alloca(self.vector) for _ in places] for _ in range(copies)]
        for each in sums:
            for place in each:
                b.store(self.zero, place)

        def step(at, mine):
            at = b.mul(at, skip)
            start = b.gep(x, [b.sext(b.load(b.gep(offsets, [at])), I64)])
            value = self.splat(b.load(b.gep(values, [at])))
            for place, there in zip(mine, self.cells(start, stride), strict=True):
                b.store(self.fma(value, self.load(there), b.load(place)), place)
            self.barrier()

        def several(at):
            for k, mine in enumerate(sums):
                step(b.add(b.mul(at, I64(copies)), I64(k)), mine)

        whole = b.sdiv(count, I64(copies))
        self.count_to(I64(0), whole, several)
        if copies > 1:
            self.count_to(b.mul(whole, I64(copies)), count, lambda at: step(at, sums[0]))
        for i, there in enumerate(self.cells(y, y_stride)):
            total = b.load(sums[0][i])
            for other in sums[1:]:
                total = b.fadd(total, b.load(other[i]))
            self.store(b.fadd(self.load(there), total), there)
        b.ret_void()

    def cells(self, start, stride):
        """Where the vectors of all rows begin."""
        b = self.builder
        rows = [b.gep(start, [b.mul(stride, I64(i))]) for i in range(self.rows)]
        return [b.gep(row, [I64(j * self.lanes)]) for row in rows for j in range(self.vectors)]
