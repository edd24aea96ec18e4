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
from ..graph import Leaf, Node, Version, spent
from ..op import PLANS, Op
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
from .staircase import _tensors, apply, live
from .state import plain, state
from .tensor import Tensor
from .walk import _gather, _walk

KINDS = {"cuda"}  # of devices whose chains are deferred


class Forward(Deferred):
    """y = chain(x, *parameters)."""

    def __init__(self, inputs: Sequence[Tensor], plan: Plan) -> None:
        super().__init__(inputs)
        self.plan, self.settings = plan, plan.settings
        self.y: Tensor | None = None

    def compute(self) -> None:
        if self.y is not None:
            return
        with self.as_then():
            self.y = y = apply(chain, self.inputs_then(), self.settings)
        if y.node is not None:  # the versions that it keeps are those of then
            counts = {
                each.version: count
                for each, (_, _, count) in zip(self.inputs, self.then, strict=True)
            }
            y.node.kept = [
                (name, version, counts.get(version, count)) for name, version, count in y.node.kept
            ]
        for pending in self.pending:
            fill(pending(), y)


class Loss(Deferred):
    """loss = cross_entropy_loss(y, target), of a y that is pending."""

    def __init__(self, y: Tensor, forward: Forward, target: Tensor) -> None:
        super().__init__([target])
        self.forward, self.y = forward, ref(y)
        self.done = False

    def compute(self) -> None:
        if self.done:
            return
        self.forward.compute()
        y, self.done = self.y(), True
        y = self.forward.y if y is None else y
        with self.as_then():
            loss = apply(ops.cross_entropy_loss, [y, *self.inputs_then()], {})
        for pending in self.pending:
            fill(pending(), loss)

    def backward(self, loss: Pending) -> bool:
        """Forward and backward as one op, if nobody has looked in between."""
        forward, (target,) = self.forward, self.inputs
        x, *parameters = forward.inputs
        leaves: list[Any] = [w.node for w in parameters]
        if (
            forward.y is not None
            or any([type(leaf) is not Leaf for leaf in leaves])
            or not (forward.is_current() and self.is_current() and forward.limit == lookups.limit)
        ):
            return False
        has_dx = x.node is not None
        settings = {**forward.settings, "has_dx": has_dx}
        before, state.recording = state.recording, False
        try:
            y, left, *dx = _run(
                chain_step, (forward.plan, target.outline, has_dx),
                [each[0] for each in (forward.then[0], *self.then, *forward.then[1:])],
                lambda: ([x, target, *parameters], settings),
            )  # fmt: skip
            upstream: dict[Any, Any] = {}
            if has_dx:
                upstream = _walk([(x.node, dx[0]._array)], retain_graph=False)
            walk = Walk(loss, x, left, parameters, settings, forward.plan)
            gradients = walk.gradients()
            for leaf, value in upstream.items():
                _gather(leaf, value, set())
            for leaf, gradient in zip(leaves, gradients, strict=True):
                if leaf.grad is None:
                    leaf.grad = gradient
                else:
                    _gather(leaf, gradient, set())
        finally:
            state.recording = before
        y.node = Node(chain.name, ())
        y.node.edges = None  # used up
        forward.y, self.done = y, True
        fill(self.y(), y)
        loss.consumed = ops.cross_entropy_loss.name
        return True


class Walk(Deferred):
    """What a first kernel has left: the loss, and the gradients of the parameters."""

    recorded = False

    def __init__(
        self, loss: Pending, x: Tensor, left: Tensor, parameters: Sequence[Tensor],
        settings: Mapping[str, Any], plan: Plan,
    ) -> None:  # fmt: skip
        super().__init__([x])
        self.left, self.parameters = left, parameters
        self.settings, self.plan = settings, plan  # the plan of the chain
        self.pending.append(ref(loss))
        _set_value(loss, self)

    def gradients(self) -> Sequence[Tensor]:
        """The pending gradients, made by an op, so that those who watch ops know them."""
        if Tensor.__apply__ is apply:  # nobody does
            return self.pend(*[each.outline for each in self.parameters])
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
        left, settings, width = self.left, self.settings, prepared.width
        arrays = prepared.arrays(rate, ws)
        del arrays[2::width]  # the gradients

        def called() -> Any:
            inputs = prepared.inputs(rate, ws, slopes)
            del inputs[2::width]
            return [*self.inputs_then(), left, *inputs], {**settings, **prepared.settings}

        try:
            (loss,) = _run(
                _JOINT_UPDATES[prepared.op],
                (self.plan, settings["has_dx"], left.outline, prepared.settings),
                [self.then[0][0], left._array, *arrays], called, prepared.versions, self,
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


def defer(op: Op, plan: Plan, inputs: Sequence[Any], nodes: Sequence[Node | None]) -> Any:
    """The pending results of `op`, whose plan has found nothing wrong; None where it runs now."""
    if op is chain_gradients:
        walk = state.walk
        return None if walk is None else tuple(walk.pend(*plan.outputs[1:]))
    if not (state.recording and any(nodes) and _may_defer(plan.outputs[0])):
        return None
    for node in nodes:
        if node is not None and node.edges is None:
            raise spent(node)
    return Forward(inputs, plan).pend(plan.outputs[0])[0]


def _may_defer(outline: Outline) -> bool:
    applier = Tensor.__apply__  # somebody who attends to ops wants each where it is asked for
    attended = applier is not apply and not getattr(applier, "defers", False)
    return (
        not attended and outline.device.kind in KINDS and (outline.device.is_host or enabled(CUDA))
    )


def update(
    prepared: Prepared, rate: Tensor, ws: Sequence[Tensor], slopes: Sequence[Tensor]
) -> None:
    """Move parameters by their gradients, under no_grad."""
    pending = type(slopes[0]) is Pending and plain and state.deferring
    if pending and _joined_update(prepared, rate, ws, slopes):
        return
    if {*map(type, ws), *map(type, slopes)} <= plain and prepared.fits(slopes):
        _run(
            prepared.op, (prepared.settings,), prepared.arrays(rate, ws, slopes),
            lambda: (prepared.inputs(rate, ws, slopes), prepared.settings), prepared.versions,
        )  # fmt: skip
    else:
        prepared.op(*prepared.inputs(rate, ws, slopes), **prepared.settings)


def _join_loss(op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
    y, target = inputs
    forward = waited_for(y)
    if (
        type(forward) is not Forward
        or type(target) is not Tensor
        or target.node is not None
        or not (state.recording and _may_defer(y.outline))
        or forward.limit != lookups.limit
    ):
        return None
    plan = op.plan([y.outline, target.outline], settings)  # which refuses what does not fit
    return Loss(y, forward, target).pend(plan.outputs[0])


def _join_update(op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
    rate, *moving = inputs
    parts = parts_of(UPDATES[_JOINT_UPDATES[op]], moving)
    ws, slopes = [part[0] for part in parts], [part[1] for part in parts]
    prepared = Prepared(op, settings, ws, [part[2:] for part in parts])
    return (None,) if _joined_update(prepared, rate, ws, slopes) else None


def _joined_update(prepared: Prepared, rate: Tensor, ws: Any, slopes: Any) -> bool:
    walk = waited_for(slopes[0])
    return type(walk) is Walk and walk.update(prepared, rate, ws, slopes)


_JOINT_UPDATES = {sgd_updates: chain_sgd_updates, adam_updates: chain_adam_updates}
JOINS |= {ops.cross_entropy_loss: _join_loss, **dict.fromkeys(_JOINT_UPDATES, _join_update)}

chain.deferral = chain_gradients.deferral = defer
