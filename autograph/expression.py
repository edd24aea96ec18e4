"""Expressions: what a pointwise op computes, as a tree that can be printed and differentiated.

The language is Python's: names, numbers, `+ - * / // % **`, comparisons, `& | ^ ~`, and the
functions of `FUNCTIONS`. NumPy's printer is here; those of the compiled backends live there.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from .errors import SettingsError


@dataclass(frozen=True)
class Name:
    """An input, or a part computed before."""

    name: str


@dataclass(frozen=True)
class Number:
    """A literal."""

    value: int | float


@dataclass(frozen=True)
class Call:
    """A function of `FUNCTIONS` applied; operators are calls too (`a + b` is `add`)."""

    function: str
    arguments: tuple[Tree, ...]


Tree = Name | Number | Call

# What each function's derivative in each argument is, in the same language; `y` is its value.
# None: the function is a step or a test, and has none.
FUNCTIONS: dict[str, tuple[str, ...] | None] = {
    "add": ("1", "1"),
    "subtract": ("1", "0 - 1"),
    "multiply": ("b", "a"),
    "divide": ("1 / b", "0 - y / b"),
    "power": (
        "where(b == 0, 0.0, b * a ** (b - 1))",
        "where((a == 0) & (b >= 0), 0.0, y * log(a))",
    ),
    "negative": ("0 - 1",),
    "remainder": ("1", "0 - floor(a / b)"),
    "fmod": ("1", "0 - trunc(a / b)"),
    "abs": ("sign(a)",),
    "sqrt": ("0.5 / y",),
    "rsqrt": ("-0.5 * y / a",),
    "exp": ("y",),
    "exp2": ("0.6931471805599453 * y",),
    "expm1": ("y + 1",),
    "log": ("1 / a",),
    "log1p": ("1 / (1 + a)",),
    "log2": ("1.4426950408889634 / a",),
    "log10": ("0.4342944819032518 / a",),
    "sin": ("cos(a)",),
    "cos": ("0 - sin(a)",),
    "tan": ("1 + y * y",),
    "asin": ("rsqrt(1 - a * a)",),
    "acos": ("0 - rsqrt(1 - a * a)",),
    "atan": ("1 / (1 + a * a)",),
    "atan2": ("b / (a * a + b * b)", "0 - a / (a * a + b * b)"),
    "sinh": ("cosh(a)",),
    "cosh": ("sinh(a)",),
    "tanh": ("1 - y * y",),
    "asinh": ("rsqrt(a * a + 1)",),
    "acosh": ("rsqrt(a * a - 1)",),
    "atanh": ("1 / (1 - a * a)",),
    "erf": ("1.1283791670955126 * exp(0 - a * a)",),
    "erfc": ("-1.1283791670955126 * exp(0 - a * a)",),
    "hypot": ("where(y == 0, 0.0, a / y)", "where(y == 0, 0.0, b / y)"),
    # as in PyTorch, at a tie the gradient is shared, and beside a NaN both get it
    "maximum": (
        "where(a == b, 0.5, where(a < b, 0.0, 1.0))",
        "where(a == b, 0.5, where(b < a, 0.0, 1.0))",
    ),
    "minimum": (
        "where(a == b, 0.5, where(a > b, 0.0, 1.0))",
        "where(a == b, 0.5, where(b > a, 0.0, 1.0))",
    ),
    "where": ("0", "where(a, 1.0, 0.0)", "where(a, 0.0, 1.0)"),
    "copysign": ("where(a == 0, 0.0, sign(a) * copysign(1.0, b) * copysign(1.0, 1.0))", "0"),
    "floor_divide": ("0", "0"),
    **dict.fromkeys(("sign", "floor", "ceil", "round", "trunc"), ("0",)),
    **dict.fromkeys(("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")),
    **dict.fromkeys(("isnan", "isinf", "isfinite")),
    **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not")),
    **dict.fromkeys(("shift_left", "shift_right")),
}

# What each operator of the language calls, and how it is written.
_OPERATORS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Add: ("add", "+"),
    ast.Sub: ("subtract", "-"),
    ast.Mult: ("multiply", "*"),
    ast.Div: ("divide", "/"),
    ast.FloorDiv: ("floor_divide", "//"),
    ast.Mod: ("remainder", "%"),
    ast.Pow: ("power", "**"),
    ast.BitAnd: ("bitwise_and", "&"),
    ast.BitOr: ("bitwise_or", "|"),
    ast.BitXor: ("bitwise_xor", "^"),
    ast.LShift: ("shift_left", "<<"),
    ast.RShift: ("shift_right", ">>"),
    ast.Eq: ("equal", "=="),
    ast.NotEq: ("not_equal", "!="),
    ast.Lt: ("less", "<"),
    ast.LtE: ("less_equal", "<="),
    ast.Gt: ("greater", ">"),
    ast.GtE: ("greater_equal", ">="),
    ast.USub: ("negative", "-"),
    ast.Invert: ("bitwise_not", "~"),
}
_SIGNS = dict(_OPERATORS.values())


@cache
def parse(text: str) -> Tree:
    """The tree of an expression."""

    def tree(node: ast.expr) -> Tree:
        match node:
            case ast.Name(id=name):
                return Name(name)
            case ast.Constant(value=bool() | int() | float() as value):
                return Number(value)
            case ast.UnaryOp(op=operator, operand=operand) if type(operator) in _OPERATORS:
                return Call(_OPERATORS[type(operator)][0], (tree(operand),))
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
                return Call(_OPERATORS[type(operator)][0], (tree(left), tree(right)))
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                return Call(_OPERATORS[type(operator)][0], (tree(left), tree(right)))
            case ast.Call(func=ast.Name(id=name), args=arguments) if name in FUNCTIONS:
                return Call(name, tuple(tree(each) for each in arguments))
        raise SettingsError(
            f"expression: {ast.unparse(node)!r} is not in the language\n"
            f"  in         {text}\n"
            f"  functions  {', '.join(FUNCTIONS)}"
        )

    try:
        parsed = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise SettingsError(
            f"expression: {text!r} is no expression\n  {error.msg} at character {error.offset}"
        ) from None
    return tree(parsed)


def names_in(tree: Tree) -> Iterator[str]:
    """The names that a tree mentions, each as often as it stands there."""
    if isinstance(tree, Name):
        yield tree.name
    elif isinstance(tree, Call):
        for argument in tree.arguments:
            yield from names_in(argument)


def substitute(tree: Tree, values: Mapping[str, Tree]) -> Tree:
    """The tree with names replaced."""
    if isinstance(tree, Name):
        return values.get(tree.name, tree)
    if isinstance(tree, Call):
        return Call(tree.function, tuple(substitute(each, values) for each in tree.arguments))
    return tree


# -- Derivatives ---------------------------------------------------------------------

ZERO, ONE = Number(0), Number(1)


def derivative(tree: Tree, name: str) -> Tree:
    """d tree / d name, with zeros and ones simplified away."""
    if isinstance(tree, Name):
        return ONE if tree.name == name else ZERO
    if isinstance(tree, Number):
        return ZERO
    rules = FUNCTIONS[tree.function]
    total: Tree = ZERO
    letters = dict(zip("abc", tree.arguments, strict=False)) | {"y": tree}
    for argument, rule in zip(tree.arguments, rules or (), strict=False):
        inner = derivative(argument, name)
        if inner != ZERO:
            total = _plus(total, _times(inner, simplify(substitute(parse(rule), letters))))
    return total


def simplify(tree: Tree) -> Tree:
    """The tree without additions of zero and multiplications by zero and one."""
    if not isinstance(tree, Call):
        return tree
    arguments = tuple(simplify(each) for each in tree.arguments)
    match tree.function, arguments:
        case "add", (a, b):
            return _plus(a, b)
        case "multiply", (a, b):
            return _times(a, b)
        case "subtract", (Number(value=0), Number(value=value)):
            return Number(-value)
        case "subtract", (Number(value=0), b):
            return Call("negative", (b,))
        case "subtract", (a, Number(value=0)):
            return a
        case "power", (a, Number(value=1)):
            return a
    return Call(tree.function, arguments)


def _plus(a: Tree, b: Tree) -> Tree:
    if a == ZERO:
        return b
    return a if b == ZERO else Call("add", (a, b))


def _times(a: Tree, b: Tree) -> Tree:
    if ZERO in (a, b):
        return ZERO
    if a == ONE:
        return b
    if b == ONE:
        return a
    if a == Number(-1):
        return Call("negative", (b,))
    if b == Number(-1):
        return Call("negative", (a,))
    return Call("multiply", (a, b))


# -- Programs ------------------------------------------------------------------------


@dataclass(frozen=True)
class Program:
    """An expression of inputs, with parts that are computed once before it."""

    inputs: tuple[str, ...]
    parts: tuple[tuple[str, Tree], ...]
    result: Tree

    @classmethod
    def of(cls, inputs: tuple[str, ...], result: str, parts: Mapping[str, str]) -> Program:
        """From texts; parts that the result does not need are left out.

        >>> Program.of(("x",), "x * s", {"s": "1 / (1 + exp(-x))", "t": "x + 1"})
        Program: s = 1 / (1 + exp(-x)); x * s
        """
        return cls(inputs, tuple((n, parse(t)) for n, t in parts.items()), parse(result)).pruned()

    def pruned(self) -> Program:
        """Without parts that nothing needs."""
        needed, kept = set(names_in(self.result)), []
        for name, tree in reversed(self.parts):
            if name in needed:
                needed.update(names_in(tree))
                kept.append((name, tree))
        return Program(self.inputs, tuple(reversed(kept)), self.result)

    @cached_property
    def used(self) -> frozenset[str]:
        """The inputs that the value depends on."""
        trees = [self.result, *(tree for _, tree in self.parts)]
        return frozenset(n for tree in trees for n in names_in(tree)) & frozenset(self.inputs)

    def expanded(self) -> Tree:
        """The result with the parts written out."""
        values: dict[str, Tree] = {}
        for name, tree in self.parts:
            values[name] = substitute(tree, values)
        return substitute(self.result, values)

    def __repr__(self) -> str:
        lines = [f"{name} = {text(tree)}" for name, tree in self.parts]
        return "Program: " + "; ".join([*lines, text(self.result)])


def text(tree: Tree, outer: bool = True) -> str:
    """The tree in the language that it was parsed from."""
    if isinstance(tree, Name):
        return tree.name
    if isinstance(tree, Number):
        return repr(tree.value) if tree.value >= 0 else f"({tree.value!r})"
    if tree.function not in _SIGNS:
        return f"{tree.function}({', '.join(map(text, tree.arguments))})"
    sign, parts = _SIGNS[tree.function], [text(each, outer=False) for each in tree.arguments]
    if len(parts) == 1:
        return sign + parts[0]
    whole = f" {sign} ".join(parts)
    return whole if outer else f"({whole})"


def compile_python(program: Program, functions: Mapping[str, Any]) -> Callable[..., Any]:
    """The program as a Python function over arrays; `functions` gives each name's ufunc.

    Inputs may be Python numbers. What is computed from them alone is a Python number again,
    which never widens an array, as the f64 number that NumPy answers would.
    """
    plain = _compiled(program, functions, frozenset())
    variants: dict[frozenset[str], Callable[..., Any]] = {}

    def run(*arrays: Any) -> Any:
        numbers = [
            name
            for name, each in zip(program.inputs, arrays, strict=True)
            if isinstance(each, bool | int | float)
        ]
        if not numbers:
            return plain(*arrays)
        key = frozenset(numbers)
        if key not in variants:
            variants[key] = _compiled(program, functions, key)
        return variants[key](*arrays)

    return run


def _compiled(
    program: Program, functions: Mapping[str, Any], numbers: frozenset[str]
) -> Callable[..., Any]:
    """The program for calls in which the inputs of `numbers` are Python numbers."""

    def source(tree: Tree) -> str:
        if isinstance(tree, Name):
            return tree.name
        if isinstance(tree, Number):
            return repr(tree.value) if tree.value >= 0 else f"({tree.value!r})"
        whole = f"{tree.function}_({', '.join(source(each) for each in tree.arguments)})"
        return f"{whole}.item()" if numbers.issuperset(names_in(tree)) else whole

    lines = []
    for name, tree in program.parts:
        lines.append(f"    {name} = {source(tree)}")
        if numbers.issuperset(names_in(tree)):
            numbers |= {name}
    body = "\n".join([*lines, f"    return {source(program.result)}"])
    namespace: dict[str, Any] = {f"{name}_": function for name, function in functions.items()}
    exec(f"def program({', '.join(program.inputs)}):\n{body}", namespace)
    return namespace["program"]
