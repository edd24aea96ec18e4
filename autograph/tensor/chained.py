"""Chains on a device, their loss, `backward` and the step of an optimizer, met in two kernels.

They are asked for one after the other: what a recorded chain answers is pending, its mean cross
entropy is too, and `backward` of that runs forward and backward as one op. Its gradients are
pending again: the optimizer that takes them all moves the parameters in the kernel that would have
written them down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import is_
from typing import Any
from weakref import ref

from .. import ops
from ..backends import CUDA, enabled
from ..backends.backend import lookups
from ..errors import NoKernelError
from ..graph import Leaf, Node, Version, hand_on, spent
from ..op import PLANS, Fixed, Op
from ..ops.chain import (
    UPDATES,
    chain,
    chain_adam_updates,
    chain_gradients,
    chain_sgd_updates,
    chain_step,
)
from ..ops.update.together import adam_updates, parts_of, sgd_updates
from ..outline import Outline
from ..plan import Plan, no_memory
from .deferred import JOINS, Deferred, Pending, _set_value, compute_before, fill, waited_for
from .prepared import Prepared
from .slopes import move
from .staircase import _tensors, apply, live, version_of
from .state import plain, state
from .tensor import Tensor
from .walk import _gather, _walk, may_defer

KINDS = {"cuda"}  # of devices whose chains are deferred


class Forward(Deferred):
    """y = chain(x, *parameters), and its mean cross entropy once somebody has asked for that."""

    def __init__(
        self, inputs: Sequence[Tensor], arrays: list[Any], nodes: list[Node | None], plan: Plan
    ) -> None:
        super().__init__([*inputs], arrays, nodes)
        self.plan = plan
        self.y: Tensor | None = None
        self.has_loss = False

    def join(self, target: Tensor, loss: Outline) -> list[Tensor]:
        """The pending loss; the target is one more input."""
        self.has_loss = True
        self.inputs.append(target)
        self.arrays.append(target._array)
        self.nodes.append(None)
        self.counts.append(version_of(target).count)
        return self.pend(loss)

    def compute(self) -> None:
        if self.y is not None:
            return
        inputs, (pending, *losses) = self.inputs_then(), self.pending
        target = inputs.pop() if self.has_loss else None
        used_up = [node for node in self.nodes if node is not None and node.edges is None]
        with self.as_then():
            state.recording = not used_up
            y: Tensor = apply(chain, inputs, self.plan.settings)
            state.recording = True
            if used_up:  # since then: whoever walks from here is told
                y.node = Node(chain.name, ((used_up, hand_on, False, ()),))
            elif y.node is not None:  # the versions that it keeps are those of then
                counts = {
                    each.version: count
                    for each, count in zip(self.inputs, self.counts, strict=True)
                }
                y.node.kept = [
                    (name, version, counts.get(version, count))
                    for name, version, count in y.node.kept
                ]
            fill(pending(), y)
            if target is not None:
                asked = pending()
                loss = apply(ops.cross_entropy_loss, [y if asked is None else asked, target], {})
                fill(losses[0](), loss)
        self.y = y

    def backward(self, loss: Pending) -> bool:
        """Forward and backward as one op, if nobody has looked in between."""
        leaves: Sequence[Any] = self.nodes[1:-1]
        if (
            not self.has_loss
            or loss is not self.pending[1]()
            or self.y is not None
            or {*map(type, leaves)} != {Leaf}
            or not self.is_current()
            or self.limit != lookups.limit
        ):
            return False
        x, *parameters, target = self.inputs
        plan, has_dx = self.plan, x.node is not None
        y, left, *dx = _run(
            chain_step, (plan, target.outline, has_dx),
            [self.arrays[0], self.arrays[-1], *self.arrays[1:-1]],
            lambda: ([x, target, *parameters], {**plan.settings, "has_dx": has_dx}),
        )  # fmt: skip
        upstream: dict[Any, Any] = {}
        if has_dx:
            upstream = _walk([(x.node, dx[0]._array)], retain_graph=False)
        walk = Walk(loss, x, left, parameters, plan, has_dx)
        gradients = walk.gradients()
        for leaf, value in upstream.items():
            _gather(leaf, value, set())
        for leaf, gradient in zip(leaves, gradients, strict=True):
            if leaf.grad is None:
                leaf.grad = gradient
            else:
                _gather(leaf, gradient, set())
        y.node = _WALKED
        self.y = y
        fill(self.pending[0](), y)
        loss.consumed = ops.cross_entropy_loss.name
        return True


_WALKED = Node(chain.name, ())  # of any y that was walked
_WALKED.edges = None


class Walk(Deferred):
    """What a first kernel has left: the loss, and the gradients of the parameters."""

    recorded = False

    def __init__(
        self, loss: Pending, x: Tensor, left: Tensor, parameters: Sequence[Tensor], plan: Plan,
        has_dx: bool,
    ) -> None:  # fmt: skip
        super().__init__([x], [x._array], [x.node])
        self.left, self.parameters = left, parameters
        self.plan, self.has_dx = plan, has_dx  # the plan of the chain
        self.pending.append(ref(loss))
        _set_value(loss, self)

    @property
    def settings(self) -> Mapping[str, Any]:
        return {**self.plan.settings, "has_dx": self.has_dx}

    def gradients(self) -> Sequence[Tensor]:
        """The pending gradients, made by an op, so that those who watch ops know them."""
        if Tensor.__apply__ is apply:  # nobody does
            return self.pend(*self.plan.given[1:])
        state.walk = self
        try:
            made: Sequence[Tensor] = chain_gradients(
                *self.inputs, self.left, *self.parameters, **self.settings
            )
        finally:
            state.walk = None
        return made

    def compute(self) -> None:
        if not any(type(each()) is Pending for each in self.pending):
            return
        with self.as_then():
            inputs = [*self.inputs_then(), self.left, *self.parameters]
            found = apply(chain_gradients, inputs, self.settings)
        for pending, value in zip(self.pending, found, strict=True):
            fill(pending(), value)

    def update(self, prepared: Prepared, rate: Tensor, ws: Any, slopes: Any) -> bool:
        """Move the parameters by their gradients, which are not written down for it, if these
        are all the gradients."""
        parameters = self.parameters
        if len(ws) != len(parameters):
            return False
        if not all(map(is_, ws, parameters)):  # in another order
            places = {id(w): at for at, w in enumerate(ws)}
            if places.keys() != set(map(id, parameters)):
                return False
            order = [places[id(w)] for w in parameters]
            ws, slopes = parameters, [slopes[at] for at in order]
            prepared = prepared.in_order(order, ws)
        pending = [each() for each in self.pending]
        if not all(map(is_, slopes, pending[1:])):
            return False
        left = self.left

        def called() -> Any:
            inputs = prepared.inputs(rate, ws, slopes)
            del inputs[2 :: prepared.width]
            return [*self.inputs_then(), left, *inputs], {**self.settings, **prepared.settings}

        try:
            (loss,) = _run(
                _JOINT_UPDATES[prepared.op],
                (self.plan, self.has_dx, left.outline, prepared.settings),
                [*self.arrays, left._array, *prepared.arrays(rate, ws)], called,
                prepared.versions, self,
            )  # fmt: skip
        except NoKernelError:
            return False
        fill(pending[0], loss)
        return True


def _run(
    op: Op, key: Sequence[Any], arrays: Sequence[Any], called: Callable[[], Any],
    writes: Sequence[Version] = (), blind: Deferred | None = None,
) -> Sequence[Any]:  # fmt: skip
    """`op` run on the arrays of plain tensors under no_grad, the short way where nobody watches
    ops. All that its plan depends on follows from `key`; with which inputs and settings it would be
    called, `called` says. It `writes` these, which `blind` need not see."""
    if Tensor.__apply__ is not apply:
        inputs, settings = called()
        found = op(*inputs, **settings)
        return found if len(op.outputs) > 1 else (found,)
    taped = lookups.tape is not None
    plan = op.plans.get((lookups.key, *key))
    if plan is None:
        inputs, settings = called()
        plan = op.plan([None if each is None else each.outline for each in inputs], dict(settings))
        if not taped and type(op.plans) is dict:  # a profiler answers plans of its own
            if len(op.plans) >= PLANS:
                op.plans.clear()
            op.plans[(lookups.key, *key)] = plan
    if writes and live:
        compute_before(writes, blind)
    try:
        direct = plan.prepare is None and not taped
        results = plan.kernel(*arrays) if direct else op.run(plan, arrays)[1]
    except MemoryError as error:
        raise no_memory(op, plan, error) from None
    for version in writes:
        version.count += 1
    return _tensors(op, plan, (), results) if op.outputs else ()


# -- which ops defer, and which join what is deferred ----------------------------------------


def apply_chain(
    inputs: Sequence[Tensor], outlines: Sequence[Outline], nodes: list[Node | None], settings: Fixed
) -> Tensor:
    """`chain` of tensors with these outlines and nodes: the short way where it can be deferred."""
    pending: Tensor | None = None
    if state.deferring and not state.higher_order and plain.issuperset(map(type, inputs)):
        plan = chain.plans.get((lookups.key, *outlines, settings)) or chain.plan(outlines, settings)
        pending = _forward(plan, inputs, [each._array for each in inputs], nodes)
    return type(inputs[0]).__apply__(chain, inputs, settings) if pending is None else pending


def defer(
    op: Op, plan: Plan, inputs: Sequence[Any], arrays: list[Any], nodes: list[Node | None]
) -> Any:
    """The pending results of `op`, whose plan has found nothing wrong; None where it runs now."""
    if op is chain_gradients:
        walk = state.walk
        return None if walk is None else tuple(walk.pend(*plan.outputs[1:]))
    return _forward(plan, inputs, arrays, nodes) if may_defer() else None


def _forward(
    plan: Plan, inputs: Sequence[Tensor], arrays: list[Any], nodes: list[Node | None]
) -> Tensor | None:
    """The pending answer of `chain`."""
    outline = plan.outputs[0]
    device = outline.device
    if not (state.recording and any(nodes) and device.kind in KINDS):
        return None
    if not (device.is_host or enabled(CUDA)):
        return None
    for node in nodes:
        if node is not None and node.edges is None:
            raise spent(node)
    return Forward(inputs, arrays, nodes, plan).pend(outline)[0]


def update(
    prepared: Prepared, rate: Tensor, ws: Sequence[Tensor], slopes: Sequence[Tensor]
) -> None:
    """Move parameters by their gradients, under no_grad."""
    if type(slopes[0]) is Pending and plain and state.deferring:
        walk = waited_for(slopes[0])
        if type(walk) is Walk and walk.update(prepared, rate, ws, slopes):
            return
    if {*map(type, ws), *map(type, slopes)} <= plain and prepared.fits(slopes):
        _run(
            prepared.op, (prepared.settings,), prepared.arrays(rate, ws, slopes),
            lambda: (prepared.inputs(rate, ws, slopes), prepared.settings), prepared.versions,
        )  # fmt: skip
        return
    others = move(prepared, rate, ws, slopes)
    if len(others) == len(ws):
        prepared.op(*prepared.inputs(rate, ws, slopes), **prepared.settings)
    elif others:
        some = [ws[at] for at in others]
        update(prepared.of(others, some), rate, some, [slopes[at] for at in others])


def _join_loss(op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
    y, target = inputs
    forward = waited_for(y)
    if (
        type(forward) is not Forward
        or forward.has_loss
        or type(target) is not Tensor
        or target.node is not None
        or not (state.recording and may_defer())
        or forward.limit != lookups.limit
    ):
        return None
    given = y.outline, target.outline
    plan = op.plans.get((lookups.key, *given)) or op.plan(given, settings)  # refuses what misfits
    return forward.join(target, plan.outputs[0])


def _join_update(op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
    rate, *moving = inputs
    parts = parts_of(UPDATES[_JOINT_UPDATES[op]], moving)
    ws, slopes = [part[0] for part in parts], [part[1] for part in parts]
    prepared = Prepared(op, settings, ws, [part[2:] for part in parts])
    walk = waited_for(slopes[0])
    has_moved = type(walk) is Walk and walk.update(prepared, rate, ws, slopes)
    return (None,) if has_moved else None


_JOINT_UPDATES = {sgd_updates: chain_sgd_updates, adam_updates: chain_adam_updates}
JOINS |= {ops.cross_entropy_loss: _join_loss, **dict.fromkeys(_JOINT_UPDATES, _join_update)}

chain.deferral = chain_gradients.deferral = defer
