"""How what an op did is recorded: its node, with edges that are worked out once a signature.

Rules that can be bound to a signature make edges that all nodes of it share, which then differ in
their targets and in what they keep; other rules answer a closure for each node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import ops
from ..graph import Edge, Kept, Node, Outlet, Version, clock, hand_on, spent
from ..later import computed
from ..op import Op
from ..outline import Outline
from ..plan import Plan
from ..promised import GradientCheck, is_ours
from .symbols import bound_to

if TYPE_CHECKING:
    from .tensor import Tensor

_new = object.__new__


def version_of(tensor: Tensor) -> Version:
    """The version of the memory behind a tensor, made when it is first asked for."""
    if tensor.version is None:
        tensor.version = Version()
    return tensor.version


class Recipe(NamedTuple):
    """How one gradient rule is recorded, for one signature and certain inputs that are."""

    places: tuple[int, ...]  # the inputs whose gradients it computes
    rule: Callable[..., Any]  # it has its settings already
    finish: Callable[[Callable[..., Any]], Callable[..., Any]] | None
    into: bool


class Record(NamedTuple):
    """How an op is recorded, for one signature and certain inputs that are."""

    recipes: Sequence[Recipe]
    shared: Sequence[Edge] | None  # the edges of all nodes, where arrays are all that differs
    take: Callable[[Any], Any] | None  # what those need, of (y, *inputs, *saved)
    keeps: Sequence[tuple[int, str]]  # the tensors that must not be written before backward: of
    # inputs and outputs (-1, -2, ...), or, where edges are shared, of (y, *inputs)


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
        elif not is_ours(rule):
            finish = GradientCheck(op.name, [plan.inputs[at] for at in places])
        made.append(Recipe(places, partial(rule, **settings) if settings else rule, finish, into))
    return made


def _learnt(
    op: Op,
    plan: Plan,
    inputs: Sequence[Any],
    nodes: Sequence[Node | None],
    arrays: Sequence[Any],
    own: Any,
    saved: Mapping[str, Any],
) -> Record:
    """How to record `op` from now on; what its closures keep is seen when they are made."""
    recorded = [each is not None for each in nodes]
    recipes = _recipes(op, plan, recorded)
    bound, lies = None, plan.results  # of the one output, known where signatures decide it
    if plan.exact and lies is not None and len(lies) == 1:
        bound = _shared(op, plan, recorded, [*lies, *map(Outline.of, saved.values())])
    if bound is None:
        closures = [rule(own, *arrays, **saved) for _, rule, _, _ in recipes]
        return Record(recipes, None, None, _kept_places(op, closures, inputs, arrays, own))
    edges, take, places = bound
    names = op.outputs + op.names_of(arrays)
    tensors = (True, *[hasattr(each, "version") for each in inputs])
    keeps = [(at, names[at]) for at in places if at < len(tensors) and tensors[at]]
    return Record(recipes, edges, take, keeps)


def _shared(
    op: Op, plan: Plan, recorded: Sequence[bool], outputs: Sequence[Outline]
) -> tuple[Sequence[Edge], Callable[[Any], Any] | None, list[int]] | None:
    """The edges that all nodes of a signature share, if every rule can be bound to it; what to take
    of (y, *inputs, *saved) for them, and from which places."""
    runs: list[tuple[tuple[int, ...], Callable[..., Any], Sequence[int]]] = []
    reached = 0
    for positions, rule, into, asks in op.gradients:
        if into or positions is None or not is_ours(rule):
            return None
        needs = tuple([recorded[at] for at in positions])
        if any(needs):
            settings = {**plan.settings, "needs": needs} if asks else plan.settings
            bind = getattr(rule, "bound", None)
            if bind is not None:
                bound = bind(plan.inputs, outputs, **settings)
            elif outputs[0].device.is_host:  # on a device some look at what was just computed
                bound = bound_to(rule, op, plan.inputs, outputs, settings)
            else:
                return None
            if bound is None:
                return None
            runs.append((positions, *bound))
            reached += sum(needs)
    if reached != sum(recorded):
        return None
    places = sorted({at for _, _, taken in runs for at in taken})
    edges: list[Edge] = []
    for to, run, taken in runs:
        rule = _of_kept(run, [places.index(at) for at in taken], len(places))
        edges.append((to[0], rule, (), ()) if len(to) == 1 else (None, rule, to, ()))
    return tuple(edges), itemgetter(*places) if places else None, places


def _of_kept(run: Callable[..., Any], at: Sequence[int], count: int) -> Callable[..., Any]:
    """A rule from dy and the kept values, `count` of them (alone or in a tuple)."""
    if not at:
        return run if run is hand_on else lambda dy, kept: run(dy)
    if count == 1:
        return run
    if len(at) == 1:
        (i,) = at
        return lambda dy, kept: run(dy, kept[i])
    if list(at) == list(range(count)):
        return lambda dy, kept: run(dy, *kept)
    return lambda dy, kept: run(dy, *[kept[i] for i in at])


def _record(
    op: Op,
    plan: Plan,
    inputs: Sequence[Any],
    nodes: Sequence[Node | None],
    arrays: Sequence[Any],
    own: Any,
    saved: Mapping[str, Any],
    tensors: list[Tensor],
) -> None:
    """Give the outputs their nodes."""
    recorded, bit = 0, 1
    for each in nodes:
        if each is not None:
            if each.edges is None:
                raise spent(each)
            recorded += bit
        bit += bit
    record = plan.recipes.get(recorded)
    if record is None:
        record = _learnt(op, plan, inputs, nodes, arrays, own, saved)
        plan.recipes[recorded] = record
    if record.shared is not None:
        values = (own, *arrays, *saved.values())
        _share(op, record, nodes, (tensors[0], *inputs), values)
        return
    edges: list[Edge] = []
    for places, rule, finish, into in record.recipes:
        closure = rule(own, *arrays, **saved) if saved else rule(own, *arrays)
        if finish is not None:
            closure = finish(closure)
        targets = (nodes[places[0]],) if len(places) == 1 else [nodes[at] for at in places]
        edges.append((targets, closure, into, ()))
    kept: list[Kept] = []
    for at, name in record.keeps:
        version = version_of(inputs[at] if at >= 0 else tensors[-1 - at])
        kept.append((name, version, version.count))
    if edges:
        _hang(Node(op.name, edges, kept), tensors)


def _share(
    op: Op,
    record: Record,
    nodes: Sequence[Node | None],
    tensors: Sequence[Tensor],
    values: Sequence[Any],
) -> None:
    """Give the output the node that differs from others of its signature in its values alone;
    `tensors` are of (y, *inputs), and `values` of these and what is saved."""
    for target in nodes:
        if target is not None and target.edges is None:
            raise spent(target)
    _, edges, take, keeps = record
    node = _new(Node)
    node.age, node.name = next(clock), op.name
    node.targets, node.edges = nodes, edges
    node.keeps = None if take is None else take(values)
    kept: list[Kept] = []
    node.kept = kept if keeps else ()
    for at, name in keeps:
        version = tensors[at].version
        if version is None:
            version = tensors[at].version = _new(Version)
            version.count = 0
        kept.append((name, version, version.count))
    tensors[0].node = node


def _alone(closure: Callable[..., Any]) -> Callable[..., Any]:
    """The rule of a variable number of inputs answers a list, also where it is of one."""
    return lambda dy: closure(dy)[0]


def _hang(node: Node, tensors: Sequence[Tensor]) -> None:
    """Give outputs the node of their op."""
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
        return ops.cast(computed(dx), scalar_type=scalar_type)

    def rule(dy: Any, *so_far: Any) -> Any:
        gradients = closure(dy, *so_far)
        if len(before) == 1:
            return one(gradients, before[0])
        return [one(dx, scalar_type) for dx, scalar_type in zip(gradients, before, strict=True)]

    return rule
