"""Sharding: each rank keeps one part of an optimizer's state, gets that part of the gradients,
moves that part of the parameters, and gives it to the others (Rajbhandari, Rasley, Ruwase and He:
ZeRO, stages 1 and 2, 2020).

Buckets of parameters are cut into as many parts as there are ranks. Optimizers that need more of a
parameter than each number by itself (LAMB its norm, Adafactor means of rows and columns, Muon the
matrix) are cut between parameters. Such parts are of unequal sizes, which a reduce-scatter does not
hand out: each rank gets all gradients, and keeps its part of the state alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

import numpy as np

from .. import ops
from ..errors import GraphError, SettingsError
from ..graph import Leaf
from ..layers import Layer
from ..optim import Optimizer
from ..optim.clip import _scaled, clipped, global_norm
from ..outline import Outline
from ..scalar_type import ScalarType
from ..tensor import Parameter, Tensor, no_grad
from ..tensor.staircase import version_of
from ..tensor.tensor import _make
from .buckets import Layout, laid_out
from .exchange import all_sum, exchange

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
        if len(kinds) != 1:
            raise SettingsError(
                "shard_optimizer: parameters have to be of one scalar type, and on one device\n"
                f"  found  {', '.join(f'{kind} {device}' for kind, device in kinds)}"
            )
        self._named = named
        self.layouts: list[Layout] = []  # where gradients come in parts
        if optimizer.kind in BY_NUMBER:
            self.layouts = laid_out(list(named.values()), world)
            self.pieces = cut_buckets(named, self.layouts, world.size)
        else:
            self.pieces = cut_between({path: w.size for path, w in named.items()}, world.size)
        own = self.pieces[world.rank]
        self._mine = {each.path: (each, _part(named[each.path], each)) for each in own}
        self._parts_of = {id(named[path]): both for path, both in self._mine.items()}
        self._came: dict[str, Tensor] | None = None  # gradients of this rank's part
        (kind, device), order = kinds.pop(), list(named)
        self._parts = world.parts(
            [[(order.index(path), low, high) for path, low, high in some] for some in self.pieces],
            device,
            kind.dtype,
        )
        self._zero = Tensor(np.zeros(1), device=device, scalar_type=kind.accumulator)
        self._squares = world.bucket(
            1, device, kind.accumulator.dtype, lane="layers", average=False
        )
        optimizer.__dict__["sharded"] = self
        optimizer._groups.check(named)  # here of all, for each rank has only some

    def refuse_others(self, having: Iterable[str]) -> None:
        """Refuse parameters that no rank keeps a part of."""
        late = [path for path in having if path not in self._named]
        if late:
            raise SettingsError(
                f"shard_optimizer: {', '.join(late)} did not learn when this replica began\n"
                f"  write  world.replica(model, optimizer)  once all learn that will"
            )

    def _refuse(self) -> dict[str, Tensor]:
        raise SettingsError(
            f"save: each of {self.world.size} ranks keeps a part of the optimizer's state\n"
            f"  write  world.save(path, model, optimizer, progress)  on every rank\n"
            f"  or, to restore it, do so before  world.replica(model, optimizer)"
        )

    def release(self) -> None:
        """The optimizer is about to get a state that is whole."""
        self.optimizer.__dict__.pop("tensors", None)

    def take_over(self) -> None:
        """Keep this rank's part of a state that is whole."""
        optimizer = self.optimizer
        kept: dict[str, dict[str, Tensor]] = {}
        for path, (piece, _) in self._mine.items():
            w, state = self._named[path], optimizer.state.get(path, {})
            part = {name: Tensor(_sliced(each, w, piece)) for name, each in state.items()}
            if part:  # copies, so that the rest is given back
                kept[path] = part
        self._set(kept)
        optimizer.__dict__["tensors"] = self._refuse  # whoever asks gets a part, and has to know

    def _set(self, state: dict[str, dict[str, Tensor]]) -> None:
        optimizer = self.optimizer
        optimizer.state = state
        optimizer._owned = {path: ref(part) for path, (_, part) in self._mine.items()}
        optimizer._versions = {
            path: version_of(part).count
            for path, (_, part) in self._mine.items()
            if "master" in state.get(path, ())
        }

    # -- a step ------------------------------------------------------------------------------

    def arrived(self, w: Parameter, gradients: Any, at: int) -> None:
        """Of the averages that this rank has got, those of w would begin at `at`."""
        self._came = {} if self._came is None else self._came
        if id(w) in self._parts_of:
            piece, part = self._parts_of[id(w)]
            mine = gradients[at + piece.first : at + piece.end].reshape(part.shape)
            before = self._came.get(piece.path)
            self._came[piece.path] = _make(mine if before is None else ops.add(before.array, mine))

    def forget(self) -> None:
        """What has come belongs to a walk that failed."""
        self._came = None

    def update(self) -> None:
        """Move this rank's part, and give it to the others."""
        optimizer = self.optimizer
        for w in self._named.values():
            if w.grad is not None and not self.layouts:
                self.arrived(w, w.grad.array.reshape(-1), 0)
        came, self._came = self._came, None
        if came is None:
            raise GraphError("update: no parameter has a gradient\n  write  replica.backward(loss)")
        limits = optimizer.clip_norm, optimizer.clip_value
        mine = {path: part for path, (_, part) in self._mine.items()}
        with no_grad():
            exchange(*self._named.values(), *mine.values())  # which have no gradient yet
            for path, gradient in self._clipped(came, *limits).items():
                mine[path].grad = gradient
        optimizer.clip_norm = optimizer.clip_value = None  # of all gradients together: done
        try:
            optimizer.update(mine)
        finally:
            optimizer.clip_norm, optimizer.clip_value = limits
        with no_grad():
            exchange(*self._named.values(), run=self._parts.exchange)
        for w in self._named.values():
            version_of(w).count += 1
            w.grad = None

    def _clipped(
        self, came: dict[str, Tensor], norm: float | None, value: float | None
    ) -> dict[str, Tensor]:
        """This rank's gradients, limited by the norm of those of all ranks."""
        gradients = clipped(list(came.values()), None, value)
        if norm is not None:
            squares = self._zero + ops.square(global_norm(gradients)) if gradients else self._zero
            total = all_sum(squares, bucket=self._squares).reshape(())
            gradients = _scaled(gradients, ops.sqrt(total), norm)
        return dict(zip(came, gradients, strict=True))

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
            for clock in mover._clocks.values():
                clock.stand(count)

    def whole(self, tensors: Mapping[str, Tensor] | None = None) -> dict[str, np.ndarray[Any, Any]]:
        """The state of all ranks by path, on the host: every rank has to ask."""
        mine = self.tensors() if tensors is None else tensors
        told = {name: [str(each.scalar_type), list(each.shape)] for name, each in mine.items()}
        every = [json.loads(each) for each in self.world.texts(json.dumps(told))]
        found: dict[str, np.ndarray[Any, Any]] = {}
        for name in dict.fromkeys(name for each in every for name in each):
            having = [each.get(name) for each in every]
            kind, shape = next(filter(None, having))
            sizes = [prod(each[1]) if each else 0 for each in having]
            values = np.zeros(max(sizes), ScalarType(kind).dtype)
            if name in mine:
                values[: mine[name].size] = mine[name].numpy().reshape(-1)
            rows = self.world.gather(values.view(np.uint8), "the optimizer's state")
            parts = [row.view(values.dtype)[:size] for row, size in zip(rows, sizes, strict=True)]
            if not shape:  # of the whole parameter: a count
                found[name] = max(parts, key=len).reshape(())
                continue
            w, alone = self._named[name.rpartition(".")[0]], sizes.count(0) == len(sizes) - 1
            found[name] = np.concatenate(parts).reshape(shape if alone else w.shape)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.optimizer, name)


def cut_buckets(
    named: Mapping[str, Parameter], layouts: Sequence[Layout], ranks: int
) -> list[list[Piece]]:
    """What each rank keeps of parameters: its part of each bucket."""
    paths = {id(w): path for path, w in named.items()}
    pieces: list[list[Piece]] = [[] for _ in range(ranks)]
    for layout in layouts:
        each = layout.size // ranks
        for rank, some in enumerate(pieces):
            for w, at in layout.places:
                first, end = max(0, rank * each - at), min(w.size, (rank + 1) * each - at)
                if first < end:
                    some.append(Piece(paths[id(w)], first, end))
    return pieces


def cut_between(sizes: Mapping[str, int], ranks: int) -> list[list[Piece]]:
    """What each rank keeps of parameters of these sizes, each of them whole: the largest go first,
    each to the rank that has least.

    >>> cut_between({"a": 3, "b": 6, "c": 3}, 2)  # doctest: +NORMALIZE_WHITESPACE
    [[Piece(path='b', first=0, end=6)],
     [Piece(path='a', first=0, end=3), Piece(path='c', first=0, end=3)]]
    """
    pieces: list[list[Piece]] = [[] for _ in range(ranks)]
    for path, size in sorted(sizes.items(), key=lambda each: -each[1]):
        least = min(pieces, key=lambda some: sum(each.end for each in some))
        least.append(Piece(path, 0, size))
    return pieces


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
