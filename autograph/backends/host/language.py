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

import ast
import inspect
import textwrap
from typing import Any

from llvmlite import ir

from .expressions import Expressions
from .scalars import (
    F32,
    F64,
    I64,
    SCALARS,
    VOID,
    KernelError,
    Pointer,
    Value,
    Variable,
    f32,
    i64,
    ir_type,
)


def translate(
    function: Any, name: str, bindings: dict[str, Any], flags: tuple[str, ...] = ("contract",)
) -> ir.Module:
    """A module with `name(block, task)`, which reads its words from the block and calls
    `function`."""
    module = ir.Module(name)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    types = [_parameter_type(p.annotation, bindings) for p in parameters]
    body = ir.Function(module, ir.FunctionType(VOID, [I64, *map(ir_type, types)]), name + "_body")
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
            word = builder.inttoptr(word, ir_type(kind))
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


class Translator(Expressions):
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
                variable = Variable(value.type, self.builder.alloca(ir_type(value.type)))
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
