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
from .later import Later, computed

Gradient = Any  # an array; or a tensor, where gradients are differentiated again

clock = count()
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
# tensors (None for one without gradients), where rules are differentiated again: while a rule runs
# they carry the node, and at no other time, so that no cycle exists. (A plain tuple: millions of
# them are made.)
#
# Nodes with `targets` share their edges with all that were made alike, (place, rule, (), ()): the
# target of an edge is the one at that place, and its rule takes what the node keeps as well,
# rule(dy, node.keeps). A rule for several targets says their places, (None, rule, places, ()).
Edge = tuple[Any, Callable[..., Any], Any, Sequence[Any]]

# A value that a rule holds on to: (its name, the version of its memory, the count it had then).
Kept = tuple[str, Version, int]


def carrying(node: Node, values: Sequence[Any], rule: Callable[..., Any]) -> Callable[..., Any]:
    """The rule, run while `values` carry the node, or of several each its outlet."""
    count = len(values)

    def run(*arguments: Any) -> Any:
        for i, value in enumerate(values):
            if value is not None:
                value.node = node if count == 1 else Outlet(node, i, count)
        try:
            return rule(*arguments)
        finally:
            for value in values:
                if value is not None:
                    value.node = None

    return run


class Node:
    """One recorded tensor.

    A node is born after the nodes it was computed from, so that visiting nodes from the
    youngest to the oldest meets each only when its gradient is complete.
    """

    __slots__ = ("age", "edges", "keeps", "kept", "name", "targets")

    def __init__(
        self,
        name: str,
        edges: Sequence[Edge],
        kept: Sequence[Kept] = (),
        targets: Sequence[Node | None] | None = None,
        keeps: Any = None,
    ) -> None:
        self.age = next(clock)
        self.name = name
        self.edges: Sequence[Edge] | None = edges  # None: used up by a backward
        self.kept = kept
        self.targets, self.keeps = targets, keeps  # where edges are shared


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


def hand_on(dy: Gradient, kept: Any = None) -> Gradient:
    """The rule of an edge that changes nothing."""
    return dy


def targets_of(node: Node) -> Sequence[Node | None]:
    """What the edges of a node lead to."""
    if node.targets is not None:
        return node.targets
    return [target for edge in node.edges for target in edge[0]] if node.edges else ()


def reachable(roots: Iterable[Node]) -> list[Node]:
    """Every node under `roots`, the youngest first; refused if any cannot be walked."""
    order = list(dict.fromkeys(roots))
    seen: set[Node | None] = {None, *order}
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
        targets: Sequence[Any] = node.targets or targets_of(node)
        for target in targets:
            if target not in seen:
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
    adder: Callable[[Gradient], Callable[[Gradient], None]] | None,
    wanted: Iterable[Node] | None = None,
    retain_graph: bool = False,
    arrivals: Arrivals | None = None,
) -> dict[Node, Gradient]:
    """The gradients that reach the leaves, or the `wanted` nodes; `arrivals` are told of those of
    leaves as soon as they are complete.

    `add` makes a new sum; `adder(total)` is what adds into a sum that this walk made. Without it
    gradients are differentiated again.
    Edges are dropped as soon as they have run, and with them what they kept, so that memory
    falls while the walk proceeds. Nothing else is changed: the caller gives the leaves
    their gradients, when all of them are known.
    """
    order = reachable(node for node, _ in roots)
    needed = None if wanted is None else _leading_to(set(wanted), order)
    gradients: dict[Node, Any] = {}
    adders: dict[Node, Callable[[Gradient], None]] = {}  # into the gradients that this walk made
    found: dict[Node, Gradient] = {}

    def gather(target: Node, gradient: Gradient) -> None:
        have = gradients.get(target)
        if have is None:
            gradients[target] = gradient
        elif target in adders:
            adders[target](computed(gradient))
        else:
            gradients[target] = total = add(computed(have), computed(gradient))
            if adder is not None:
                adders[target] = adder(total)

    for node, gradient in roots:
        gather(node, gradient)
    for node in order if arrivals is None else _announced(order, gradients, found, arrivals):
        dy, edges = gradients.pop(node, None), node.edges
        assert edges is not None
        if not edges and needed is None:  # a leaf
            if dy is not None:
                found[node] = dy
            continue
        if type(dy) is Later:
            dy = dy.now()
        targets, keeps, kept = node.targets, node.keeps, node.kept
        if needed is not None and node in needed[0] and dy is not None:
            found[node] = dy
        if not retain_graph and edges:
            node.edges, node.kept, node.targets, node.keeps = None, (), None, None
        if dy is None:
            continue
        if targets is not None:
            if adder is None:
                raise _first_order(node)
            for place, rule, places, _ in edges:
                if not places:
                    target: Any = targets[place]
                    if needed is None or target in needed[1]:
                        dx = rule(dy, keeps)
                        if target not in gradients:
                            gradients[target] = dx
                        elif target in adders:
                            adders[target](dx)
                        else:
                            gather(target, dx)
                elif needed is None or not needed[1].isdisjoint([targets[at] for at in places]):
                    for at, dx in zip(places, rule(dy, keeps), strict=True):
                        if dx is not None and targets[at] is not None:
                            if type(dx) is Later:
                                dx.kept = kept
                            gather(targets[at], dx)
            continue
        if isinstance(node, Outlet):
            slots = gradients.setdefault(node.joint, [None] * node.outlets)
            have = slots[node.index]  # of another outlet, that a rule was lent
            slots[node.index] = dy if have is None else add(have, dy)
            continue
        for targets, rule, into, values in edges:
            if needed is not None and needed[1].isdisjoint(targets):
                continue
            if adder is None and not values:
                raise _first_order(node)
            if values:
                rule = carrying(node, values, rule)
            if len(targets) > 1:
                for target, dx in zip(targets, rule(dy), strict=True):
                    if target is not None and dx is not None:
                        if type(dx) is Later:
                            dx.kept = kept
                        gather(target, dx)
                continue
            (target,) = targets
            if not into:
                gather(target, rule(dy))
            elif adder is None or (target in gradients and target not in adders):
                gather(target, rule(dy, None))
            else:
                gradients[target] = total = rule(dy, gradients.get(target))
                if target not in adders:
                    adders[target] = adder(total)
    return found


def _first_order(node: Node) -> GraphError:
    return GraphError(
        f"{node.name}: recorded outside of higher_order()\n"
        f"  run the forward inside it as well:  with ag.higher_order(): ..."
    )


def _announced(
    order: Sequence[Node], gradients: dict[Node, Any], found: dict[Node, Any], arrivals: Arrivals
) -> Iterator[Node]:
    """The nodes in order; when the last edge into a leaf has run, its gradient is handed over."""
    left = Counter(
        target
        for node in order
        for target in targets_of(node)
        if target is not None and not target.edges
    )
    arrivals.begin(left)
    for node in order:
        leaves = [each for each in targets_of(node) if each in left]
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
        if not leading.isdisjoint(targets_of(node)):
            leading.add(node)
    return wanted, leading
