"""Derivatives of functions of tensors: products with them (`vjp`, `jvp`) and whole matrices of
them (`jacobian`, `hessian`).

A function takes tensors and answers a tensor, or a tuple of them; layers are such functions. Only
its arguments are differentiated in: what else it uses, such as parameters, is constant. Arguments
that hold no floats are passed on, and have None for a derivative. Inside of
`ag.higher_order()` what is answered can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import ops
from .errors import ScalarTypeError, ShapeError
from .tensor import Tensor, enable_grad, higher_order, is_training, training
from .tensor.state import state
from .tensor.tensor import check_gradient
from .tensor.walk import _walk

Function = Callable[..., Any]


def vjp(function: Function, *inputs: Any) -> tuple[Any, Callable[..., Any]]:
    """function(*inputs), and the function from gradients in that to gradients in the inputs.

    The second may be called again and again; with one input it answers a tensor, else a tuple.

    >>> y, pull = vjp(lambda x: x * x, Tensor([1.0, 2.0]))
    >>> pull(Tensor([1.0, 10.0]))
    Tensor(host f32 (2,) [ 2., 40.])
    """
    leaves = _leaves(inputs)
    outputs = _recorded(function, leaves)
    several = isinstance(outputs, tuple)

    def pull(*gradients: Any) -> Any:
        found = _pulled(_tuple(outputs), _like("vjp", _tuple(outputs), gradients), leaves)
        return found[0] if len(found) == 1 else found

    values = tuple(map(_told, _tuple(outputs)))
    return values if several else values[0], pull


def jvp(function: Function, inputs: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """function(*inputs), and how fast it changes as the inputs move along the tangents.

    It is the derivative of `vjp`, which is linear in the gradient that it is given.

    >>> y, dy = jvp(lambda x: x * x, [Tensor([1.0, 2.0])], [Tensor([1.0, 10.0])])
    >>> dy
    Tensor(host f32 (2,) [ 2., 40.])
    """
    if len(inputs) != len(tangents):
        raise ShapeError(
            f"jvp: every input has a tangent\n"
            f"  inputs    {len(inputs)}\n  tangents  {len(tangents)}"
        )
    with higher_order():
        leaves = _leaves(inputs)
        chosen = [i for i, each in enumerate(leaves) if _is_float(each)]
        moves = _like("jvp", [leaves[i] for i in chosen], [tangents[i] for i in chosen])
        outputs = _recorded(function, leaves)
        with training(is_training()), enable_grad():
            parts = _tuple(outputs)
            weights = [_leaf(_zeros(each)) for each in parts]
            pulled = [each for each in _pulled(parts, weights, leaves) if each is not None]
            changes = _pulled(pulled, moves, weights)
    values, changes = tuple(map(_told, parts)), tuple(map(_told, changes))
    return (values, changes) if isinstance(outputs, tuple) else (values[0], changes[0])


def jacobian(function: Function, *inputs: Any) -> Any:
    """The derivative of every element that comes out in every one that goes in.

    Of an output (P, ...) and an input (Q, ...) it has the shape (P, ..., Q, ...): a tensor for
    one output and one input, a tuple over inputs for several, and one over outputs of these.

    >>> jacobian(lambda x: x * x, Tensor([1.0, 2.0]))
    Tensor(host f32 (2, 2)
    [[2., 0.],
     [0., 4.]])
    """
    leaves = _leaves(inputs)
    outputs = _recorded(function, leaves)
    parts = _tuple(outputs)
    rows = tuple(_rows(parts, i, leaves) for i in range(len(parts)))
    return rows if isinstance(outputs, tuple) else rows[0]


def hessian(function: Function, *inputs: Any) -> Any:
    """The second derivatives of a function that answers one number.

    Of an input (Q, ...) it has the shape (Q, ..., Q, ...); of several inputs it is a tuple of
    tuples, the derivatives of the first gradient in each of them, of the second, and so on.

    >>> hessian(lambda x: (x * x * x).sum(), Tensor([1.0, 2.0]))
    Tensor(host f32 (2, 2)
    [[ 6.,  0.],
     [ 0., 12.]])
    """

    def gradient(*arguments: Any) -> Any:
        y, pull = vjp(function, *arguments)
        if not isinstance(y, Tensor) or y.size != 1:
            shape = y.shape if isinstance(y, Tensor) else f"{len(y)} tensors"
            raise ShapeError(
                f"hessian: the function answers one number\n"
                f"  y  {shape}\n  write  lambda x: function(x).sum(), or jacobian"
            )
        found = _tuple(pull(Tensor(np.ones(y.shape, y.dtype), device=y.device)))
        floats = tuple(each for each in found if each is not None)
        return floats[0] if len(inputs) == 1 else floats

    with higher_order():
        found = jacobian(gradient, *inputs)
    return _told_all(found)


def _recorded(function: Function, leaves: Sequence[Any]) -> Any:
    """function(*leaves), recorded, and layers in the mode that they are in."""
    with training(is_training()), enable_grad():
        return function(*leaves)


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.scalar_type.is_float


def _leaves(inputs: Sequence[Any]) -> list[Any]:
    """The inputs as the ends of a graph; joined to the graph around where that is wanted."""
    found = []
    for each in inputs:
        value = each if isinstance(each, Tensor) else Tensor(each)
        if not _is_float(value):
            found.append(value)
        elif state.higher_order and value.node is not None:
            with enable_grad():
                found.append(ops.reshape(value, shape=value.shape))
        else:
            found.append(_leaf(value.detach()))
    return found


def _leaf(value: Tensor) -> Tensor:
    value.requires_grad = True
    return value


def _pulled(
    outputs: Sequence[Tensor], gradients: Sequence[Tensor], leaves: Sequence[Any]
) -> tuple[Tensor | None, ...]:
    """The gradients in the leaves; zeros where no output depends on one."""
    nodes = [each.node if _is_float(each) else None for each in leaves]
    roots = [
        (y.node, dy if state.higher_order else dy.array)
        for y, dy in zip(outputs, gradients, strict=True)
        if y.node is not None
    ]
    wanted = [each for each in nodes if each is not None]
    found = _walk(roots, wanted=wanted, retain_graph=True) if roots else {}
    made: list[Tensor | None] = []
    for node, leaf in zip(nodes, leaves, strict=True):
        value = None if node is None else found.get(node)
        if node is None or isinstance(value, Tensor):
            made.append(value)
        else:
            made.append(_zeros(leaf) if value is None else Tensor.borrow(value))
    return tuple(made)


def _zeros(x: Tensor) -> Tensor:
    return Tensor(np.zeros(x.shape, x.dtype), device=x.device)


def _like(name: str, values: Sequence[Tensor], gradients: Sequence[Any]) -> list[Tensor]:
    """The gradients as tensors, one like each value."""
    if len(values) != len(gradients):
        raise ShapeError(
            f"{name}: every value has a gradient\n"
            f"  values     {len(values)}\n  gradients  {len(gradients)}"
        )
    made = []
    for x, dx in zip(values, gradients, strict=True):
        dx = dx if isinstance(dx, Tensor) else Tensor(dx, device=x.device).cast(x.scalar_type)
        check_gradient(name, x, dx)
        made.append(dx)
    return made


def _rows(outputs: Sequence[Tensor], at: int, leaves: Sequence[Any]) -> Any:
    """The derivatives of one output, a row for each of its elements."""
    y = outputs[at]
    rows: list[tuple[Tensor | None, ...]] = []
    for i in range(y.size):
        one = np.zeros(y.size, y.dtype)
        one[i] = 1
        dy = Tensor(one.reshape(y.shape), device=y.device)
        rows.append(_pulled([y], [dy], leaves))
    found: list[Tensor | None] = []
    for j, leaf in enumerate(leaves):
        shape = (*y.shape, *leaf.shape)
        if not _is_float(leaf):
            found.append(None)
        elif not rows:
            found.append(Tensor(np.zeros(shape, leaf.dtype), device=leaf.device))
        else:
            found.append(_told(ops.reshape(ops.stack([row[j] for row in rows]), shape=shape)))
    return found[0] if len(found) == 1 else tuple(found)


def _tuple(value: Any) -> tuple[Any, ...]:
    found = value if isinstance(value, tuple) else (value,)
    for each in found:
        if each is not None and not isinstance(each, Tensor):
            raise ScalarTypeError(
                f"a function of tensors answers tensors, and not a {type(each).__name__}"
            )
    return found


def _told(value: Any) -> Any:
    """What the caller gets: a constant, except where gradients are differentiated again."""
    return value if value is None or state.higher_order else value.detach()


def _told_all(value: Any) -> Any:
    return tuple(map(_told_all, value)) if isinstance(value, tuple) else _told(value)
