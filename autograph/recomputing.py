"""Gradient checkpointing: a part of a model that records nothing, and runs again in backward.

Memory for time: of what the part computes only its inputs are kept (Chen, Xu, Zhang and
Guestrin, 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import ref

from . import ops
from .attending import Apply, attending
from .backends import limit, using
from .errors import GraphError
from .graph import Kept, Node, Outlet, Version, spent
from .op import Op
from .tensor import Tensor, enable_grad, is_training, no_grad, training
from .tensor.staircase import version_of
from .tensor.state import state
from .tensor.walk import _walk


def recompute(function: Callable[..., Any], *inputs: Any, **settings: Any) -> Any:
    """function(*inputs, **settings), with the same bits and gradients, recorded as one node.

    The function, often a layer, answers a tensor or a tuple of them. It runs again when backward
    arrives: in the mode of the first time (training or not, the same backends), on the counters
    of dropout and the statistics that it found then, which are put back as they were after.
    Whatever tensors it uses get their gradients; one that is written before backward is refused.
    Inside of `ag.higher_order()` it is recorded as any function is, and keeps what it computes.

    >>> layer = Dense.builder(inputs=3, outputs=2).build()
    >>> x = Tensor(np.ones((4, 3), np.float32))
    >>> recompute(layer, x).sum().backward()
    >>> layer.weight.grad.shape
    (3, 2)
    """
    if not state.recording or state.higher_order:
        return function(*inputs, **settings)
    pass_ = _Pass(function, inputs, settings)
    with no_grad(), training(pass_.training), attending(pass_.notice):
        outputs = function(*[_value(each) for each in inputs], **settings)
    return pass_.recorded(outputs)


def _value(each: Any) -> Any:
    return each.detach() if isinstance(each, Tensor) else each


class _Pass:
    """The first run of a function: what it used, and what it found there."""

    def __init__(
        self, function: Callable[..., Any], inputs: Sequence[Any], settings: Mapping[str, Any]
    ) -> None:
        self.function, self.inputs, self.settings = function, inputs, settings
        self.training, self.limit = is_training(), limit()
        self.nodes: dict[Node, None] = {}  # of the tensors it used that are not among its inputs
        self.read: dict[int, tuple[str, Version, int]] = {}
        # What it writes, and what that held before, by the id of the array.
        self.written: dict[int, tuple[Tensor, Any]] = {}
        self._made: dict[int, ref[Tensor]] = {}

    def notice(
        self, apply: Apply, op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]
    ) -> Any:
        """Run an op, and note which tensors from outside it reads and writes."""
        for i, each in enumerate(inputs):
            made = self._made.get(id(each))
            if not isinstance(each, Tensor) or (made is not None and made() is each):
                continue
            name = op.inputs[0] if op.variable else op.inputs[i]
            if each.node is not None:
                self.nodes[each.node] = None
            if name in op.writes:
                if id(each._array) not in self.written:
                    self.written[id(each._array)] = each, ops.copy(each._array)
            elif id(version := version_of(each)) not in self.read:
                self.read[id(version)] = (f"{name} of {op.name}", version, version.count)
        results = apply(op, inputs, settings)
        if not op.view:
            for each in results if isinstance(results, tuple) else (results,):
                if isinstance(each, Tensor):
                    self._made[id(each)] = ref(each)
        return results

    def recorded(self, outputs: Any) -> Any:
        """The outputs with one node, whose gradient rule is the second run."""
        self._made.clear()
        given = [each for each in self.inputs if isinstance(each, Tensor) and each.node is not None]
        targets = [each.node for each in given if each.node is not None] + list(self.nodes)
        if not targets:
            return outputs
        for node in targets:
            if node.edges is None:
                raise spent(node)
        several = isinstance(outputs, tuple)
        made = [_fresh(each) for each in (outputs if several else (outputs,))]
        joint, alone = len(made) > 1, len(targets) == 1

        def rule(dy: Any) -> Any:  # it holds no output, which would be a cycle
            found = self.again(dy if joint else [dy])
            return found[0] if alone else found

        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        node = Node(f"recompute({name})", [(targets, rule, False, ())], self._kept())
        for i, each in enumerate(made):
            if each.scalar_type.is_float:
                each.node = Outlet(node, i, len(made)) if joint else node
        return tuple(made) if several else made[0]

    def _kept(self) -> list[Kept]:
        """The versions of what was read alone: backward needs those values."""
        own = {id(version_of(each)) for each, _ in self.written.values()}
        kept = [each for key, each in self.read.items() if key not in own]
        self.read.clear()
        return kept

    def again(self, gradients: Sequence[Any]) -> list[Any]:
        """The gradients of the inputs and of what else was used, from a second run."""
        fresh = []
        for each in self.inputs:
            value = _value(each)
            if isinstance(each, Tensor) and each.node is not None:
                value.requires_grad = True
            fresh.append(value)
        nodes = [
            twin.node
            for each, twin in zip(self.inputs, fresh, strict=True)
            if isinstance(each, Tensor) and each.node is not None
        ] + list(self.nodes)
        with self._as_it_was():
            with enable_grad(), training(self.training):
                outputs = self.function(*fresh, **self.settings)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            roots = []
            for y, dy in zip(outputs, gradients, strict=True):
                if dy is not None and y.node is not None:
                    roots.append((y.node, dy))
            inner = all(not node.edges for node in self.nodes)  # nothing below is walked here
            found = _walk(roots, wanted=nodes, retain_graph=not inner) if roots else {}
        return [found.get(node) for node in nodes]

    @contextmanager
    def _as_it_was(self) -> Iterator[None]:
        """Within the block, what the function writes holds what it held at the first run."""
        now = [
            (each, ops.copy(each._array), version_of(each).count)
            for each, _ in self.written.values()
        ]
        try:
            for each, before in self.written.values():
                ops.assign(each._array, before)
            if self.limit is None:
                yield
            else:
                with using(*self.limit):
                    yield
        finally:
            for tensor, value, count in now:
                ops.assign(tensor._array, value)
                version_of(tensor).count = count


def _fresh(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise GraphError(
            f"recompute: the function answers a {type(value).__name__}\n"
            f"  write it so that it answers a tensor, or a tuple of tensors"
        )
    return value.detach()
