"""What kernels may call beside plain functions: each emits its code where it is called."""

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


def _of_llvm(name):
    """A function of LLVM's over floats of one width."""

    def emit(to, *inputs):
        values = [to.known(inputs[0])] if len(inputs) == 1 else list(inputs)
        for _ in range(2):  # the second time all know the widest
            for i in range(1, len(values)):
                values[0], values[i] = to.together(values[0], values[i])
        kind = values[0].type.register
        whole = f"llvm.{name}.f{64 if kind == F64 else 32}"
        function = to.external(whole, kind, [kind] * len(values))
        return Value(values[0].type, to.builder.call(function, [each.code for each in values]))

    return Intrinsic(emit)


fma = _of_llvm("fma")  # a * b + c, rounded once
sqrt, floor, nearest, absolute = map(_of_llvm, ("sqrt", "floor", "rint", "fabs"))
# The larger and the smaller of two floats; NaN where either is. LLVM can vectorise them.
larger, smaller = map(_of_llvm, ("maximum", "minimum"))


@Intrinsic
def plus(to, total, x):
    """total + x of a sum whose terms LLVM may take in another order, always the same one."""
    total, x = to.together(total, x)
    flags = ("contract", "reassoc", "nsz")
    return Value(total.type, to.builder.fadd(total.code, x.code, flags=flags))


@Intrinsic
def bits(to, x):
    """The 32 bits of a float32 as an i32."""
    return Value(i32, to.builder.bitcast(to.cast(x, f32).code, I32))


@Intrinsic
def from_bits(to, x):
    """The float32 of these 32 bits."""
    return Value(f32, to.builder.bitcast(to.cast(x, i32).code, F32))


def _chosen(sign, of_python):
    """The one of two that a sign says; the second where they cannot be compared."""

    def emit(to, a, b):
        if not isinstance(a, Value) and not isinstance(b, Value):
            return of_python(a, b)
        a, b = to.together(a, b)
        compare = to.builder.fcmp_ordered if a.type.floating else to.builder.icmp_signed
        return Value(a.type, to.builder.select(compare(sign, a.code, b.code), a.code, b.code))

    return Intrinsic(emit)


BUILTINS = {
    "min": _chosen("<", min), "max": _chosen(">", max), "int": i64, "float": f32, "abs": absolute,
}  # fmt: skip
