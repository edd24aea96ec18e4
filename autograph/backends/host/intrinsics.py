"""What kernels may call beside plain functions: each emits its code where it is called."""

from __future__ import annotations

from llvmlite import ir

from .scalars import F32, F64, I32, I64, VOID, Intrinsic, Pointer, Value, f32, i32, i64

# -- What kernels may call ------


@Intrinsic
def pointer(to, scalar, address):
    """The pointer to `scalar`s at an address."""
    code = to.builder.inttoptr(to.cast(address, i64).code, scalar.memory.as_pointer())
    return Value(Pointer(scalar), code)


@Intrinsic
def address(to, place):
    """The address that a pointer holds, as a number."""
    return Value(i64, to.builder.ptrtoint(place.code, I64))


@Intrinsic
def as_pointer(to, scalar, place):
    """The same place as a pointer to other scalars."""
    return Value(Pointer(scalar), to.builder.bitcast(place.code, scalar.memory.as_pointer()))


@Intrinsic
def array(to, scalar, count):
    """Room for `count` scalars, a number known while translating, on the stack of the task."""
    with to.builder.goto_entry_block():
        place = to.builder.alloca(ir.ArrayType(scalar.memory, count))
        place.align = 64
        return Value(Pointer(scalar), to.builder.bitcast(place, scalar.memory.as_pointer()))


@Intrinsic
def call(to, function, *words):
    """Call native code at an address with words (numbers or pointers) that returns nothing."""
    codes = [
        to.builder.ptrtoint(w.code, I64)
        if isinstance(w, Value) and isinstance(w.type, Pointer)
        else to.cast(w, i64).code
        for w in words
    ]
    kind = ir.FunctionType(VOID, [I64] * len(codes)).as_pointer()
    to.builder.call(to.builder.inttoptr(to.cast(function, i64).code, kind), codes)


@Intrinsic
def fma(to, a, b, c):
    """a * b + c, rounded once."""
    a, b = to.together(a, b)
    a, c = to.together(a, c)
    a, b = to.together(a, b)
    kind = a.type.register
    name = f"llvm.fma.f{64 if kind == F64 else 32}"
    return Value(
        a.type, to.builder.call(to.external(name, kind, [kind] * 3), [a.code, b.code, c.code])
    )


@Intrinsic
def plus(to, total, x):
    """total + x of a sum whose terms LLVM may take in another order, always the same one."""
    total, x = to.together(total, x)
    flags = ("contract", "reassoc", "nsz")
    return Value(total.type, to.builder.fadd(total.code, x.code, flags=flags))


def _unary_intrinsic(llvm):
    def emit(to, x):
        x = to.known(x)
        kind = x.type.register
        name = f"llvm.{llvm}.f{64 if kind == F64 else 32}"
        return Value(x.type, to.builder.call(to.external(name, kind, [kind]), [x.code]))

    return Intrinsic(emit)


sqrt, floor, nearest, absolute = map(_unary_intrinsic, ("sqrt", "floor", "rint", "fabs"))


@Intrinsic
def bits(to, x):
    """The 32 bits of a float32 as an i32."""
    return Value(i32, to.builder.bitcast(to.cast(x, f32).code, I32))


@Intrinsic
def from_bits(to, x):
    """The float32 of these 32 bits."""
    return Value(f32, to.builder.bitcast(to.cast(x, i32).code, F32))


@Intrinsic
def minimum(to, a, b):
    """The smaller of two; the second where they cannot be compared."""
    if not isinstance(a, Value) and not isinstance(b, Value):
        return min(a, b)
    a, b = to.together(a, b)
    less = to.builder.fcmp_ordered if a.type.floating else to.builder.icmp_signed
    return Value(a.type, to.builder.select(less("<", a.code, b.code), a.code, b.code))


@Intrinsic
def maximum(to, a, b):
    """The larger of two; the second where they cannot be compared."""
    if not isinstance(a, Value) and not isinstance(b, Value):
        return max(a, b)
    a, b = to.together(a, b)
    more = to.builder.fcmp_ordered if a.type.floating else to.builder.icmp_signed
    return Value(a.type, to.builder.select(more(">", a.code, b.code), a.code, b.code))


BUILTINS = {"min": minimum, "max": maximum, "int": i64, "float": f32, "abs": absolute}


def _extreme(llvm):
    def emit(to, a, b):
        a, b = to.together(a, b)
        kind = a.type.register
        name = f"llvm.{llvm}.f{64 if kind == F64 else 32}"
        return Value(a.type, to.builder.call(to.external(name, kind, [kind] * 2), [a.code, b.code]))

    return Intrinsic(emit)


# The larger and the smaller of two floats; NaN where either is. LLVM can vectorise them.
larger, smaller = map(_extreme, ("maximum", "minimum"))
