"""The staircase: tensors go down it as arrays, results come up it recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ops
from ..errors import DeviceError, GraphError
from ..graph import Edge, Kept, Node, Outlet, Version, spent
from ..op import Op
from ..outline import Outline
from ..plan import Plan
from .state import state

if TYPE_CHECKING:
    from .tensor import Tensor

_NUMBERS = frozenset((float, int, bool))


def apply(op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
    """Run `op` on tensors and record how to undo it: the one way into the graph."""
    from .tensor import Tensor

    given: list[Any] = []
    arrays: list[Any] = []
    recorded = False
    plain = True
    for each in inputs:
        if isinstance(each, Tensor):
            given.append(each.outline)
            arrays.append(each._array)
            recorded = recorded or each.node is not None
        elif each is None:
            given.append(None)
            arrays.append(None)
        elif type(each) in _NUMBERS:
            given.append(type(each))
            arrays.append(each)
        else:
            plain = False
            break
    if not plain:
        return apply(op, [_operand(op, each, inputs) for each in inputs], settings)
    plan = op.plan(given, settings)
    if recorded and state.recording and state.higher_order:
        return _apply_higher(op, plan, inputs, settings)
    arrays, results = op.run(plan, arrays)  # type: ignore[assignment]
    if op.writes:
        _written(op, inputs)
    if not op.outputs:
        return None
    tensors = _tensors(op, inputs, op.own(plan, results))
    if recorded and state.recording and op.gradients:
        _record(op, plan, inputs, arrays, results, tensors)
    return tensors[0] if len(op.outputs) == 1 else tuple(tensors)


def _operand(op: Op, value: Any, inputs: Sequence[Any]) -> Any:
    """What stands beside a tensor: a number as it is, a NumPy scalar as a number, an array."""
    from .tensor import Tensor

    if value is None or isinstance(value, Tensor) or type(value) in _NUMBERS:
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        others = [each for each in inputs if isinstance(each, Tensor)]
        if not others[0].device.is_host:
            raise DeviceError(
                f"{op.name}: inputs are on different devices\n"
                f"  tensor   {others[0].device}\n  ndarray  host\n"
                f"  move it: Tensor(array, device='{others[0].device}')"
            )
        return Tensor(value)
    if isinstance(value, bool | int | float):
        return value.__index__() if isinstance(value, int) else float(value)
    return Tensor(value, device=next(e for e in inputs if isinstance(e, Tensor)).device)


def _tensors(op: Op, inputs: Sequence[Any], own: Any) -> list[Tensor]:
    from .tensor import _make, version_of

    made = [_make(array) for array in ((own,) if len(op.outputs) == 1 else own)]
    if op.view:
        made[0].version = version_of(inputs[0])
    return made


def _written(op: Op, inputs: Sequence[Any]) -> None:
    """Raise the version of the tensors that the op has written."""
    from .tensor import version_of

    for name, each in zip(op.inputs, inputs, strict=False):
        if name in op.writes and each is not None:
            version_of(each).count += 1


def _nodes(inputs: Sequence[Any], count: int) -> list[Node | None]:
    nodes = [getattr(each, "node", None) for each in inputs]
    for node in nodes:
        if node is not None and node.edges is None:
            raise spent(node)
    return nodes + [None] * (count - len(nodes))


def _record(
    op: Op,
    plan: Plan,
    inputs: Sequence[Any],
    arrays: Sequence[Any],
    results: Any,
    tensors: list[Tensor],
) -> None:
    """Give the outputs their nodes."""
    nodes = _nodes(inputs, len(arrays))
    own = op.own(plan, results)
    saved = dict(zip(op.saves, results[len(op.outputs) :], strict=True)) if op.saves else {}
    edges = []
    for i, (positions, rule, into, asks) in enumerate(op.gradients):
        targets = tuple(nodes if positions is None else [nodes[at] for at in positions])
        if not any(targets):
            continue
        asked = {"needs": tuple([each is not None for each in targets])} if asks else {}
        closure = rule(own, *arrays, **saved, **asked, **plan.settings)
        if i not in plan.keeps:
            plan.keeps[i] = _kept_positions(closure, arrays, own)
        where = range(len(arrays)) if positions is None else positions
        if any(plan.casts[at] is not None for at in where):
            closure = _cast_back(closure, [plan.casts[at] for at in where])
        edges.append(Edge(targets, _alone(closure, positions, targets), into))
    if edges:
        attach(op, plan, edges, inputs, arrays, tensors)


def _alone(
    closure: Callable[..., Any], positions: tuple[int, ...] | None, targets: Sequence[Any]
) -> Callable[..., Any]:
    """The rule of a variable number of inputs answers a list, also where it is of one."""
    if positions is None and len(targets) == 1:
        return lambda dy: closure(dy)[0]
    return closure


def attach(
    op: Op,
    plan: Plan,
    edges: list[Edge],
    inputs: Sequence[Any],
    arrays: Sequence[Any],
    tensors: list[Tensor],
) -> None:
    """Hang a node with these edges on the outputs."""
    from .tensor import Tensor, version_of

    kept: dict[str, Kept] = {}
    names = op.names_of(arrays) if op.variable else op.inputs
    for positions in plan.keeps.values():
        for at in positions:
            value = tensors[-1 - at] if at < 0 else inputs[at] if at < len(inputs) else None
            name = op.outputs[-1 - at] if at < 0 else names[at]
            if isinstance(value, Tensor) and name not in kept:
                if at >= 0 and arrays[at] is not value._array:
                    continue  # a copy was prepared, which nobody else can write
                version: Version = version_of(value)
                kept[name] = Kept(name, version, version.count)
    node = Node(op.name, edges, tuple(kept.values()))
    if len(tensors) == 1:
        tensors[0].node = node
        return
    for i, tensor in enumerate(tensors):
        if tensor.scalar_type.is_float:
            tensor.node = Outlet(node, i, len(tensors))


def _kept_positions(closure: Callable[..., Any], arrays: Sequence[Any], own: Any) -> list[int]:
    """Which inputs (0, 1, ...) and outputs (-1, -2, ...) a gradient function closes over."""
    outputs = own if isinstance(own, tuple) else (own,)
    places = {id(each): i for i, each in enumerate(arrays) if hasattr(each, "shape")}
    places |= {id(each): -1 - i for i, each in enumerate(outputs)}
    found = set()
    stack: list[Any] = [cell.cell_contents for cell in closure.__closure__ or ()]
    while stack:
        value = stack.pop()
        if id(value) in places:
            found.add(places[id(value)])
        elif isinstance(value, tuple | list):
            stack.extend(value)
        elif getattr(value, "base", None) is not None:
            stack.append(value.base)
    return sorted(found)


def _cast_back(closure: Callable[..., Any], before: Sequence[Any]) -> Callable[..., Any]:
    """Gradients in the scalar types that the inputs had before they were promoted."""

    def one(dx: Any, scalar_type: Any) -> Any:
        if scalar_type is None or dx is None:
            return dx
        return ops.cast(dx, scalar_type=scalar_type)

    def rule(dy: Any, *so_far: Any) -> Any:
        gradients = closure(dy, *so_far)
        if len(before) == 1:
            return one(gradients, before[0])
        return [one(dx, scalar_type) for dx, scalar_type in zip(gradients, before, strict=True)]

    return rule


# -- Higher order ----------------------------------------------------------------------


def _apply_higher(
    op: Op, plan: Plan, inputs: Sequence[Any], settings: Mapping[str, Any]
) -> Any:
    """Run `op` so that its gradients can be differentiated: rules get tensors.

    Inputs are promoted by recorded casts first. The output is handed to the rules without its
    node, which the walk attaches while a rule runs, so that no cycle exists.
    """
    from .tensor import Tensor, _make, version_of

    if op.parts is not None:
        return op.parts(*inputs, **plan.settings)
    ready = list(inputs)
    for i, (each, before) in enumerate(zip(inputs, plan.casts, strict=False)):
        if before is not None and isinstance(each, Tensor):
            target = plan.inputs[i]
            assert isinstance(target, Outline)
            ready[i] = ops.cast(each, scalar_type=target.scalar_type)
    if any(a is not b for a, b in zip(ready, inputs, strict=True)):
        return op(*ready, **settings)
    arrays = [each._array if isinstance(each, Tensor) else each for each in inputs]
    arrays, results = op.run(plan, arrays)  # type: ignore[assignment]
    tensors = _tensors(op, inputs, op.own(plan, results))
    nodes = _nodes(inputs, len(arrays))
    padded = [*inputs, *[None] * (len(arrays) - len(inputs))]
    twins = [_make(tensor._array) for tensor in tensors]
    for twin, tensor in zip(twins, tensors, strict=True):
        twin.version = version_of(tensor)
    saved = {}
    if op.saves:
        saved = {
            name: _make(array)
            for name, array in zip(op.saves, results[len(op.outputs) :], strict=True)
        }
        if any(each.scalar_type.is_float for each in saved.values()):
            raise GraphError(
                f"{op.name}: its gradient cannot be differentiated again\n"
                f"  write the op as its parts inside ag.higher_order()"
            )
    own = twins[0] if len(twins) == 1 else tuple(twins)
    edges = []
    for positions, rule, into, asks in op.gradients:
        targets = tuple(nodes if positions is None else [nodes[at] for at in positions])
        if any(targets):
            asked = {"needs": tuple([each is not None for each in targets])} if asks else {}
            closure = rule(own, *padded, **saved, **asked, **plan.settings)
            edges.append(Edge(targets, _alone(closure, positions, targets), into, twins))
    if edges:
        attach(op, plan, edges, inputs, arrays, tensors)
    return tensors[0] if len(tensors) == 1 else tuple(tensors)
