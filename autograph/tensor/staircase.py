"""The staircase: tensors go down it as arrays, results come up it recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import ops
from ..backends.backend import lookups
from ..errors import DeviceError, GraphError
from ..graph import Edge, Kept, Node, Outlet, Version, spent
from ..op import Op
from ..outline import Outline
from ..plan import Plan, no_memory
from .state import state

if TYPE_CHECKING:
    from .tensor import Tensor

_NUMBERS = frozenset((float, int, bool, NoneType))
TENSORS: set[type] = set()  # Tensor and its subclasses, entered when they are first met
live: list[Any] = []  # weak references to what is deferred
_new = object.__new__


def apply(op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
    """Run `op` on tensors and record how to undo it: the one way into the graph."""
    given: list[Any] = []
    arrays: Any = []
    nodes: list[Node | None] = []
    recorded = False
    for each in inputs:
        kind = type(each)
        if kind in TENSORS:
            given.append(each.outline)
            arrays.append(each._array)
            node = each.node
            nodes.append(node)
            if node is not None:
                recorded = True
        elif kind in _NUMBERS:
            given.append(None if each is None else kind)
            arrays.append(each)
            nodes.append(None)
        else:
            return _apply_others(op, inputs, settings)
    plan = None if settings else op.plans.get((lookups.key, *given))
    if plan is None:
        plan = op.plan(given, settings)
    recorded = recorded and state.recording
    if recorded and state.higher_order:
        return _apply_higher(op, plan, inputs, settings)
    if op.deferral is not None and state.deferring:
        pending = op.deferral(op, plan, inputs, nodes)
        if pending is not None:
            return pending
    if op.writes and live:
        from .deferred import before_writing

        before_writing(op, inputs)
    try:
        if plan.direct == len(arrays):
            results = plan.kernel(*arrays)
        else:
            arrays, results = op.run(plan, arrays)
    except MemoryError as error:
        raise no_memory(op, plan, error) from None
    if plan.result is not None:
        tensor = _new(_tensor_type)
        tensor._array, tensor.outline = results, plan.result
        tensor.node = tensor.version = None
        if recorded and op.gradients:
            _record(op, plan, inputs, nodes, arrays, results, {}, [tensor])
        return tensor
    if op.writes:
        _written(op, inputs)
        if not op.outputs:
            return None
    own, saved = results, {}
    if op.saves:
        own = op.own(plan, results)
        saved = dict(zip(op.saves, results[len(op.outputs) :], strict=True))
    tensors = _tensors(op, plan, inputs, own)
    if recorded and op.gradients:
        _record(op, plan, inputs, nodes, arrays, own, saved, tensors)
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def _apply_others(op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
    """The same where some inputs are pending, or are no tensors yet."""
    from .deferred import Pending, joined

    if any(type(each) is Pending for each in inputs):
        return joined(op, inputs, settings)
    return apply(op, [_operand(op, each, inputs) for each in inputs], settings)


def _operand(op: Op, value: Any, inputs: Sequence[Any]) -> Any:
    """What stands beside a tensor: a number as it is, a NumPy scalar as a number, an array."""
    from .tensor import Tensor

    if type(value) in _NUMBERS:
        return value
    if isinstance(value, Tensor):
        TENSORS.add(type(value))
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


def _tensors(op: Op, plan: Plan, inputs: Sequence[Any], own: Any) -> list[Tensor]:
    """The results as tensors; how they lie in memory is asked once of each signature."""
    arrays = (own,) if len(op.outputs) == 1 else own
    outlines = plan.results
    if outlines is None:
        outlines = [Outline.of(array) for array in arrays]
        if plan.settled:
            plan.results = outlines
            if not (op.saves or op.writes or op.view or len(outlines) > 1):
                plan.result = outlines[0]
    made = []
    for array, outline in zip(arrays, outlines, strict=True):
        tensor = _new(_tensor_type)
        tensor._array, tensor.outline = array, outline
        tensor.node = tensor.version = None
        made.append(tensor)
    if op.view:
        made[0].version = version_of(inputs[0])
    return made


_tensor_type: Any = None  # Tensor, which is defined above this module


def install(tensor_type: type) -> None:
    """Told by the module of Tensor what results are made of."""
    global _tensor_type
    _tensor_type = tensor_type


def version_of(tensor: Tensor) -> Version:
    """The version of the memory behind a tensor, made when it is first asked for."""
    if tensor.version is None:
        tensor.version = Version()
    return tensor.version


def _written(op: Op, inputs: Sequence[Any]) -> None:
    """Raise the version of the tensors that the op has written."""
    writes = op.writes
    for name, each in zip(op.inputs, inputs, strict=False):
        if name in writes and each is not None:
            version = each.version
            if version is None:
                version = each.version = Version()
            version.count += 1


class Recipe(NamedTuple):
    """How one gradient rule is recorded, for one signature and certain inputs that are."""

    places: tuple[int, ...]  # the inputs whose gradients it computes
    rule: Callable[..., Any]  # it has its settings already
    finish: Callable[[Callable[..., Any]], Callable[..., Any]] | None
    into: bool


def _recipes(op: Op, plan: Plan, recorded: Sequence[bool]) -> list[Recipe]:
    """What to record of `op` where these inputs are recorded."""
    made = []
    for positions, rule, into, asks in op.gradients:
        places = tuple(range(len(recorded))) if positions is None else positions
        needs = tuple([recorded[at] for at in places])
        if not any(needs):
            continue
        settings = {**plan.settings, "needs": needs} if asks else plan.settings
        finish: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None
        if plan.casts is not None:
            finish = partial(_cast_back, before=[plan.casts[at] for at in places])
        elif positions is None and len(places) == 1:
            finish = _alone
        bound = getattr(rule, "bound", None)
        if bound is not None and plan.direct >= 0 and plan.results is not None:
            rule = bound(plan.inputs, plan.results)  # how arrays lie is known
        elif settings:
            rule = partial(rule, **settings)
        made.append(Recipe(places, rule, finish, into))
    return made


def _record(
    op: Op,
    plan: Plan,
    inputs: Sequence[Any],
    nodes: list[Node | None],
    arrays: Sequence[Any],
    own: Any,
    saved: Mapping[str, Any],
    tensors: list[Tensor],
) -> None:
    """Give the outputs their nodes."""
    for each in nodes:
        if each is not None and each.edges is None:
            raise spent(each)
    if len(nodes) < len(arrays):
        nodes += [None] * (len(arrays) - len(nodes))
    recorded = tuple([each is not None for each in nodes])
    recipes, keeps = plan.recipes.get(recorded) or (_recipes(op, plan, recorded), None)
    if not recipes:
        return
    edges: list[Edge] = []
    for places, rule, finish, into in recipes:
        closure = rule(own, *arrays, **saved) if saved else rule(own, *arrays)
        if finish is not None:
            closure = finish(closure)
        targets = [nodes[at] for at in places] if len(places) > 1 else (nodes[places[0]],)
        edges.append((targets, closure, into, ()))
    if keeps is None:
        closures = [rule(own, *arrays, **saved) for _, rule, _, _ in recipes]
        keeps = _kept_places(op, closures, inputs, arrays, own)
        plan.recipes[recorded] = recipes, keeps
    kept: list[Kept] = []
    for at, name in keeps:
        value = inputs[at] if at >= 0 else tensors[-1 - at]
        version = value.version
        if version is None:
            version = value.version = Version()
        kept.append((name, version, version.count))
    _attach(op, edges, kept, tensors)


def _alone(closure: Callable[..., Any]) -> Callable[..., Any]:
    """The rule of a variable number of inputs answers a list, also where it is of one."""
    return lambda dy: closure(dy)[0]


def _attach(op: Op, edges: list[Edge], kept: Sequence[Kept], tensors: list[Tensor]) -> None:
    """Hang a node with these edges on the outputs."""
    node = Node(op.name, edges, kept)
    if len(tensors) == 1:
        tensors[0].node = node
        return
    for i, tensor in enumerate(tensors):
        if tensor.scalar_type.is_float:
            tensor.node = Outlet(node, i, len(tensors))


def _kept_places(
    op: Op,
    closures: Sequence[Callable[..., Any]],
    inputs: Sequence[Any],
    arrays: Sequence[Any],
    own: Any,
) -> list[tuple[int, str]]:
    """Which inputs (0, 1, ...) and outputs (-1, -2, ...) gradient functions close over, with
    their names; of an input that was prepared it is a copy, which nobody else can write."""
    outputs = own if isinstance(own, tuple) else (own,)
    names = op.names_of(arrays)
    places = {
        id(array): (i, names[i])
        for i, (each, array) in enumerate(zip(inputs, arrays, strict=False))
        if array is not None and getattr(each, "_array", None) is array
    }
    places |= {id(each): (-1 - i, op.outputs[i]) for i, each in enumerate(outputs)}
    found = set()
    stack: list[Any] = [
        cell.cell_contents for closure in closures for cell in closure.__closure__ or ()
    ]
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
    from .tensor import Tensor, _make

    if op.parts is not None:
        return op.parts(*inputs, **plan.settings)
    ready = list(inputs)
    for i, (each, before) in enumerate(zip(inputs, plan.casts or (), strict=False)):
        if before is not None and isinstance(each, Tensor):
            target = plan.inputs[i]
            assert isinstance(target, Outline)
            ready[i] = ops.cast(each, scalar_type=target.scalar_type)
    if any(a is not b for a, b in zip(ready, inputs, strict=True)):
        return op(*ready, **settings)
    arrays = [each._array if isinstance(each, Tensor) else each for each in inputs]
    arrays, results = op.run(plan, arrays)  # type: ignore[assignment]
    if op.writes:
        _written(op, inputs)
        if not op.outputs:
            return None
    tensors = _tensors(op, plan, inputs, op.own(plan, results))
    nodes = [getattr(each, "node", None) for each in inputs]
    nodes += [None] * (len(arrays) - len(nodes))
    for node in nodes:
        if node is not None and node.edges is None:
            raise spent(node)
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
    edges: list[Edge] = []
    for places, rule, finish, into in _recipes(op, plan, list(map(bool, nodes))):
        closure = rule(own, *padded, **saved)
        if finish is not None:
            closure = finish(closure)
        edges.append(([nodes[at] for at in places], closure, into, twins))
    if edges:
        versions = [(each.node.name, version_of(each)) for each in inputs if _is_recorded(each)]
        _attach(op, edges, [(name, version, version.count) for name, version in versions], tensors)
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def _is_recorded(value: Any) -> bool:
    return getattr(value, "node", None) is not None
