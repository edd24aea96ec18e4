"""Walking the graph from a tensor: `backward` into the leaves, `grad` of chosen tensors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import graph, ops
from ..backends.choice import Choice, chosen, settle
from ..device import HOST
from ..errors import GraphError, ShapeError
from ..graph import Leaf, Node
from ..later import Later, here
from ..op import NO_SETTINGS
from ..outline import CONTIGUOUS, Outline
from .slopes import waiting
from .staircase import apply
from .state import state
from .tensor import Tensor, _make, check_gradient

_gathering = threading.Lock()


def backward(
    y: Tensor,
    gradient: Tensor | np.ndarray[Any, Any] | None = None,
    *,
    retain_graph: bool = False,
    arrivals: graph.Arrivals | None = None,
) -> None:
    """Add the gradient of `y` to `grad` of every leaf that it depends on."""
    root = _root(y, "backward")
    seed = _seed(y, gradient)
    waits = arrivals is None and not retain_graph
    found = _walk([(root, seed)], retain_graph=retain_graph, arrivals=arrivals, waits=waits)
    shared = {id(seed._array if isinstance(seed, Tensor) else seed)}
    with _gathering:
        for leaf, value in found.items():
            _gather(leaf, value, shared)  # type: ignore[arg-type]
    if not retain_graph and not state.higher_order and not isinstance(root, Leaf):
        y.node, y.consumed = None, root.name


def grad(
    y: Tensor,
    wrt: Sequence[Tensor] | Tensor,
    gradient: Tensor | np.ndarray[Any, Any] | None = None,
    *,
    retain_graph: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `y` in the tensors of `wrt`, None where it does not depend on one.

    Nothing is added to any `grad`. Inside `higher_order()` the gradients are themselves part
    of a graph, and the graph of `y` is kept.

    >>> x = Tensor(3.0, requires_grad=True)
    >>> grad(x * x, [x])
    (Tensor(host f32 () 6.),)
    """
    root = _root(y, "grad")
    nodes = [each.node for each in ([wrt] if isinstance(wrt, Tensor) else wrt)]
    for i, node in enumerate(nodes):
        if node is None:
            raise GraphError(
                f"grad: wrt[{i}] is not part of a graph\n"
                f"  make it a leaf before the forward: requires_grad=True"
            )
    wanted = [node for node in nodes if node is not None]
    found = _walk([(root, _seed(y, gradient))], wanted=wanted, retain_graph=retain_graph)
    if not retain_graph and not state.higher_order and not isinstance(root, Leaf):
        y.node, y.consumed = None, root.name
    values = [found.get(node) for node in wanted]
    return tuple(
        value if isinstance(value, Tensor) or value is None else _make(value) for value in values
    )


def _root(y: Tensor, caller: str) -> Node:
    if y.node is not None:
        return y.node
    used_up = getattr(y, "consumed", None)
    if used_up is not None:
        raise GraphError(
            f"{caller}: backward has run on this tensor already ({used_up})\n"
            f"  run forward again, or keep the graph: backward(retain_graph=True)"
        )
    raise GraphError(
        f"{caller}: this tensor records no graph\n"
        f"  it was made under no_grad(), or from tensors without requires_grad=True"
    )


def _seed(y: Tensor, gradient: Any) -> Any:
    if gradient is None:
        outline = y.outline
        if outline.size != 1:
            raise ShapeError(
                f"backward: only a scalar needs no gradient, and y has {y.size} elements\n"
                f"  y  {y.shape}\n  write  y.backward(gradient), or  y.sum().backward()"
            )
        one: Any = np.empty(outline.shape, outline.scalar_type.dtype)
        one.fill(1)
        one = one if outline.device is HOST else outline.device.put(one)
        return _make(one) if state.higher_order else one
    if not isinstance(gradient, Tensor):
        gradient = Tensor(gradient, device=y.device).cast(y.scalar_type)
    check_gradient("backward", y, gradient)
    return gradient if state.higher_order else gradient._array


def _walk(
    roots: Any, wanted: Any = None, *, retain_graph: bool, arrivals: Any = None, waits: bool = False
) -> dict[Node, Any]:
    """What reaches the leaves, or the `wanted` nodes; where it `waits` that may be a Later."""
    higher = state.higher_order
    before, state.recording = state.recording, higher
    waited, here.waits = here.waits, waits and not higher and state.deferring and may_defer()
    try:
        return graph.backward(
            roots,
            add=ops.add,
            adder=None if higher else _adder,
            wanted=wanted,
            retain_graph=retain_graph or higher,
            arrivals=arrivals,
        )
    finally:
        state.recording, here.waits = before, waited


def may_defer() -> bool:
    """Whether nobody attends to ops who wants each where it is asked for."""
    applier = Tensor.__apply__
    return applier is apply or getattr(applier, "defers", False)


def _adder(total: Any) -> Callable[[Any], None]:
    """What adds parts into `total`, in place."""
    if isinstance(total, Tensor):
        return partial(ops.accumulate, total)
    outline = Outline.of(total)
    plan = ops.accumulate.plan([outline, outline], NO_SETTINGS)
    if not plan.exact:
        return partial(ops.accumulate, total)
    add = chosen(_accumulate, 1, outline.device.is_host, Outline.of)
    settle(add.args[0], total, plan.kernel)
    return partial(add, total)


def _accumulate(choice: Choice, total: Any, part: Any) -> None:
    ops.accumulate(total, part)


def _gather(leaf: Leaf, value: Any, shared: set[int]) -> None:
    """Add to a leaf's gradient, which shares memory with nothing else."""
    have = leaf.grad
    if type(value) is Later:
        if have is None:
            leaf.grad = waiting(value)
            return
        value = value.now()
    gradient = value if isinstance(value, Tensor) else _make(value)
    if have is not None:
        total = ops.add(have, gradient)
        leaf.grad = total if state.higher_order else total.detach()
    elif gradient is value:
        leaf.grad = value
    else:
        base = getattr(value, "base", None)  # of a view another array; else what owns the memory
        fresh = id(value) not in shared and type(base) is not type(value)
        shared.add(id(value))
        whole = gradient.outline.layout == CONTIGUOUS
        leaf.grad = gradient if fresh and whole else _make(ops.copy(value))
