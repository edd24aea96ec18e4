"""A small language for host kernels: Python functions over pointers and numbers, translated to
LLVM IR.

A kernel is written as a function of a task number and of words, and read, never run, by Python:

    def scale(task, count: int, x: f32, y: f32):
        for i in range(task * count // 8, (task + 1) * count // 8):
            y[i] = 2.0 * x[i]

`int` is a 64-bit number, `float` a float32 number, and a scalar type such as `f32` a pointer to an
array of it. Arrays of one kernel do not overlap, which lets LLVM vectorise. The language has
assignments, `if`, `while`, `for` over `range`, arithmetic, `x[i]`, `pointer + elements`, and
calls: of the intrinsics below, and of plain functions, which are inlined. Where it differs from
Python: `a if c else b`, `and` and `or` evaluate both sides; `//` and `%` are those of C; numbers
of one width stay at that width; bfloat16 and float16 are float32 once loaded, and rounded to
nearest even when stored.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any, NamedTuple

from llvmlite import ir

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


def translate(
    function: Any, name: str, bindings: dict[str, Any], flags: tuple[str, ...] = ("contract",)
) -> ir.Module:
    """A module with `name(block, task)`, which reads its words from the block and calls
    `function`."""
    module = ir.Module(name)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    types = [_parameter_type(p.annotation, bindings) for p in parameters]
    body = ir.Function(module, ir.FunctionType(VOID, [I64, *map(_ir_type, types)]), name + "_body")
    body.linkage = "internal"
    body.attributes.add("noinline")  # inlined, its arrays might overlap again
    for argument, kind in zip(body.args[1:], types, strict=True):
        if isinstance(kind, Pointer):
            argument.attributes.add("noalias")
    translator = Translator(module, ir.IRBuilder(body.append_basic_block()), bindings, flags)
    values = [Value(kind, argument) for kind, argument in zip(types, body.args[1:], strict=True)]
    translator.inline(function, [Value(i64, body.args[0]), *values], {})
    translator.builder.ret_void()

    entry = ir.Function(module, ir.FunctionType(VOID, [I64, I64]), name)
    builder = ir.IRBuilder(entry.append_basic_block())
    words = builder.inttoptr(entry.args[0], I64.as_pointer())
    arguments = []
    for index, kind in enumerate(types):
        word = builder.load(builder.gep(words, [I64(index)]))
        if isinstance(kind, Pointer):
            word = builder.inttoptr(word, _ir_type(kind))
        elif kind is f32:
            word = builder.fptrunc(builder.bitcast(word, F64), F32)
        arguments.append(word)
    builder.call(body, [entry.args[1], *arguments])
    builder.ret_void()
    return module


def _parameter_type(annotation: Any, bindings: dict[str, Any]) -> Any:
    if isinstance(annotation, str):
        annotation = annotation.strip("'\"")  # written "T" under postponed annotations
        annotation = bindings.get(annotation) or dict(int=int, float=float, **SCALARS)[annotation]
    if annotation is int:
        return i64
    return f32 if annotation is float else Pointer(annotation)


def _ir_type(kind: Any) -> ir.Type:
    return kind.scalar.memory.as_pointer() if isinstance(kind, Pointer) else kind.register


SCALARS = {scalar.name: scalar for scalar in (f32, f64, bf16, u8, i32, i64)}

_trees: dict[Any, ast.FunctionDef] = {}


def tree_of(function: Any) -> ast.FunctionDef:
    """The parsed source of a function, its line numbers those of the file."""
    if function not in _trees:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines))).body[0]
        _trees[function] = ast.increment_lineno(tree, first - 1)
    return _trees[function]


def function_of(source: str, filename: str, names: dict[str, Any]) -> Any:
    """The function of a source text, for kernels that are put together while running."""
    tree = ast.parse(source)
    exec(compile(tree, filename, "exec"), names)  # the text is the engine's own
    function = names[tree.body[0].name]
    _trees[function] = tree.body[0]
    return function


class Translator:
    """Emits the code of one function, and inline of those it calls."""

    def __init__(
        self,
        module: ir.Module,
        builder: ir.IRBuilder,
        bindings: dict[str, Any],
        flags: tuple[str, ...],
    ) -> None:
        self.module, self.builder, self.bindings, self.flags = module, builder, bindings, flags
        self.top = builder.block  # where variables live
        self.names: dict[str, Any] = {}
        self.globals: dict[str, Any] = {}
        self.loops: list[tuple[Any, Any]] = []
        self.where = ""

    # -- Functions and statements ------

    def inline(self, function: Any, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        """The code of `function` for these arguments, and what it returns."""
        tree = tree_of(function)
        bound = inspect.signature(function).bind(*arguments, **keywords)
        bound.apply_defaults()
        saved = self.names, self.globals, self.loops, self.where
        self.names, self.loops, self.where = {}, [], function.__code__.co_filename
        self.globals = {
            **function.__globals__,
            **inspect.getclosurevars(function).nonlocals,
            **self.bindings,
        }
        assigned = {
            n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        for name, value in bound.arguments.items():
            if name in assigned:
                self.assign_name(name, value)
            else:
                self.names[name] = value
        result = None
        for statement in tree.body:
            if isinstance(statement, ast.Return):
                result = self.value(statement.value)
                break
            self.statement(statement)
        self.names, self.globals, self.loops, self.where = saved
        return result

    def statement(self, node: ast.stmt) -> None:
        method = getattr(self, "do_" + type(node).__name__, None)
        if method is None:
            raise self.error(node, f"kernels have no {type(node).__name__}")
        method(node)

    def error(self, node: ast.AST, what: str) -> KernelError:
        return KernelError(f"{self.where}:{getattr(node, 'lineno', 0)}: {what}")

    def do_Expr(self, node):
        if not isinstance(node.value, ast.Constant):
            self.value(node.value)

    def do_Pass(self, node):
        pass

    def do_Break(self, node):
        self.leave(self.loops[-1][1])

    def do_Continue(self, node):
        self.leave(self.loops[-1][0])

    def leave(self, block):
        self.builder.branch(block)
        self.builder.position_at_end(self.builder.append_basic_block())  # unreachable

    def do_Assign(self, node):
        value = self.value(node.value)
        for target in node.targets:
            self.assign(target, value)

    def do_AugAssign(self, node):
        if isinstance(node.target, ast.Subscript):
            base, index = self.value(node.target.value), self.value(node.target.slice)
            sum_ = self.binary(
                node, type(node.op).__name__, self.load(base, index), self.value(node.value)
            )
            self.store(base, index, sum_)
        else:
            old = self.value(ast.Name(node.target.id, ast.Load()))
            self.assign(
                node.target, self.binary(node, type(node.op).__name__, old, self.value(node.value))
            )

    def assign(self, target, value):
        if isinstance(target, ast.Tuple):
            if len(target.elts) != len(value):
                raise self.error(target, f"{len(target.elts)} names for {len(value)} values")
            for part, item in zip(target.elts, value, strict=True):
                self.assign(part, item)
        elif isinstance(target, ast.Subscript):
            self.store(self.value(target.value), self.value(target.slice), value)
        else:
            self.assign_name(target.id, value)

    def assign_name(self, name, value):
        variable = self.names.get(name)
        if not isinstance(variable, Variable):
            value = self.known(value)
            with self.builder.goto_block(self.top):
                variable = Variable(value.type, self.builder.alloca(_ir_type(value.type)))
            self.names[name] = variable
        self.builder.store(self.cast(value, variable.type).code, variable.place)

    def do_If(self, node):
        test = self.value(node.test)
        if not isinstance(test, Value):  # known while translating: only one side exists
            for statement in node.body if test else node.orelse:
                self.statement(statement)
            return
        with self.builder.if_else(self.truth(test)) as (then, otherwise):
            with then:
                self.block(node.body)
            with otherwise:
                self.block(node.orelse)

    def block(self, statements):
        for statement in statements:
            self.statement(statement)

    def do_While(self, node):
        builder = self.builder
        head, body, end = (builder.append_basic_block() for _ in range(3))
        builder.branch(head)
        builder.position_at_end(head)
        builder.cbranch(self.truth(self.value(node.test)), body, end)
        builder.position_at_end(body)
        self.loops.append((head, end))
        self.block(node.body)
        self.loops.pop()
        builder.branch(head)
        builder.position_at_end(end)

    def do_For(self, node):
        if not (isinstance(node.iter, ast.Call) and getattr(node.iter.func, "id", "") == "range"):
            raise self.error(node, "for goes over range(...)")
        bounds = [self.value(a) for a in node.iter.args]
        start, stop = (0, bounds[0]) if len(bounds) == 1 else bounds[:2]
        step = bounds[2] if len(bounds) == 3 else 1
        builder = self.builder
        stop, step = self.cast(stop, i64).code, self.cast(step, i64).code
        first = self.cast(start, i64).code
        before = builder.block
        head, body, after, end = (builder.append_basic_block() for _ in range(4))
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(I64)
        index.add_incoming(first, before)
        builder.cbranch(builder.icmp_signed("<", index, stop), body, end)
        builder.position_at_end(body)
        self.assign_name(node.target.id, Value(i64, index))
        self.loops.append((after, end))
        self.block(node.body)
        self.loops.pop()
        builder.branch(after)
        builder.position_at_end(after)
        index.add_incoming(builder.add(index, step, flags=["nsw"]), after)
        builder.branch(head)
        builder.position_at_end(end)

    # -- Expressions ------

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
            case ast.Attribute():
                return getattr(self.value(node.value), node.attr)
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
        return Value(
            boolean
            if new == I1
            else f64
            if new == F64
            else f32
            if new == F32
            else i32
            if new == I32
            else i64,
            code,
        )

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
            return {
                "USub": lambda v: -v,
                "Not": lambda v: not v,
                "Invert": lambda v: ~v,
                "UAdd": lambda v: v,
            }[op](value)
        if op == "Not":
            return Value(boolean, self.builder.not_(self.truth(value)))
        if op == "USub" and value.type.floating:
            return Value(value.type, self.builder.fneg(value.code))
        return Value(
            value.type, (self.builder.neg if op == "USub" else self.builder.not_)(value.code)
        )

    def compare(self, node):
        items = [self.value(node.left), *map(self.value, node.comparators)]
        result = None
        for op, a, b in zip(node.ops, items, items[1:], strict=False):
            if not isinstance(a, Value) and not isinstance(b, Value):
                one = COMPARE[type(op)][1](a, b)
            else:
                a, b = self.together(a, b)
                sign = COMPARE[type(op)][0]
                if a.type.floating:  # != is true of NaN, the others are false
                    emit = (
                        self.builder.fcmp_unordered if sign == "!=" else self.builder.fcmp_ordered
                    )
                else:
                    emit = self.builder.icmp_signed
                one = Value(boolean, emit(sign, a.code, b.code))
            result = (
                one
                if result is None
                else Value(boolean, self.builder.and_(self.truth(result), self.truth(one)))
            )
        return result

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
            code = self.round_bf16(code)
        elif scalar is u8:
            code = b.trunc(code, I8)
        b.store(code, self.element(base, index))

    def round_bf16(self, code):
        """float32 to the nearest bfloat16, to even; NaN stays NaN."""
        b = self.builder
        bits = b.bitcast(code, I32)
        even = b.and_(b.lshr(bits, I32(16)), I32(1))
        rounded = b.lshr(b.add(b.add(bits, even), I32(0x7FFF)), I32(16))
        nan = b.or_(b.lshr(bits, I32(16)), I32(0x40))
        return b.trunc(b.select(b.fcmp_unordered("uno", code, code), nan, rounded), I16)

    def external(self, name, result, arguments):
        """A function of the process or of LLVM, declared once."""
        function = self.module.globals.get(name)
        return function or ir.Function(self.module, ir.FunctionType(result, arguments), name)


PLAIN = {
    "Add": lambda a, b: a + b, "Sub": lambda a, b: a - b, "Mult": lambda a, b: a * b,
    "Div": lambda a, b: a / b,
    "FloorDiv": lambda a, b: a // b, "Mod": lambda a, b: a % b, "LShift": lambda a, b: a << b,
    "RShift": lambda a, b: a >> b, "BitAnd": lambda a, b: a & b, "BitOr": lambda a, b: a | b,
    "BitXor": lambda a, b: a ^ b, "Pow": lambda a, b: a**b,
}  # fmt: skip
FLOAT_OPS = {"Add": "fadd", "Sub": "fsub", "Mult": "fmul", "Div": "fdiv"}
INTEGER_OPS = {
    "Add": "add", "Sub": "sub", "Mult": "mul", "FloorDiv": "sdiv", "Mod": "srem", "LShift": "shl",
    "RShift": "ashr", "BitAnd": "and_", "BitOr": "or_", "BitXor": "xor",
}  # fmt: skip
COMPARE = {
    ast.Lt: ("<", lambda a, b: a < b), ast.LtE: ("<=", lambda a, b: a <= b),
    ast.Gt: (">", lambda a, b: a > b),
    ast.GtE: (">=", lambda a, b: a >= b), ast.Eq: ("==", lambda a, b: a == b),
    ast.NotEq: ("!=", lambda a, b: a != b),
}  # fmt: skip


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


def native(functions: list[Any], name: str, bindings: dict[str, Any]) -> ir.Module:
    """A module of plain native functions: numbers in, a number out."""
    module = ir.Module(name)
    for function in functions:
        count = len(inspect.signature(function).parameters)
        code = ir.Function(module, ir.FunctionType(I64, [I64] * count), function.__name__)
        translator = Translator(module, ir.IRBuilder(code.append_basic_block()), bindings, ())
        result = translator.inline(function, [Value(i64, argument) for argument in code.args], {})
        translator.builder.ret(translator.cast(0 if result is None else result, i64).code)
    return module
