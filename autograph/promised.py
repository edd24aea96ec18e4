"""What kernels and gradient rules of somebody else answer, compared with what their op promises
the first time of each signature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .errors import ScalarTypeError, ShapeError
from .later import at_once
from .outline import Outline

_PACKAGE = __name__.partition(".")[0] + "."


def is_ours(function: Any) -> bool:
    """Whether a kernel or rule is of this package, whose tests compare it."""
    return str(getattr(function, "__module__", "")).startswith(_PACKAGE)


def checked_once(plan: Any, op: str) -> Callable[..., Any]:
    """The kernel of a plan, which is given back to it when its first results are as promised."""
    kernel, outlines = plan.kernel, plan.outputs

    def first(*arrays: Any, **settings: Any) -> Any:
        results = kernel(*arrays, **settings)
        several = _several(f"{op}: the kernel", len(outlines), results)
        for outline, each in zip(outlines, several, strict=True):
            _refuse_misfit(
                f"{op}: the kernel", "outline", outline, each,
                f"say the shape by @{op}.outlined_by, or  Op(..., dynamic=True)  "
                f"where values decide it",
            )  # fmt: skip
            if each.dtype != outline.scalar_type.dtype:
                raise ScalarTypeError(
                    f"{op}: the kernel returns another scalar type than the outline's\n"
                    f"  outline  {outline.scalar_type}\n  kernel   {each.dtype}"
                )
        plan.kernel = kernel
        return results

    first.unchecked = kernel  # type: ignore[attr-defined]
    return first


class GradientCheck:
    """What is done to the closures of a gradient rule: none of its gradients wait and, until one
    has answered what is like the inputs, other scalar types are cast, NumPy's scalars made
    arrays."""

    def __init__(self, op: str, inputs: Sequence[Outline | None]) -> None:
        self.rule, self.inputs, self.right = f"{op}: a gradient rule", inputs, False

    def __call__(self, closure: Callable[..., Any]) -> Callable[..., Any]:
        return partial(self.run, closure)

    def run(self, closure: Callable[..., Any], *given: Any) -> Any:
        found = at_once(closure, *given)
        return found if self.right else self.checked(found)

    def checked(self, found: Any) -> Any:
        several = _several(self.rule, len(self.inputs), found)
        pairs = zip(self.inputs, several, strict=True)
        made = [self.fitted(outline, dx) for outline, dx in pairs]
        self.right = all(one is other for one, other in zip(made, several, strict=True))
        return found if self.right else made[0] if len(made) == 1 else made

    def fitted(self, outline: Outline | None, dx: Any) -> Any:
        if outline is None or dx is None:
            return dx
        dtype = outline.scalar_type.dtype
        if isinstance(dx, np.generic | int | float):
            dx = np.asarray(dx, dtype)
        remedy = "sum over what was broadcast: ops.sum_to(dx, shape=x.shape)"
        _refuse_misfit(self.rule, "input", outline, dx, remedy)
        return dx if dx.dtype == dtype else dx.astype(dtype)


def _several(who: str, count: int, found: Any) -> Sequence[Any]:
    if count == 1:
        return (found,)
    if not isinstance(found, tuple | list) or len(found) != count:
        what = f"{len(found)}" if isinstance(found, tuple | list) else type(found).__name__
        raise ShapeError(f"{who} is to return {count} arrays\n  returned  {what}")
    return found


def _refuse_misfit(who: str, like: str, outline: Outline, found: Any, remedy: str) -> None:
    if not hasattr(found, "shape") or not hasattr(found, "dtype"):
        raise ShapeError(f"{who} returns no array\n  returned  {type(found).__name__}")
    if tuple(found.shape) != outline.shape:
        raise ShapeError(
            f"{who} returns another shape than the {like}'s\n"
            f"  {like:<8}  {outline.shape}\n  returned  {tuple(found.shape)}\n  {remedy}"
        )
