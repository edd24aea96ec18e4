"""Pointwise programs as kernels of the host engine: one loop over memory, or over rows of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np

from ...expression import Call, Name, Number, Program, Tree
from ...outline import CHANNELS_LAST, CONTIGUOUS, NUMBER, Outline
from ...scalar_type import BF16, BOOL, F32
from ..backend import NATIVE
from . import functions, intrinsics, language
from .jit import Kernel
from .product import SHARES, filling, shares

KINDS = {F32: "f32", BF16: "bf16", BOOL: "u8"}
COST = 8  # of an element, in multiply-adds
SHORT = 8  # of a row: below, a loop for each costs more than it saves

SIGNS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "equal": "==", "not_equal": "!=",
    "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
}  # fmt: skip
TEXTS = {
    "negative": "(-{0})",
    "where": "({1} if {0} else {2})",
    "maximum": "({0} if ({0} > {1}) | ({0} != {0}) else {1})",
    "minimum": "({0} if ({0} < {1}) | ({0} != {0}) else {1})",
    "abs": "absolute({0})",
    "sqrt": "sqrt({0})",
    "rsqrt": "(1.0 / sqrt({0}))",
    "exp": "exp({0})",
    "log": "log({0})",
    "tanh": "tanh({0})",
    "expm1": "expm1({0})",
    "log1p": "log1p({0})",
    "erf": "erf({0})",
    "erfc": "erfc({0})",
    "sign": "(1.0 if {0} > 0.0 else -1.0 if {0} < 0.0 else {0})",
    "ceil": "(-floor(-{0}))",
    "isinf": "(absolute({0}) == INFINITY)",
    "isfinite": "(absolute({0}) < INFINITY)",
    "floor": "floor({0})",
    "round": "nearest({0})",
    "isnan": "({0} != {0})",
}


def takes(program: Program) -> bool:
    """Whether the engine has all functions of a program."""
    trees = [program.result, *(tree for _, tree in program.parts)]
    return isinstance(program.result, Call) and all(map(_known, trees))


def _known(tree: Tree) -> bool:
    if not isinstance(tree, Call):
        return True
    return (tree.function in SIGNS or tree.function in TEXTS) and all(map(_known, tree.arguments))


def printed(tree: Tree) -> str:
    """The tree in the language of kernels."""
    if isinstance(tree, Name):
        return f"{tree.name}_"
    if isinstance(tree, Number):
        return f"({float(tree.value)!r})" if np.isfinite(tree.value) else f"float('{tree.value}')"
    arguments = [printed(each) for each in tree.arguments]
    if tree.function in SIGNS:
        return f"({arguments[0]} {SIGNS[tree.function]} {arguments[1]})"
    return TEXTS[tree.function].format(*arguments)


@cache
def kernel_of(program: Program, kinds: tuple[tuple[str, str], ...], result: str) -> Kernel:
    """The kernel of a program for operands of these kinds: a scalar type, or "" for a number, and
    where an operand is read: [i] of a whole, [k] of a row, [row] of a column, [0] of one value."""
    operands = list(zip(program.inputs, kinds, strict=True))
    words = ", ".join(f"{name}: '{kind or 'float'}'" for name, (kind, _) in operands)
    loaded: dict[str, list[str]] = {"[row]": [], "": [], "[0]": [], "[k]": [], "[i]": []}
    for name, (_, place) in operands:
        if name in program.used:
            loaded[place].append(f"{name}_ = {name}{place}")
    first, inner = loaded[""] + loaded["[0]"], loaded["[i]"] + loaded["[k]"]
    inner += [f"{name}_ = {printed(tree)}" for name, tree in program.parts]
    inner += [f"out[i] = {printed(program.result)}"]
    if loaded["[k]"] or loaded["[row]"]:
        text = "".join([
            f"(task, tasks: 'int', rows: 'int', size: 'int', {words}, out: '{result}'):\n",
            *[f"    {line}\n" for line in first],
            "    for row in range(task * rows // tasks, (task + 1) * rows // tasks):\n",
            *[f"        {line}\n" for line in loaded["[row]"]],
            "        for k in range(size):\n            i = row * size + k\n",
            *[f"            {line}\n" for line in inner],
        ])  # fmt: skip
    else:
        text = "".join([
            f"(task, tasks: 'int', size: 'int', {words}, out: '{result}'):\n",
            "    for i in range(task * size // tasks, (task + 1) * size // tasks):\n",
            *[f"        {line}\n" for line in first + inner],
        ])  # fmt: skip
    name = "pointwise_" + hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
    names = {**vars(intrinsics), **vars(functions)}
    return Kernel(language.function_of(f"def {name}{text}", __file__, names))


def compile_pointwise(op: Any) -> None:
    """Register the kernels of a pointwise op: where operands are whole or single numbers, where
    some are rows or columns, and where some have to be copied first, to lie as the others."""
    if takes(op.program):
        op.kernel(NATIVE, when=fits, strided=CHANNELS_LAST, halves=True, made=True)(
            lambda inputs, outputs: make(op.program, inputs, outputs[0])
        )
        op.kernel(NATIVE, when=fits_rows, halves=True, made=True)(
            lambda inputs, outputs: make_rows(op.program, inputs, outputs[0])
        )
        op.kernel(NATIVE, when=fits_copied, halves=True, made=True)(
            lambda inputs, outputs: make(op.program, inputs, outputs[0], copied=True)
        )


def fits(*inputs: Outline) -> bool:
    """Whether all float operands are of one type, and those that are no numbers lie alike."""
    whole = [each for each in inputs if each.shape]
    return (
        len({(each.shape, each.layout) for each in whole}) == 1
        and whole[0].layout in (CONTIGUOUS, CHANNELS_LAST)
        and _one_float(inputs)
    )


def fits_copied(*inputs: Outline) -> bool:
    """Whether operands are of one shape, or numbers, however they lie."""
    return len({each.shape for each in inputs if each.shape}) == 1 and _one_float(inputs)


def fits_rows(*inputs: Outline) -> bool:
    """Whether operands are wholes, rows, columns and numbers of one matrix."""
    return _one_float(inputs) and places_in(inputs) is not None


def _one_float(inputs: Sequence[Outline]) -> bool:
    kinds = {each.scalar_type for each in inputs} - {BOOL}
    truths = (each.scalar_type is BOOL and each.layout == NUMBER for each in inputs)
    return kinds in ({F32}, {BF16}) and not any(truths)  # no word of a launch is a bool


def kinds_of(inputs: Sequence[Outline], places: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """What `kernel_of` asks of operands that are read at these places, where they are arrays."""
    return tuple(
        ("", "") if each.layout == NUMBER
        else (KINDS[each.scalar_type], place if each.shape else "[0]")
        for each, place in zip(inputs, places, strict=True)
    )  # fmt: skip


def places_in(inputs: Sequence[Outline]) -> tuple[int, tuple[str, ...]] | None:
    """How many of the broadcast axes make a row of the matrix, and how each operand is read."""
    shape = np.broadcast_shapes(*[each.shape for each in inputs])
    for axes in range(1, len(shape) + 1):
        row, column = shape[-axes:], shape[:-axes] + (1,) * axes
        places = tuple(
            "[0]" if not each.shape
            else "[i]" if each.shape == shape
            else "[k]" if _inner(each.shape) == _inner(row) and each.ndim >= len(_inner(row))
            else "[row]" if each.shape == column
            else "?"
            for each in inputs
        )  # fmt: skip
        some = {"[k]", "[row]"} & set(places)
        if some and "?" not in places and prod(row) >= SHORT and 0 not in shape:
            return axes, places
    return None


def _inner(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the axes of length 1 that it begins with."""
    first = next((i for i, size in enumerate(shape) if size != 1), len(shape))
    return shape[first:]


def make_rows(program: Program, inputs: Sequence[Outline], output: Outline) -> Callable[..., Any]:
    """A function from operands that are rows or columns of the output, among others."""
    axes, places = places_in(inputs) or (0, ())
    found = kernel_of(program, kinds_of(inputs, places), KINDS[output.scalar_type])
    rows, size = prod(output.shape[:-axes]), prod(output.shape[-axes:])
    tasks = shares(rows, COST * output.size)
    return filling(found, output, tasks, tasks, rows, size)


def make(
    program: Program, inputs: Sequence[Outline], output: Outline, copied: bool = False
) -> Callable[..., Any]:
    """A function from operands of these outlines to a new array that lies as they do."""
    places = ["[i]"] * len(inputs)
    found = kernel_of(program, kinds_of(inputs, places), KINDS[output.scalar_type])
    tasks = shares(SHARES, COST * output.size)
    words = tasks, tasks, output.size
    lie = {each.layout for each in inputs if each.shape}
    if lie == {CHANNELS_LAST} and not copied:
        n, c, h, w = output.shape
        run = filling(found, output.like(shape=(n, h, w, c)), *words)
        return lambda *operands: run(*operands).transpose(0, 3, 1, 2)
    return filling(found, output, *words)
