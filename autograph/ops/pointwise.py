"""Pointwise ops: one expression, from which kernels in every language and gradients follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, cached_property, partial
from importlib import import_module
from typing import Any

import numpy as np

from ..backends import CUDA, CUPY, NATIVE, NUMPY, Backend, enabled
from ..backends.functions import functions_of
from ..expression import (
    Call,
    Name,
    Program,
    Tree,
    compile_python,
    derivative,
    simplify,
)
from ..graph import hand_on
from ..op import Op, Rule
from ..outline import Outline
from ..plan import FoundKernel, broadcast_outline
from ..scalar_type import BOOL
from .broadcast import sum_to
from .cast import rounded_once

# Where the compiled backends turn a pointwise op into a kernel: `compile_pointwise(op)`.
COMPILERS: dict[Backend, str] = {
    NATIVE: "autograph.backends.host.pointwise",
    CUDA: "autograph.backends.cuda.pointwise",
}


class Pointwise(Op):
    """An op whose output elements are an expression of the inputs' elements, broadcast."""

    def __init__(
        self,
        name: str,
        inputs: str,
        program: Program,
        *,
        boolean: bool = False,
        floats: bool = False,
        promotes: str | None = None,
        gradients: dict[str, Program] | None = None,
    ) -> None:
        super().__init__(name, inputs, floats=floats, promotes=promotes)
        self.program, self.boolean = program, boolean
        self._given = gradients or {}
        self._gradient_ops: dict[str, tuple[Pointwise | None, tuple[str, ...]]] = {}
        self._compiled: set[Backend] = set()
        self._delta = _unlike("dy", "d", self.inputs)  # how the gradient and the output are called
        self._output = _unlike("y", "own_", self.inputs)
        self.kernel(NUMPY, CUPY, made=True)(self._make_kernel)
        self.outlined_by(self._outline)
        if not boolean:
            for i, each in enumerate(self.inputs):
                if promotes is None or each in self.promotes:  # type: ignore[operator]
                    self.gradients.append(Rule((i,), self._rule(each, i), into=False))

    def _outline(self, *inputs: Any) -> Any:
        outline = broadcast_outline(self, inputs)
        if self.boolean:
            return outline.like(scalar_type=BOOL)
        chosen = next(each for i, each in enumerate(inputs) if i in self._promoted)
        return outline.like(scalar_type=chosen.scalar_type)

    @cached_property
    def _promoted(self) -> list[int]:
        return list(self.promoted_positions(len(self.inputs)))

    def _make_kernel(self, inputs: Any, outputs: Any) -> Callable[..., Any]:
        module = np if outputs[0].device.kind != "cuda" else import_module("cupy")
        run = _python(self.program, module)
        if isinstance(self.program.result, Call) and self.program.used == set(self.inputs):
            return run
        shape = outputs[0].shape  # the value alone would not have it, or would be an input

        def run_broadcast(*arrays: Any) -> Any:
            return module.broadcast_to(module.asarray(run(*arrays)), shape).copy()

        return run_broadcast

    # -- gradients -------------------------------------------------------------------

    def gradient_of(self, name: str) -> tuple[Pointwise | None, tuple[str, ...]]:
        """The op from dy to the gradient of an input, and what else it takes; None: dy itself."""
        found = self._gradient_ops.get(name)
        if found is None:
            program = self._given.get(name) or self._derived(name)
            if program.result == Name(self._delta):
                found = None, ()
            else:
                rest = [n for n in (*self.inputs, self._output) if n in program.used]
                inputs = (self._delta, *rest)
                program = Program(inputs, program.parts, program.result)
                plain = [n for n in inputs if n not in self.inputs or self._promotes(n)]
                found = (
                    Pointwise(
                        f"{self.name}_d{name}",
                        " ".join(inputs),
                        program,
                        promotes=" ".join(plain),
                        gradients={},
                    ),
                    inputs[1:],
                )
            self._gradient_ops[name] = found
        return found

    def _promotes(self, name: str) -> bool:
        return self.promotes is None or name in self.promotes

    def _derived(self, name: str) -> Program:
        """By differentiation, with the output's value where the derivative contains it."""
        whole = self.program.expanded()
        slope = _with_output(derivative(whole, name), whole, Name(self._output))
        delta = Name(self._delta)
        result: Tree = simplify(Call("multiply", (delta, slope)))
        return Program((self._delta, *self.inputs, self._output), (), result)

    def _rule(self, name: str, position: int) -> Callable[..., Any]:
        """The rule of an input, and what it is for a signature."""

        def rule(*values: Any) -> Callable[[Any], Any]:
            run, places = bound(values[1:], values[:1])
            kept = [values[place] for place in places]
            return lambda dy: run(dy, *kept)

        def bound(inputs: Any, outputs: Any) -> tuple[Callable[..., Any], list[int]]:
            op, names = self.gradient_of(name)
            x, y = inputs[position], outputs[0]
            places = [(self._output, *self.inputs).index(each) for each in names]
            given = [y, *[(y, *inputs)[place] for place in places]]
            run: Any = op.bound(given) if op is not None and type(y) is Outline else op
            if x.shape != y.shape:
                return _summed(run, x.shape, y), places
            return run or hand_on, places

        rule.__name__ = f"{self.name}_d{name}"
        rule.bound = bound  # type: ignore[attr-defined]
        return rule

    # -- kernels of the compiled backends ----------------------------------------------

    def candidates(self, kind: str) -> list[FoundKernel]:
        for backend, module in COMPILERS.items():
            if backend.kind == kind and backend not in self._compiled and enabled(backend):
                self._compiled.add(backend)
                import_module(module).compile_pointwise(self)
        return super().candidates(kind)


def pointwise(
    name: str,
    inputs: str,
    expression: str,
    *,
    boolean: bool = False,
    floats: bool = False,
    promotes: str | None = None,
    samples: Callable[[Any], Iterator[Any]] | None = None,
    **parts: str,
) -> Pointwise:
    """Declare a pointwise op by its expression.

    `d` before an input's name gives its gradient, from `dy`, the inputs, `y` and the parts,
    where the derivative of the expression is not the best way to compute it. Other keywords
    are parts computed once. `floats`: integers are made f32. `boolean`: the result is bool.

    >>> silu = pointwise("doc_silu", "x", "x * s", dx="dy * s * (1 + x * (1 - s))",
    ...                  s="1 / (1 + exp(-x))", floats=True)
    >>> silu(np.zeros(2, np.float32))
    array([0., 0.], dtype=float32)
    """
    names = tuple(inputs.split())
    given = {each: parts.pop(f"d{each}") for each in names if f"d{each}" in parts}
    gradients = {each: Program.of(("dy", *names, "y"), text, parts) for each, text in given.items()}
    program = Program.of(names, expression, parts)
    op = Pointwise(
        name,
        inputs,
        program,
        boolean=boolean,
        floats=floats,
        promotes=promotes,
        gradients=gradients,
    )
    op.sampled_by(samples or drawn(len(names), lambda rng, shape: rng.normal(size=shape)))
    return op


def drawn(count: int, draw: Callable[[Any, Any], Any]) -> Callable[[Any], Iterator[Any]]:
    """Samples of `count` operands, each drawn by (rng, shape): of equal shapes, shapes that
    broadcast, 0-d and empty."""

    def samples(rng: Any) -> Iterator[Any]:
        for shapes in (((3, 4),) * 3, ((2, 3), (3,), (2, 1)), ((), (), ()), ((0, 2), (2,), ())):
            yield tuple(np.asarray(draw(rng, shape)) for shape in shapes[:count]), {}

    samples.__module__ = draw.__module__
    return samples


def _summed(run: Callable[..., Any] | None, shape: tuple[int, ...], y: Any) -> Callable[..., Any]:
    """The gradient of an input that was broadcast from a shape: `run`'s, or dy, summed."""
    if type(y) is Outline:
        total = sum_to.bound([y], {"shape": shape})
    else:
        total = partial(sum_to, shape=shape)
    if run is None:
        return total
    if y.scalar_type.is_half if type(y) is Outline else True:
        return lambda dy, *kept: rounded_once(lambda dy: sum_to(run(dy, *kept), shape=shape), dy)
    return lambda dy, *kept: total(run(dy, *kept))


def _unlike(name: str, prefix: str, taken: tuple[str, ...]) -> str:
    return name if name not in taken else _unlike(prefix + name, prefix, taken)


@cache
def _python(program: Program, module: Any) -> Callable[..., Any]:
    return compile_python(program, functions_of(module))


def _with_output(tree: Tree, whole: Tree, output: Name) -> Tree:
    """The tree with the output's value wherever it would be computed again."""
    if tree == whole:
        return output
    if isinstance(tree, Call):
        arguments = tuple(_with_output(each, whole, output) for each in tree.arguments)
        return Call(tree.function, arguments)
    return tree
