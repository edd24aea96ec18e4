"""What kernels call to put numbers of several arrays, or rows, side by side, a lane for each, and
back."""

from llvmlite import ir

from .scalars import F32, I8, I16, I32, I64, Intrinsic, i64
from .tiles import LANES
from .vectors import Vectors


@Intrinsic
def to_lanes(to, sources, at, out):
    """out[k, lane] = the f32 at sources[lane] + 4 * (at + k), for as many k as lanes."""
    vectors, b = Vectors(to.module, to.builder, LANES), to.builder
    rows = [vectors.load(_lane(to, sources, lane, at)) for lane in range(LANES)]
    for k, row in enumerate(vectors.transposed(rows)):
        vectors.store(row, b.gep(out.code, [I64(k * LANES)]))


@Intrinsic
def from_lanes(to, source, targets, at):
    """The f32 at targets[lane] + 4 * (at + k) = source[at + k, lane], for as many k as lanes."""
    vectors, b = Vectors(to.module, to.builder, LANES), to.builder
    start = to.element(source, to.binary(None, "Mult", at, LANES))
    rows = [vectors.load(b.gep(start, [I64(k * LANES)])) for k in range(LANES)]
    for lane, row in enumerate(vectors.transposed(rows)):
        vectors.store(row, _lane(to, targets, lane, at))


@Intrinsic
def bytes_from_lanes(to, source, targets, at):
    """The u8 at targets[lane] + at + k = the i32 source[at + k, lane], for 4 times as many k as
    lanes."""
    vectors, b = Vectors(to.module, to.builder, LANES), to.builder
    start, kind = to.element(source, to.binary(None, "Mult", at, LANES)), ir.VectorType(I32, LANES)
    rows = []
    for k in range(LANES):
        four = [vectors.load(b.gep(start, [I64((4 * k + i) * LANES)]), kind) for i in range(4)]
        shifts = [ir.Constant(kind, [8 * i] * LANES) for i in range(4)]
        low, second, third, high = map(b.shl, four, shifts)
        rows.append(b.bitcast(b.or_(b.or_(low, second), b.or_(third, high)), vectors.vector))
    for lane, row in enumerate(vectors.transposed(rows)):
        place = _lane(to, targets, lane, 0)
        whole = b.bitcast(row, ir.VectorType(I8, 4 * LANES))
        vectors.store(whole, b.gep(b.bitcast(place, I8.as_pointer()), [to.cast(at, i64).code]))


@Intrinsic
def turn(to, source, step, out, pitch):
    """out[k * pitch + lane] = source[lane * step + k], for as many k as lanes."""
    vectors, half = Vectors(to.module, to.builder, LANES), ir.VectorType(I16, LANES)
    rows = []
    for lane in range(LANES):
        place = to.element(source, to.binary(None, "Mult", step, lane))
        is_half = source.type.scalar.memory == I16
        rows.append(vectors.widened(vectors.load(place, half)) if is_half else vectors.load(place))
    for k, row in enumerate(vectors.transposed(rows)):
        vectors.store(row, to.element(out, to.binary(None, "Mult", pitch, k)))


def _lane(to, table, lane, at):
    """The float32 `at` numbers behind the address in a table."""
    address = to.builder.load(to.element(table, lane))
    place = to.builder.inttoptr(address, F32.as_pointer())
    return to.builder.gep(place, [to.cast(at, i64).code])
