"""The staircase: tensors go down it as arrays, results come up it recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ops
from ..backends.backend import lookups
from ..errors import DeviceError, GraphError
from ..graph import Edge, Node, spent
from ..op import Fixed, Op, by_rank
from ..outline import Outline
from ..plan import Plan, no_memory
from .recorded import _hang, _recipes, _share
from .recorded import _record as _record  # the profiler steps in its way here
from .recorded import version_of as version_of  # many ask for it here
from .state import plain, state

if TYPE_CHECKING:
    from .tensor import Tensor

_NUMBERS = frozenset((float, int, bool, NoneType))
TENSORS: set[type] = set()  # Tensor and its subclasses, entered when they are first met
live: set[Any] = set()  # weak references to what is deferred
_new = object.__new__


def apply(op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
    """Run `op` on tensors and record how to undo it: the one way into the graph."""
    given: list[Any] = []
    arrays: Any = []
    nodes: list[Node | None] = []
    recorded = 0  # which inputs are recorded, a bit each
    for each in inputs:
        kind = type(each)
        if kind in TENSORS:
            node = each.node
            if node is not None:
                recorded += 1 << len(nodes)
            given.append(each.outline)
            arrays.append(each._array)
            nodes.append(node)
        elif kind in _NUMBERS:
            given.append(None if each is None else kind)
            arrays.append(each)
            nodes.append(None)
        else:
            return _apply_others(op, inputs, settings)
    plan = None
    if not settings:
        plan = op.plans.get((lookups.key, *given))
    elif type(settings) is Fixed:
        plan = op.plans.get((lookups.key, *given, settings))
    if plan is None:
        plan = op.plan(given, settings)
    if recorded and not state.recording:
        recorded = 0
    if recorded and state.higher_order:
        return _apply_higher(op, plan, inputs, settings)
    if op.deferral is not None and state.deferring:
        pending = op.deferral(op, plan, inputs, arrays, nodes)
        if pending is not None:
            return pending
    if op.writes and live:
        _deferred().before_writing(op, inputs)
    try:
        if plan.direct == len(arrays):
            results = plan.kernel(*arrays)
        else:
            arrays, results = op.run(plan, arrays)
            nodes += [None] * (len(arrays) - len(nodes))
    except MemoryError as error:
        raise no_memory(op, plan, error) from None
    if plan.result is None:
        return _answered(op, plan, inputs, nodes if recorded else None, arrays, results)
    own, saved = (results[0], results[1:]) if op.saves else (results, ())
    tensor = _new(_tensor_type)
    tensor._array, tensor.outline = own, plan.result
    tensor.node, tensor.version = None, version_of(inputs[0]) if op.view else None
    if recorded and op.gradients:
        record = plan.recipes.get(recorded)
        if record is None or record.shared is None:
            named = dict(zip(op.saves, saved, strict=True))
            _record(op, plan, inputs, nodes, arrays, own, named, [tensor])
        else:
            _share(op, record, nodes, (tensor, *inputs), (own, *arrays, *saved))
    return tensor


def _answered(
    op: Op,
    plan: Plan,
    inputs: Sequence[Any],
    nodes: Sequence[Node | None] | None,
    arrays: Sequence[Any],
    results: Any,
) -> Any:
    """What `apply` answers where nobody knows yet how the output lies, where there are several, and
    where inputs are written; `nodes` where it is recorded."""
    if op.writes:
        _written(plan, inputs)
        if not op.outputs:
            return None
    own, saved = results, {}
    if op.saves:
        own = op.own(plan, results)
        saved = dict(zip(op.saves, results[len(op.outputs) :], strict=True))
    tensors = _tensors(op, plan, inputs, own)
    if nodes is not None and op.gradients:
        _record(op, plan, inputs, nodes, arrays, own, saved, tensors)
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def apply_one(op: Op, x: Any) -> Any:
    """`op` of a tensor, the short way where nothing about it is special."""
    if type(x) in plain:
        plan = op.plans.get((lookups.key, x.outline))
        if plan is not None and plan.short == 1:
            array, node = x._array, x.node
            try:
                own = plan.kernel(array)
            except MemoryError as error:
                raise no_memory(op, plan, error) from None
            tensor = _new(_tensor_type)
            tensor._array, tensor.outline = own, plan.result
            tensor.node = tensor.version = None
            if node is not None and state.recording and op.gradients:
                record = plan.recipes.get(1)
                if record is None or record.shared is None:
                    _record(op, plan, (x,), (node,), (array,), own, {}, [tensor])
                else:
                    _share(op, record, (node,), (tensor, x), (own, array))
            return tensor
    return op(x)


def apply_two(op: Op, x: Any, w: Any) -> Any:
    """`op` of two tensors, the short way where nothing about them or about it is special."""
    if type(x) in plain and type(w) in plain:
        plan = op.plans.get((lookups.key, x.outline, w.outline))
        if plan is not None and plan.short == 2:
            a, b = x._array, w._array
            m, n = x.node, w.node
            try:
                own = plan.kernel(a, b)
            except MemoryError as error:
                raise no_memory(op, plan, error) from None
            tensor = _new(_tensor_type)
            tensor._array, tensor.outline = own, plan.result
            tensor.node = tensor.version = None
            if (m is not None or n is not None) and state.recording and op.gradients:
                record = plan.recipes.get((m is not None) + 2 * (n is not None))
                if record is None or record.shared is None:
                    _record(op, plan, (x, w), (m, n), (a, b), own, {}, [tensor])
                else:
                    _share(op, record, (m, n), (tensor, x, w), (own, a, b))
            return tensor
    return op(x, w)


def _apply_others(op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
    """The same where some inputs are pending, are no tensors yet, or apply ops themselves."""
    deferred = _deferred()
    if deferred.Pending in map(type, inputs):
        return deferred.joined(op, inputs, settings)
    if any(getattr(each, "__apply_rank__", 0) > 0 for each in inputs):
        return by_rank(op, inputs, settings)
    return apply(op, [_operand(op, each, inputs) for each in inputs], settings)


apply.ranks = True  # type: ignore[attr-defined]


@cache
def _deferred() -> Any:
    """The module of what is deferred, which needs this one."""
    from . import deferred

    return deferred


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
            if not (op.writes or op.deferral or len(outlines) > 1):
                plan.result = outlines[0]
                plan.short = 0 if op.saves or op.view else plan.direct
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


def _written(plan: Plan, inputs: Sequence[Any]) -> None:
    """Raise the version of the tensors that an op has written."""
    for at in plan.written:
        version = inputs[at].version or version_of(inputs[at])
        version.count += 1


# -- Higher order ----------------------------------------------------------------------


def _apply_higher(op: Op, plan: Plan, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
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
        _written(plan, inputs)
        if not op.outputs:
            return None
    tensors = _tensors(op, plan, inputs, op.own(plan, results))
    nodes = [getattr(each, "node", None) for each in inputs]
    nodes += [None] * (len(arrays) - len(nodes))
    for node in nodes:
        if node is not None and node.edges is None:
            raise spent(node)
    padded = [*map(_kept, inputs), *[None] * (len(arrays) - len(inputs))]
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
    lent = [twin if twin.scalar_type.is_float else None for twin in twins]
    edges: list[Edge] = []
    for places, rule, finish, into in _recipes(op, plan, list(map(bool, nodes))):
        closure = rule(own, *padded, **saved)
        if finish is not None:
            closure = finish(closure)
        edges.append(([nodes[at] for at in places], closure, into, lent))
    if edges:
        versions = [(each.node.name, version_of(each)) for each in inputs if _is_recorded(each)]
        kept = [(name, version, version.count) for name, version in versions]
        _hang(Node(op.name, edges, kept), tensors)
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def _kept(value: Any) -> Any:
    """The input as a rule may keep it: what the walk lends a node to has it only for a while."""
    if not _is_recorded(value):
        return value
    from .tensor import _make

    kept = _make(value._array, value.node)
    kept.version = version_of(value)
    return kept


def _is_recorded(value: Any) -> bool:
    return getattr(value, "node", None) is not None
