"""What emitters of vector code share: loads, multiply-adds, loops, and blocks of numbers turned."""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from .scalars import F32, I8, I16, I32, I64, VOID


class Vectors:
    """Emits code over float32 vectors of so many lanes."""

    def __init__(self, module: ir.Module, builder: ir.IRBuilder, lanes: int) -> None:
        self.module, self.builder, self.lanes = module, builder, lanes
        self.vector = ir.VectorType(F32, lanes)
        self.zero = ir.Constant(self.vector, [0.0] * lanes)

    def splat(self, value: Any) -> Any:
        """A vector of one value."""
        kind = ir.VectorType(value.type, self.lanes)
        one = self.builder.insert_element(ir.Constant(kind, ir.Undefined), value, I32(0))
        return self.shuffle(one, one, [0] * self.lanes)

    def shuffle(self, a: Any, b: Any, places: Sequence[int]) -> Any:
        """The lanes of a, then b, that `places` says."""
        mask = ir.Constant(ir.VectorType(I32, len(places)), list(places))
        return self.builder.shuffle_vector(a, b, mask)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        """x * y + z, rounded once."""
        kind = self.vector
        function = self.external(f"llvm.fma.v{self.lanes}f32", kind, [kind] * 3)
        return self.builder.call(function, [x, y, z])

    def dot(self, instruction: str, x: Any, y: Any, z: Any) -> Any:
        """x[0] * y[0] + x[1] * y[1] + z of pairs of bfloat16, by an instruction or, if it is "fma",
        of the widened numbers."""
        b, kind, whole = self.builder, self.vector, ir.VectorType(I32, self.lanes)
        if instruction == "fma":
            x, y = b.bitcast(x, whole), b.bitcast(y, whole)
            half, high = ([n] * self.lanes for n in (16, 0xFFFF0000))
            low = [b.bitcast(b.shl(each, ir.Constant(whole, half)), kind) for each in (x, y)]
            rest = [b.bitcast(b.and_(each, ir.Constant(whole, high)), kind) for each in (x, y)]
            return self.fma(*rest, self.fma(*low, z))
        pairs = ir.VectorType(_BFloat(), 2 * self.lanes)
        name = {
            "dpbf16ps": f"llvm.x86.avx512bf16.dpbf16ps.{32 * self.lanes}",
            "bfdot": f"llvm.aarch64.neon.bfdot.v{self.lanes}f32.v{2 * self.lanes}bf16",
        }[instruction]
        function = self.external(name, kind, [kind, pairs, pairs])
        return b.call(function, [z, b.bitcast(x, pairs), b.bitcast(y, pairs)])

    def external(self, name: str, result: ir.Type, arguments: Sequence[ir.Type]) -> Any:
        """A function of LLVM, declared once."""
        found = self.module.globals.get(name)
        return found or ir.Function(self.module, ir.FunctionType(result, arguments), name)

    def load(self, place: Any, kind: ir.Type | None = None) -> Any:
        """The vector at a place, aligned as its elements are."""
        kind = kind or self.vector
        place = self.builder.bitcast(place, kind.as_pointer())
        return self.builder.load(place, align=size_of(kind.element))

    def store(self, value: Any, place: Any) -> None:
        """Keep a vector at a place, aligned as its elements are."""
        place = self.builder.bitcast(place, value.type.as_pointer())
        self.builder.store(value, place, align=size_of(value.type.element))

    def widened(self, value: Any) -> Any:
        """A vector of bfloat16 as float32."""
        b, wide = self.builder, ir.VectorType(I32, self.lanes)
        shift = ir.Constant(wide, [16] * self.lanes)
        return b.bitcast(b.shl(b.zext(value, wide), shift), self.vector)

    def round_bf16(self, value: Any) -> Any:
        """float32 to the nearest bfloat16."""
        return round_bf16(self.builder, value, *(ir.VectorType(n, self.lanes) for n in (I32, I16)))

    def barrier(self) -> None:
        """Nothing is loaded or stored across: LLVM would load ahead and spill sums."""
        self.builder.asm(ir.FunctionType(VOID, []), "", "~{memory}", [], True)

    def count_to(self, start: Any, stop: Any, body: Callable[[Any], Any]) -> None:
        """body(at) for every number from start to stop."""
        b = self.builder
        before, head, inside, end = b.block, *(b.append_basic_block() for _ in range(3))
        b.branch(head)
        b.position_at_end(head)
        at = b.phi(I64)
        at.add_incoming(start, before)
        b.cbranch(b.icmp_signed("<", at, stop), inside, end)
        b.position_at_end(inside)
        body(at)
        at.add_incoming(b.add(at, I64(1)), b.block)
        b.branch(head)
        b.position_at_end(end)

    def transposed(self, rows: list[Any]) -> list[Any]:
        """As many vectors as lanes, turned: blocks beside the diagonal change places, by halves."""
        rows, size, lanes = list(rows), self.lanes // 2, range(self.lanes)
        while size:
            for i in lanes:
                if not i & size:
                    a, c = rows[i], rows[i + size]
                    rows[i] = self.shuffle(
                        a, c, [self.lanes + k - size if k & size else k for k in lanes]
                    )
                    rows[i + size] = self.shuffle(
                        a, c, [self.lanes + k if k & size else k + size for k in lanes]
                    )
            size //= 2
        return rows


class _BFloat(ir.Type):
    """LLVM's own bfloat16, which llvmlite has no name for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


def round_bf16(b: ir.IRBuilder, value: Any, whole: ir.Type, half: ir.Type) -> Any:
    """float32 to the nearest bfloat16, to even; NaN stays NaN. A number or a vector, whose bits are
    integers of these types."""
    lanes = getattr(whole, "count", 0)
    every = lambda number: ir.Constant(whole, [number] * lanes if lanes else number)  # noqa: E731
    bits = b.bitcast(value, whole)
    high = b.lshr(bits, every(16))
    rounded = b.lshr(b.add(b.add(bits, b.and_(high, every(1))), every(0x7FFF)), every(16))
    kept = b.select(b.fcmp_unordered("uno", value, value), b.or_(high, every(0x40)), rounded)
    return b.trunc(kept, half)


def size_of(kind: ir.Type) -> int:
    """The bytes of a number in memory."""
    return 4 if kind == F32 else 1 if kind == I8 else kind.width // 8
