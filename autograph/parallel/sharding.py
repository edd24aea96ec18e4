"""Sharding: each rank keeps one part of an optimizer's state, moves its part of the parameters, and
gives it to the others (Rajbhandari, Rasley, Ruwase and He: ZeRO, stage 1, 2020).

Parameters are laid end to end and cut into as many parts as there are ranks. Optimizers that move
each number by itself are cut anywhere; others between parameters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import GraphError, SettingsError
from ..graph import Leaf
from ..layers import Layer
from ..optim import Optimizer
from ..optim.clip import clipped
from ..outline import Outline
from ..scalar_type import ScalarType
from ..tensor import Parameter, Tensor, no_grad
from ..tensor.staircase import version_of
from ..tensor.tensor import _make
from .exchange import exchange_parts

if TYPE_CHECKING:
    from .world import World

# Optimizers that move each number by what is known of it alone.
BY_NUMBER = {
    "SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Lion",
}  # fmt: skip


class Piece(NamedTuple):
    """The numbers `first` to `end` of a parameter, which a rank keeps the state of."""

    path: str
    first: int
    end: int


class Sharded:
    """An optimizer of which each rank keeps a part. It stands for that where a state is kept in
    memory: what it answers and takes is this rank's own."""

    def __init__(self, world: World, model: Layer, optimizer: Optimizer) -> None:
        self.world, self.model, self.optimizer = world, model, optimizer
        named = {path: w for path, w in model.named_parameters().items() if w.requires_grad}
        kinds = {(w.scalar_type, w.device) for w in named.values()}
        if len(kinds) > 1:
            raise SettingsError(
                "shard_optimizer: parameters are of several scalar types or devices\n"
                f"  found  {', '.join(f'{kind} {device}' for kind, device in kinds)}"
            )
        self.pieces = cut(
            {path: w.size for path, w in named.items()},
            world.size,
            anywhere=optimizer.kind in BY_NUMBER or getattr(optimizer, "by_number", False),
        )
        self._named = named
        mine = self.pieces[world.rank]
        self._mine = {piece.path: _part(named[piece.path], piece) for piece in mine}
        room = max(sum(each.end - each.first for each in some) for some in self.pieces)
        first = next(iter(named.values()))
        self._parts = world.parts(room, first.device, first.dtype)
        optimizer.__dict__["tensors"] = self._refuse  # whoever asks gets a part, and has to know
        optimizer.__dict__["sharded"] = self
        self.take_over()

    def _refuse(self) -> dict[str, Tensor]:
        raise SettingsError(
            f"save: each of {self.world.size} ranks keeps a part of the optimizer's state\n"
            f"  write  world.save(path, model, optimizer, progress)  on every rank"
        )

    def take_over(self) -> None:
        """Keep this rank's part of a state that is whole."""
        optimizer = self.optimizer
        kept: dict[str, dict[str, Tensor]] = {}
        for piece in self.pieces[self.world.rank]:
            state = optimizer.state.get(piece.path)
            if state is not None:
                w = self._named[piece.path]
                kept[piece.path] = {
                    name: Tensor(_sliced(each, w, piece)) for name, each in state.items()
                }  # copies, so that the rest is given back
        self._set(kept)

    def _set(self, state: dict[str, dict[str, Tensor]]) -> None:
        optimizer = self.optimizer
        optimizer.state = state
        optimizer._owned.clear()
        optimizer._versions = {
            path: version_of(part).count
            for path, part in self._mine.items()
            if part.scalar_type.is_half and path in state
        }

    # -- a step ------------------------------------------------------------------------------

    def update(self) -> None:
        """Move this rank's part, and give it to the others. Gradients are averaged before."""
        optimizer = self.optimizer
        having = {path: w for path, w in self._named.items() if w.grad is not None}
        if not having:
            raise GraphError("update: no parameter has a gradient\n  run backward first")
        limits = optimizer.clip_norm, optimizer.clip_value
        with no_grad():
            exchange_parts(*self._named.values())
            gradients = clipped([w.grad for w in having.values()], *limits)
        whole = dict(zip(having, gradients, strict=True))
        for piece in self.pieces[self.world.rank]:
            if piece.path in whole:
                part = self._mine[piece.path]
                part.grad = _sliced(whole[piece.path], self._named[piece.path], piece)
        optimizer.clip_norm = optimizer.clip_value = None  # of all gradients together: done
        try:
            optimizer.update(self._mine)
        finally:
            optimizer.clip_norm, optimizer.clip_value = limits
        with no_grad():
            exchange_parts(*self._named.values(), sharded=self)
        for w in self._named.values():
            version_of(w).count += 1
            w.grad = None

    def exchange(self, arrays: Sequence[Any]) -> None:
        """Fill the arrays of all parameters with what each rank has moved of them."""
        mine, room = self._parts.mine, self._parts.mine.size
        every = {path: each.reshape(-1) for path, each in zip(self._named, arrays, strict=True)}
        at = 0
        for path, first, end in self.pieces[self.world.rank]:
            mine[at : at + end - first] = every[path][first:end]
            at += end - first
        self._parts.collect()
        for rank, some in enumerate(self.pieces):
            at = rank * room
            for path, first, end in some:
                if rank != self.world.rank:
                    every[path][first:end] = self._parts.whole[at : at + end - first]
                at += end - first

    # -- where a state is kept --------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """This rank's part, by path."""
        return type(self.optimizer).tensors(self.optimizer)

    def restore(
        self, tensors: Mapping[str, Tensor], count: int, parameters: Mapping[str, Parameter]
    ) -> None:
        """Take over what `tensors` answered on this rank."""
        state: dict[str, dict[str, Tensor]] = {}
        for name, each in tensors.items():
            path, _, what = name.rpartition(".")
            state.setdefault(path, {})[what] = each
        self._set(state)
        self.optimizer.counted(count)
        for mover in (self.optimizer, *self.optimizer._groups.twins):
            mover._clocks.clear()

    def whole(self, tensors: Mapping[str, Tensor] | None = None) -> dict[str, np.ndarray[Any, Any]]:
        """The state of all ranks by path, on the host: every rank has to ask."""
        mine = self.tensors() if tensors is None else tensors
        told = {name: [str(each.scalar_type), list(each.shape)] for name, each in mine.items()}
        every = [json.loads(each) for each in self.world.texts(json.dumps(told))]
        found: dict[str, np.ndarray[Any, Any]] = {}
        for path, w in self._named.items():
            kinds = {name: kind for each in every for name, (kind, _) in each.items()}
            for name, kind in kinds.items():
                if name.rpartition(".")[0] != path:
                    continue
                dtype = ScalarType(kind).dtype
                shapes = [each[name][1] if name in each else None for each in every]
                room = max(int(np.prod(shape)) for shape in shapes if shape is not None)
                values = np.zeros(room, dtype)
                if name in mine:
                    own = mine[name].numpy().reshape(-1)
                    values[: own.size] = own
                rows = self.world.gather(values.view(np.uint8), "optimizer state")
                parts = [
                    (shape, row.view(dtype)[: int(np.prod(shape))])
                    for shape, row in zip(shapes, rows, strict=True)
                    if shape is not None
                ]
                if len(parts) == 1:
                    found[name] = parts[0][1].reshape(parts[0][0])
                elif parts[0][0]:
                    found[name] = np.concatenate([part for _, part in parts]).reshape(w.shape)
                else:
                    found[name] = parts[0][1].reshape(())  # of the whole parameter: a count
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.optimizer, name)


def cut(sizes: Mapping[str, int], ranks: int, *, anywhere: bool) -> list[list[Piece]]:
    """What each rank keeps of parameters of these sizes, laid end to end.

    >>> cut({"a": 6, "b": 2}, 2, anywhere=True)  # doctest: +NORMALIZE_WHITESPACE
    [[Piece(path='a', first=0, end=4)],
     [Piece(path='a', first=4, end=6), Piece(path='b', first=0, end=2)]]
    """
    total = sum(sizes.values())
    ends = list(accumulate(sizes.values()))
    bounds = [total * rank // ranks for rank in range(ranks + 1)]
    if not anywhere:
        bounds = [min([0, *ends], key=lambda end, at=at: abs(end - at)) for at in bounds]  # type: ignore[misc]
    parts: list[list[Piece]] = []
    for low, high in pairwise(bounds):
        pieces = []
        for (path, size), end in zip(sizes.items(), ends, strict=True):
            start = end - size
            first, last = max(low, start), min(high, end)
            if first < last:
                pieces.append(Piece(path, first - start, last - start))
        parts.append(pieces)
    return parts


def _part(w: Parameter, piece: Piece) -> Parameter:
    """A parameter over the same memory, or some of it."""
    if not w.array.flags.c_contiguous:
        raise SettingsError(f"shard_optimizer: {piece.path} does not lie in one piece in memory")
    part = object.__new__(Parameter)
    part._array = _cut_array(w.array, piece)
    part.outline, part.version, part.node = Outline.of(part._array), None, Leaf()
    return part


def _sliced(each: Tensor, w: Parameter, piece: Piece) -> Tensor:
    """What of a tensor belongs to a piece of w; what is not like w is of the whole of it."""
    if each.shape != w.shape or piece.end - piece.first == w.size:
        return each
    return _make(_cut_array(each.array, piece))


def _cut_array(array: Any, piece: Piece) -> Any:
    if piece.end - piece.first == array.size:
        return array
    return array.reshape(-1)[piece.first : piece.end]


def memory_of(state: Mapping[str, Mapping[str, Tensor]]) -> int:
    """Bytes that an optimizer's state takes here."""
    return sum(each.nbytes for some in state.values() for each in some.values())

