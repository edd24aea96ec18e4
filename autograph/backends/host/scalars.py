"""The types of the kernel language: scalars, pointers, and values while they are translated."""

from typing import Any, NamedTuple

from llvmlite import ir

from ...scalar_type import ScalarType

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F32, F64, VOID = ir.FloatType(), ir.DoubleType(), ir.VoidType()


class Scalar:
    """A scalar type: how it lies in memory and what it is in a register."""

    def __init__(self, name: str, memory: ir.Type, register: ir.Type) -> None:
        self.name, self.memory, self.register = name, memory, register
        self.floating = register in (F32, F64)
        self.size = 8 if memory == F64 else 4 if memory == F32 else memory.width // 8

    def __repr__(self) -> str:
        return self.name


f32, f64 = Scalar("f32", F32, F32), Scalar("f64", F64, F64)
bf16 = Scalar("bf16", I16, F32)
u8, i32, i64 = Scalar("u8", I8, I32), Scalar("i32", I32, I32), Scalar("i64", I64, I64)
boolean = Scalar("bool", I1, I1)
SCALARS = {scalar.name: scalar for scalar in (f32, f64, bf16, u8, i32, i64)}
KINDS = {ScalarType.F32: f32, ScalarType.BF16: bf16}  # of the arrays that most kernels take


class Pointer(NamedTuple):
    """The type of an address of scalars."""

    scalar: Scalar


class Value(NamedTuple):
    """A number or an address while a kernel is being translated; numbers known by then are
    Python's."""

    type: Any  # Scalar or Pointer
    code: ir.Value


class Variable(NamedTuple):
    """A name that is assigned: a place on the stack, which LLVM turns into registers."""

    type: Any
    place: ir.Value


class Intrinsic:
    """A function that a kernel may call and that emits code itself."""

    def __init__(self, emit: Any) -> None:
        self.emit = emit
        self.__doc__ = emit.__doc__

    def __call__(self, *arguments: Any) -> Any:
        raise TypeError(f"{self.emit.__name__}: only kernels may call this")


class KernelError(SyntaxError):
    """A kernel says what the language has no words for."""


def ir_type(kind: Any) -> ir.Type:
    """What LLVM calls a type."""
    return kind.scalar.memory.as_pointer() if isinstance(kind, Pointer) else kind.register
