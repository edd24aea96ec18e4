"""Hooks: functions of one's own that see what layers answer, and the gradients of parameters.

They are chosen by path, as everything in a model is named: `model.on_forward("block1.*", hook)`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet, ref

from .. import ops
from ..errors import SettingsError
from ..graph import Edge, Leaf
from ..tensor import Parameter, Tensor
from ..tensor.tensor import check_gradient

if TYPE_CHECKING:
    from .base import Layer

T = TypeVar("T")

hung: WeakSet[Hook] = WeakSet()  # hooks that are in place; captured steps run eagerly meanwhile
watched = 0  # raised when a layer is watched, or no longer: runs made before are stale


class Apart(threading.local):
    """Whether each layer of this thread runs by itself, none of them fused."""

    wanted = False


apart = Apart()


class Hook:
    """A hook that is in place until `remove`, or until the end of the block it is opened for.

    with model.on_forward("conv1", see): ...
    """

    def __init__(self, function: Any, places: Sequence[tuple[str, _Watched | _HookedLeaf]]) -> None:
        self._places = [place for _, place in places]
        hung.add(self)
        for path, place in places:
            place.hooks[self] = (path, function)

    def remove(self) -> None:
        """Take the hook away; a second time does nothing."""
        hung.discard(self)
        places, self._places = self._places, []
        for place in places:
            place.hooks.pop(self, None)
            if not place.hooks:
                place.emptied()

    def __enter__(self) -> Hook:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def _chosen(caller: str, pattern: str, named: Mapping[str, T]) -> list[tuple[str, T]]:
    """Those whose paths fit the pattern, each once; refused if none does."""
    found: dict[int, tuple[str, T]] = {}
    for path, each in named.items():
        if fnmatchcase(path, pattern):
            found.setdefault(id(each), (path, each))
    if not found:
        paths = ", ".join(filter(None, named)) or "none"
        raise SettingsError(f"{caller}: {pattern!r} fits no path\n  paths  {paths}")
    return list(found.values())


# -- what layers answer ------------------------------------------------------------------


def on_forward(model: Layer, pattern: str, hook: Callable[[str, Any], Any]) -> Hook:
    """Hang a hook on the layers that fit; see `Layer.on_forward`."""
    layers = _chosen("on_forward", pattern, model.named_layers())
    return Hook(hook, [(path, _Watched.of(layer)) for path, layer in layers])


class _Watched:
    """Stands in a layer for its `forward`, and hands on what that answers."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.before = layer.__dict__.get("forward")
        self.hooks: dict[object, tuple[str, Any]] = {}

    @classmethod
    def of(cls, layer: Layer) -> _Watched:
        """The one of a layer, put there where it is not."""
        global watched
        found = layer.__dict__.get("forward")
        if not isinstance(found, _Watched):
            found = layer.__dict__["forward"] = cls(layer)
            watched += 1
        return found

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        forward = self.before or type(self.layer).forward.__get__(self.layer)
        y = forward(*inputs, **settings)
        for path, hook in list(self.hooks.values()):
            changed = hook(path, y)
            y = y if changed is None else changed
        return y

    def __reduce__(self) -> Any:
        """A copy of a model has no hooks."""
        return _Watched, (self.layer,)

    def emptied(self) -> None:
        """Give the layer its own forward back."""
        global watched
        if self.layer.__dict__.get("forward") is self:
            del self.layer.__dict__["forward"]
            if self.before is not None:
                self.layer.__dict__["forward"] = self.before
            watched += 1


# -- the gradients of parameters ---------------------------------------------------------


def on_gradient(model: Layer, pattern: str, hook: Callable[[str, Tensor], Any]) -> Hook:
    """Hang a hook on the parameters that fit; see `Layer.on_gradient`."""
    parameters = _chosen("on_gradient", pattern, model.named_parameters())
    for path, w in parameters:
        if not w.requires_grad:
            raise SettingsError(
                f"on_gradient: {path} is frozen and has no gradient\n  write  model.unfreeze()"
            )
    return Hook(hook, [(path, _HookedLeaf.of(w)) for path, w in parameters])


class _HookedLeaf(Leaf):
    """Stands before the leaf of a parameter, and hands on the gradient of each walk.

    Its one edge leads to the leaf, which is older, and is never used up; `values` lets the edge
    run also where gradients are differentiated again.
    """

    __slots__ = ("hooks", "leaf", "parameter", "value")

    def __init__(self, parameter: Parameter, leaf: Leaf) -> None:
        self.parameter, self.leaf, self.value = ref(parameter), leaf, Tensor(0.0)
        self.hooks: dict[object, tuple[str, Any]] = {}
        super().__init__("hooked leaf")

    @property
    def edges(self) -> Sequence[Edge]:
        return (((self.leaf,), self.handed, False, (self.value,)),)

    @edges.setter
    def edges(self, _: Any) -> None:
        """A walk that uses up the graph leaves this edge as it is."""

    @property
    def grad(self) -> Any:
        return self.leaf.grad

    @grad.setter
    def grad(self, gradient: Any) -> None:
        if gradient is not None or hasattr(self, "age"):
            self.leaf.grad = gradient

    @classmethod
    def of(cls, parameter: Parameter) -> _HookedLeaf:
        """The one of a parameter, put there where it is not."""
        node = parameter.node
        if not isinstance(node, _HookedLeaf):
            assert isinstance(node, Leaf)
            node = parameter.node = cls(parameter, node)
        return node

    def handed(self, dw: Any) -> Any:
        """The gradient as the hooks leave it, in memory of its own."""
        higher = isinstance(dw, Tensor)
        gradient = dw if higher else Tensor.borrow(ops.copy(dw))
        expected = gradient
        for path, hook in list(self.hooks.values()):
            changed = hook(path, gradient)
            if changed is not None:
                check_gradient(f"on_gradient({path})", expected, changed)
                gradient = changed
        return gradient if higher else ops.copy(gradient.array)

    def emptied(self) -> None:
        """Give the parameter its own leaf back."""
        parameter = self.parameter()
        if parameter is not None and parameter.node is self:
            parameter.node = self.leaf
