"""Expressions of the kernel language as LLVM IR: names, numbers, arithmetic, calls and memory."""

import ast
import inspect
import operator
from typing import Any

from llvmlite import ir

from .intrinsics import BUILTINS
from .scalars import (
    F32,
    F64,
    I1,
    I8,
    I16,
    I32,
    I64,
    Intrinsic,
    KernelError,
    Pointer,
    Scalar,
    Value,
    Variable,
    bf16,
    boolean,
    f32,
    f64,
    i32,
    i64,
    u8,
)  # fmt: skip
from .vectors import round_bf16


class Expressions:
    """Emits the code of expressions; statements and names are those of `language.py`."""

    builder: ir.IRBuilder
    module: ir.Module
    flags: tuple[str, ...]
    names: dict[str, Any]
    globals: dict[str, Any]
    where: str

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return self.name(node)
            case ast.Tuple():
                return tuple(self.value(item) for item in node.elts)
            case ast.BinOp():
                return self.binary(
                    node, type(node.op).__name__, self.value(node.left), self.value(node.right)
                )
            case ast.UnaryOp():
                return self.unary(node, self.value(node.operand))
            case ast.Compare():
                return self.compare(node)
            case ast.BoolOp():
                return self.logic(node)
            case ast.IfExp():
                return self.choose(
                    self.value(node.test), self.value(node.body), self.value(node.orelse)
                )
            case ast.Subscript():
                base, index = self.value(node.value), self.value(node.slice)
                return (
                    base[index]
                    if isinstance(base, tuple) and not isinstance(base, Value)
                    else self.load(base, index)
                )
            case ast.Call():
                return self.call(node)
        raise self.error(node, f"kernels have no {type(node).__name__}")

    def name(self, node):
        if node.id in self.names:
            value = self.names[node.id]
            return (
                Value(value.type, self.builder.load(value.place))
                if isinstance(value, Variable)
                else value
            )
        if node.id in self.globals:
            return self.globals[node.id]
        if node.id in BUILTINS:
            return BUILTINS[node.id]
        raise self.error(node, f"{node.id} has no value here")

    def call(self, node):
        function = self.value(node.func)
        arguments = [self.value(a) for a in node.args]
        keywords = {k.arg: self.value(k.value) for k in node.keywords}
        if isinstance(function, Intrinsic):
            return function.emit(self, *arguments, **keywords)
        if isinstance(function, Scalar):
            return self.cast(arguments[0], function)
        if inspect.isfunction(function):
            return self.inline(function, arguments, keywords)
        raise self.error(node, f"{ast.unparse(node.func)} cannot be called in a kernel")

    def known(self, value, scalar=None):
        """A value as code: Python's numbers become those of `scalar`, or i64 and f32."""
        if isinstance(value, Value):
            return value
        if isinstance(value, bool):
            return Value(boolean, I1(int(value)))
        scalar = scalar or (i64 if isinstance(value, int) else f32)
        return Value(
            scalar, ir.Constant(scalar.register, float(value) if scalar.floating else int(value))
        )

    def cast(self, value, kind):
        """`value` as another type; floats to integers towards zero."""
        if not isinstance(value, Value):
            return self.known(value, kind) if isinstance(kind, Scalar) else value
        if isinstance(value.type, Pointer) or isinstance(kind, Pointer):
            if not (isinstance(value.type, Pointer) and isinstance(kind, Pointer)):
                raise KernelError(f"{self.where}: {value.type} where {kind} is wanted")
            return value
        old, new, b = value.type.register, kind.register, self.builder
        if old == new:
            code = value.code
        elif value.type.floating and kind.floating:
            code = b.fpext(value.code, new) if new == F64 else b.fptrunc(value.code, new)
        elif kind.floating:
            code = (b.uitofp if old == I1 else b.sitofp)(value.code, new)
        elif value.type.floating and new == I1:
            code = b.fcmp_unordered("!=", value.code, ir.Constant(old, 0.0))
        elif value.type.floating:
            code = b.fptosi(value.code, new)
        elif new == I1:
            code = b.icmp_signed("!=", value.code, old(0))
        elif old.width < new.width:
            code = (b.zext if old == I1 else b.sext)(value.code, new)
        else:
            code = b.trunc(value.code, new)
        return Value(next(each for each in NUMBERS if each.register == new), code)

    def together(self, a, b):
        """Two numbers as one type: float before integer, wide before narrow, Python's as the
        other's."""
        if not isinstance(a, Value):
            a = self.known(a, None if isinstance(a, float) and not b.type.floating else b.type)
        if not isinstance(b, Value):
            b = self.known(b, None if isinstance(b, float) and not a.type.floating else a.type)
        if a.type.register == b.type.register:
            return a, b
        rank = [I1, I32, I64, F32, F64]
        kind = a.type if rank.index(a.type.register) > rank.index(b.type.register) else b.type
        return self.cast(a, kind), self.cast(b, kind)

    def binary(self, node, op, a, b):
        if not isinstance(a, Value) and not isinstance(b, Value):
            return PLAIN[op](a, b)
        for pointer, other in ((a, b), (b, a)):
            if isinstance(pointer, Value) and isinstance(pointer.type, Pointer):
                offset = self.cast(other, i64).code
                offset = self.builder.neg(offset) if op == "Sub" else offset
                return Value(pointer.type, self.builder.gep(pointer.code, [offset], inbounds=True))
        a, b = self.together(a, b)
        if op == "Div" and not a.type.floating:
            a, b = self.cast(a, f32), self.cast(b, f32)
        names = FLOAT_OPS if a.type.floating else INTEGER_OPS
        if op not in names:
            raise self.error(node, f"{op} of {a.type}")
        if a.type.floating:
            return Value(a.type, getattr(self.builder, names[op])(a.code, b.code, flags=self.flags))
        return Value(a.type, getattr(self.builder, names[op])(a.code, b.code))

    def unary(self, node, value):
        op = type(node.op).__name__
        if not isinstance(value, Value):
            known = {"USub": operator.neg, "Not": operator.not_, "Invert": operator.invert}
            return known[op](value)
        if op == "Not":
            return Value(boolean, self.builder.not_(self.truth(value)))
        if op == "USub" and value.type.floating:
            return Value(value.type, self.builder.fneg(value.code))
        return Value(
            value.type, (self.builder.neg if op == "USub" else self.builder.not_)(value.code)
        )

    def compare(self, node):
        if len(node.ops) > 1:
            raise self.error(node, "kernels compare two values")
        a, b = self.value(node.left), self.value(node.comparators[0])
        sign, of_python = COMPARE[type(node.ops[0])]
        if not isinstance(a, Value) and not isinstance(b, Value):
            return of_python(a, b)
        a, b = self.together(a, b)
        emit = self.builder.icmp_signed
        if a.type.floating:  # != is true of NaN, the others are false
            emit = self.builder.fcmp_unordered if sign == "!=" else self.builder.fcmp_ordered
        return Value(boolean, emit(sign, a.code, b.code))

    def logic(self, node):
        items = [self.value(item) for item in node.values]
        if not any(isinstance(item, Value) for item in items):
            return all(items) if isinstance(node.op, ast.And) else any(items)
        join = self.builder.and_ if isinstance(node.op, ast.And) else self.builder.or_
        code = self.truth(items[0])
        for item in items[1:]:
            code = join(code, self.truth(item))
        return Value(boolean, code)

    def truth(self, value):
        return self.cast(self.known(value), boolean).code

    def choose(self, test, a, b):
        if not isinstance(test, Value):
            return a if test else b
        if not isinstance(a, Value) and not isinstance(b, Value):
            a = self.known(float(a) if isinstance(b, float) else a)
        if not (isinstance(a, Value) and isinstance(a.type, Pointer)):
            a, b = self.together(a, b)
        return Value(a.type, self.builder.select(self.truth(test), a.code, b.code))

    # -- Memory ------

    def element(self, base, index):
        if not (isinstance(base, Value) and isinstance(base.type, Pointer)):
            raise KernelError(f"{self.where}: only pointers are indexed")
        return self.builder.gep(base.code, [self.cast(index, i64).code], inbounds=True)

    def load(self, base, index):
        scalar, b = base.type.scalar, self.builder
        code = b.load(self.element(base, index))
        if scalar is bf16:
            return Value(f32, b.bitcast(b.shl(b.zext(code, I32), I32(16)), F32))
        if scalar is u8:
            return Value(i32, b.zext(code, I32))
        return Value(scalar, code)

    def store(self, base, index, value):
        scalar, b = base.type.scalar, self.builder
        code = self.cast(value, scalar).code
        if scalar is bf16:
            code = round_bf16(b, code, I32, I16)
        elif scalar is u8:
            code = b.trunc(code, I8)
        b.store(code, self.element(base, index))

    def external(self, name, result, arguments):
        """A function of the process or of LLVM, declared once."""
        function = self.module.globals.get(name)
        return function or ir.Function(self.module, ir.FunctionType(result, arguments), name)


NUMBERS = boolean, f64, f32, i32, i64  # what a number in a register may be
PLAIN = {
    "Add": operator.add, "Sub": operator.sub, "Mult": operator.mul, "Div": operator.truediv,
    "FloorDiv": operator.floordiv, "Mod": operator.mod, "LShift": operator.lshift,
    "RShift": operator.rshift, "BitAnd": operator.and_, "BitOr": operator.or_,
    "BitXor": operator.xor, "Pow": operator.pow,
}  # fmt: skip
FLOAT_OPS = {"Add": "fadd", "Sub": "fsub", "Mult": "fmul", "Div": "fdiv"}
INTEGER_OPS = {
    "Add": "add", "Sub": "sub", "Mult": "mul", "FloorDiv": "sdiv", "Mod": "srem", "LShift": "shl",
    "RShift": "ashr", "BitAnd": "and_", "BitOr": "or_", "BitXor": "xor",
}  # fmt: skip
COMPARE = {
    ast.Lt: ("<", operator.lt), ast.LtE: ("<=", operator.le), ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge), ast.Eq: ("==", operator.eq), ast.NotEq: ("!=", operator.ne),
}  # fmt: skip
