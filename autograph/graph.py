"""The backward graph: nodes stand for tensors, edges lead to what they were made from.

It knows nothing about ops, and nothing about arrays but how to add two, which it is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from operator import attrgetter
from typing import Any, Protocol

from .errors import GraphError

Gradient = Any  # an array; or a tensor, where gradients are differentiated again

_clock = count()
_age = attrgetter("age")


class Version:
    """How often the memory behind a tensor was written; views of one memory share it."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


# An edge leads from a node to what it was made from: (targets, rule, into, values).
#
# `rule` maps the gradient of the node to the gradients of `targets`, in their order; with one
# target it returns that gradient alone. The rule of an `into` edge takes the target's gradient so
# far (or None) as well, adds its part there and returns the whole. `values` are the node's own
# tensors, where rules are differentiated again: while a rule runs they carry the node, and at no
# other time, so that no cycle exists. (A plain tuple: millions of them are made.)
Edge = tuple[Sequence["Node | None"], Callable[..., Any], bool, Sequence[Any]]

# A value that a rule holds on to: (its name, the version of its memory, the count it had then).
Kept = tuple[str, Version, int]


def carrying(node: Node, values: Sequence[Any], rule: Callable[..., Any]) -> Callable[..., Any]:
    """The rule, run while `values` carry the node."""

    def run(*arguments: Any) -> Any:
        for value in values:
            value.node = node
        try:
            return rule(*arguments)
        finally:
            for value in values:
                value.node = None

    return run


class Node:
    """One recorded tensor.

    A node is born after the nodes it was computed from, so that visiting nodes from the
    youngest to the oldest meets each only when its gradient is complete.
    """

    __slots__ = ("age", "edges", "kept", "name")

    def __init__(
        self, name: str, edges: Sequence[Edge], kept: Sequence[Kept] = ()
    ) -> None:
        self.age = next(_clock)
        self.name = name
        self.edges: Sequence[Edge] | None = edges  # None: used up by a backward
        self.kept = kept


class Leaf(Node):
    """A tensor whose gradient is wanted: it adds up in `grad`."""

    __slots__ = ("grad",)

    def __init__(self, name: str = "leaf") -> None:
        super().__init__(name, ())
        self.grad: Any = None


class Arrivals(Protocol):
    """Who is told of gradients while a walk goes on."""

    def begin(self, expected: Mapping[Node, int]) -> None:
        """A walk begins that leads to these leaves."""

    def arrived(self, leaf: Node, value: Gradient) -> bool:
        """The gradient of a leaf is complete; whether it was taken over."""


class Outlet(Node):
    """One of the several outputs of an op; `joint` is the node of the op itself."""

    __slots__ = ("index", "joint", "outlets")

    def __init__(self, joint: Node, index: int, outlets: int) -> None:
        super().__init__(joint.name, (((joint,), _nothing, False, ()),))
        self.joint, self.index, self.outlets = joint, index, outlets


def _nothing(dy: Gradient) -> None:
    """The rule of an outlet: the walk hands its gradient to the joint node."""


def reachable(roots: Iterable[Node]) -> list[Node]:
    """Every node under `roots`, the youngest first; refused if any cannot be walked."""
    order = list(dict.fromkeys(roots))
    seen = set(order)
    for node in order:  # it grows meanwhile
        if node.edges is None:
            raise spent(node)
        for name, version, then in node.kept:
            if version.count != then:
                raise GraphError(
                    f"backward: {name} of {node.name} was written after the forward that "
                    f"needs its old value\n"
                    f"  version  {then} when recorded, {version.count} now\n"
                    f"  run forward again, or write into a copy: x = x.copy()"
                )
        for edge in node.edges:
            for target in edge[0]:
                if target is not None and target not in seen:
                    seen.add(target)
                    order.append(target)
    order.sort(key=_age, reverse=True)
    return order


def spent(node: Node) -> GraphError:
    """The error for a graph that a backward has already used up."""
    return GraphError(
        f"{node.name}: backward has used up the graph of this tensor\n"
        f"  run forward again, or keep the graph: backward(retain_graph=True),\n"
        f"  or take the value alone: x.detach()"
    )


def backward(
    roots: Sequence[tuple[Node, Gradient]],
    *,
    add: Callable[[Gradient, Gradient], Gradient],
    add_into: Callable[[Gradient, Gradient], Gradient] | None,
    wanted: Iterable[Node] | None = None,
    retain_graph: bool = False,
    arrivals: Arrivals | None = None,
) -> dict[Node, Gradient]:
    """The gradients that reach the leaves, or the `wanted` nodes; `arrivals` are told of those of
    leaves as soon as they are complete.

    `add` makes a new sum; `add_into` adds into its first argument, which this walk made.
    Edges are dropped as soon as they have run, and with them what they kept, so that memory
    falls while the walk proceeds. Nothing else is changed: the caller gives the leaves
    their gradients, when all of them are known.
    """
    order = reachable(node for node, _ in roots)
    needed = None if wanted is None else _leading_to(set(wanted), order)
    gradients: dict[Node, Any] = {}
    own: set[Node] = set()
    found: dict[Node, Gradient] = {}

    def gather(target: Node, gradient: Gradient) -> None:
        have = gradients.get(target)
        if have is None:
            gradients[target] = gradient
        elif target in own and add_into is not None:
            gradients[target] = add_into(have, gradient)
        else:
            gradients[target] = add(have, gradient)
            own.add(target)

    for node, gradient in roots:
        gather(node, gradient)
    for node in order if arrivals is None else _announced(order, gradients, found, arrivals):
        dy = gradients.pop(node, None)
        edges = node.edges
        assert edges is not None
        if not edges and needed is None:  # a leaf
            if dy is not None:
                found[node] = dy
            continue
        if needed is not None and node in needed[0] and dy is not None:
            found[node] = dy
        if not retain_graph and edges:
            node.edges, node.kept = None, ()
        if dy is None:
            continue
        if isinstance(node, Outlet):
            slots = gradients.setdefault(node.joint, [None] * node.outlets)
            slots[node.index] = dy
            continue
        for targets, rule, into, values in edges:
            if needed is not None and needed[1].isdisjoint(targets):
                continue
            if add_into is None and not values:
                raise GraphError(
                    f"{node.name}: recorded outside of higher_order()\n"
                    f"  run the forward inside it as well:  with ag.higher_order(): ..."
                )
            if values:
                rule = carrying(node, values, rule)
            if len(targets) > 1:
                for target, dx in zip(targets, rule(dy), strict=True):
                    if target is not None and dx is not None:
                        gather(target, dx)
                continue
            (target,) = targets
            assert target is not None
            if into and add_into is not None:
                if target in gradients and target not in own:
                    gather(target, rule(dy, None))
                else:
                    gradients[target] = rule(dy, gradients.get(target))
                    own.add(target)
            else:
                dx = rule(dy, None) if into else rule(dy)
                if target in gradients:
                    gather(target, dx)
                else:
                    gradients[target] = dx
    return found


def _announced(
    order: Sequence[Node], gradients: dict[Node, Any], found: dict[Node, Any], arrivals: Arrivals
) -> Iterator[Node]:
    """The nodes in order; when the last edge into a leaf has run, its gradient is handed over."""
    left = Counter(
        target
        for node in order
        for edge in node.edges or ()
        for target in edge[0]
        if target is not None and not target.edges
    )
    arrivals.begin(left)
    for node in order:
        leaves = [each for edge in node.edges or () for each in edge[0] if each in left]
        yield node
        for leaf in leaves:
            assert leaf is not None
            left[leaf] -= 1
            if not left[leaf] and leaf in gradients:
                value = gradients.pop(leaf)
                if not arrivals.arrived(leaf, value):
                    found[leaf] = value


def _leading_to(wanted: set[Node], order: list[Node]) -> tuple[set[Node], set[Node]]:
    """The wanted nodes, and all nodes on the way to one."""
    leading = set(wanted)
    for node in reversed(order):  # the oldest first: targets are decided before their makers
        if any(not leading.isdisjoint(edge[0]) for edge in node.edges or ()):
            leading.add(node)
    return wanted, leading
