"""Pointwise programs as kernels of the host engine: one loop over memory, whatever the shape."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from ...expression import Call, Name, Number, Program, Tree
from ...outline import CHANNELS_LAST, CONTIGUOUS, Outline
from ...scalar_type import BF16, BOOL, F32
from ..backend import NATIVE
from . import functions, intrinsics, language
from .buffers import empty
from .jit import Kernel
from .product import SHARES, shares

KINDS = {F32: "f32", BF16: "bf16", BOOL: "u8"}
COST = 8  # of an element, in multiply-adds

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
    "erf": "erf({0})",
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
def kernel_of(program: Program, kinds: tuple[str, ...], result: str) -> Kernel:
    """The kernel of a program for operands of these kinds: a scalar type, or "" for a number."""
    words = [f"{n}: '{kind or 'float'}'" for n, kind in zip(program.inputs, kinds, strict=True)]
    lines = [
        f"{n}_ = {n}[i]" if kind else f"{n}_ = {n}"
        for n, kind in zip(program.inputs, kinds, strict=True)
        if n in program.used
    ]
    lines += [f"{name}_ = {printed(tree)}" for name, tree in program.parts]
    lines += [f"out[i] = {printed(program.result)}"]
    body = "\n        ".join(lines)
    text = (
        f"(task, tasks: 'int', size: 'int', {', '.join(words)}, out: '{result}'):\n"
        f"    for i in range(task * size // tasks, (task + 1) * size // tasks):\n"
        f"        {body}\n"
    )
    name = "pointwise_" + hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
    names = {**vars(intrinsics), **vars(functions)}
    return Kernel(language.function_of(f"def {name}{text}", __file__, names))


def compile_pointwise(op: Any) -> None:
    """Register the kernel of a pointwise op, where operands are whole or single numbers."""
    if takes(op.program):
        op.kernel(NATIVE, when=fits, strided=CHANNELS_LAST, halves=True, made=True)(
            lambda inputs, outputs: make(op.program, inputs, outputs[0])
        )


def fits(*inputs: Outline) -> bool:
    """Whether all float operands are of one type, and those that are no numbers lie alike."""
    whole = [each for each in inputs if each.shape]
    floats = {each.scalar_type for each in inputs} - {BOOL}
    return (
        len({(each.shape, each.layout) for each in whole}) == 1
        and whole[0].layout in (CONTIGUOUS, CHANNELS_LAST)
        and floats in ({F32}, {BF16})
    )


def make(program: Program, inputs: Sequence[Outline], output: Outline) -> Callable[..., Any]:
    """A function from operands of these outlines to a new array that lies as they do."""
    kinds = tuple(KINDS[each.scalar_type] if each.shape else "" for each in inputs)
    launch = kernel_of(program, kinds, KINDS[output.scalar_type])
    size, shape, dtype = output.size, output.shape, output.scalar_type.dtype
    tasks = shares(SHARES, COST * size)
    numbers = [i for i, kind in enumerate(kinds) if not kind]
    last = next(each for each in inputs if each.shape).layout == CHANNELS_LAST
    if last:
        n, c, h, w = shape
        shape = (n, h, w, c)

    def run(*operands: Any) -> Any:
        if numbers:
            values = list(operands)
            for i in numbers:
                values[i] = float(values[i])
            operands = tuple(values)
        y = empty(shape, dtype)
        launch(tasks, tasks, size, *operands, y)
        return y.transpose(0, 3, 1, 2) if last else y

    return run
