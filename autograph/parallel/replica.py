"""Replica: one rank's copy of a model, which stays equal to those of the other ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import GraphError, SettingsError
from ..layers import Layer
from ..optim import Optimizer
from ..scalar_type import ScalarType
from ..tensor import Parameter, Tensor
from ..tensor.walk import backward
from .buckets import Buckets
from .sharding import Sharded
from .whole_batch import WholeBatch

if TYPE_CHECKING:
    from .world import World


class Replica:
    """A model that every rank trains on its own samples. It begins with rank 0's weights; its
    gradients are averaged over the ranks, so that all of them take the same steps.

        replica = world.replica(model, optimizer)
        for batch in mine:
            replica.backward(loss(model(batch.inputs), batch.targets))
            replica.update()
    """

    def __init__(self, world: World, model: Layer, optimizer: Optimizer | None = None) -> None:
        self.world, self.model, self.optimizer = world, model, optimizer
        self._buckets: dict[tuple[int, ...], Buckets] = {}
        self._averaged = False  # since the last update
        self._refuse_differences()
        self.sharded: Sharded | None = None
        if optimizer is not None and world.options.shard_optimizer:
            self.sharded = Sharded(world, model, optimizer)
        self.whole_batch = WholeBatch(world, model)
        self.begin()

    def _refuse_differences(self) -> None:
        """The ranks have the same layers and the same optimizer."""
        named = {**self.model.named_parameters(), **self.model.named_buffers()}
        outlines = {
            path: f"{each.scalar_type} {each.shape}, learns: {each.requires_grad}"
            for path, each in named.items()
        }
        self.world.refuse_differences("the model", f"{self.model.describe()} {outlines}")
        if self.optimizer is not None:
            self.world.refuse_differences("the optimizer", str(self.optimizer.describe()))

    def begin(self) -> None:
        """Begin alike: with the weights and the optimizer's state of rank 0."""
        self.world.broadcast({**self.model.named_parameters(), **self.model.named_buffers()})
        self.check()
        if self.optimizer is not None:
            self._broadcast_state(self.optimizer)
        if self.sharded is not None:
            self.sharded.take_over()

    def _broadcast_state(self, optimizer: Optimizer) -> None:
        """Give every rank the whole state of rank 0's optimizer."""
        tensors = type(optimizer).tensors(optimizer)
        told = {path: [str(each.scalar_type), list(each.shape)] for path, each in tensors.items()}
        told, count = self.world.tell([told, optimizer.count])
        if not self.world.is_first and told:
            device = self.model.device
            tensors = {
                path: Tensor(np.zeros(shape, ScalarType(kind).dtype), device=device)
                for path, (kind, shape) in told.items()
            }
        if told:
            self.world.broadcast(tensors)
            if not self.world.is_first:
                optimizer.restore(tensors, count, self.model.named_parameters())

    def check(self) -> None:
        """Refuse weights that are not the same, bit for bit, on every rank."""
        self.world.check_same(self.model.named_parameters(), "the bits of the weights")

    # -- a step --------------------------------------------------------------------------------

    def backward(self, loss: Tensor, share: float = 1.0, *, last: bool = True) -> None:
        """Walk back from the loss of this rank's samples; parameters then have the average of the
        ranks' gradients. `share` is what the loss counts beside those of the others; of a batch in
        parts only the `last` one talks to the ranks, and the shares of its parts add up to one.
        """
        seed = None if share == 1 else np.full(loss.shape, share, np.float64)
        if not last or self.world.size == 1:
            backward(loss, seed)
            return
        arrivals = _Arrivals(self)
        try:
            backward(loss, seed, arrivals=arrivals)
            arrivals.end()
        except BaseException:
            if self.sharded is not None:
                self.sharded.forget()
            raise

    def average(self) -> None:
        """Average the gradients that there are, after backwards of one's own."""
        if self.world.size > 1:
            arrivals = _Arrivals(self)
            arrivals.begin({})
            arrivals.end()

    def update(self) -> None:
        """Step every parameter that has a gradient."""
        if self.optimizer is None:
            raise SettingsError(
                "update: this replica has no optimizer\n  write  world.replica(model, optimizer)"
            )
        if self.world.size > 1 and not self._averaged:
            raise GraphError(
                "update: the ranks have no average of their gradients\n"
                "  write  replica.backward(loss), or after other backwards  replica.average()"
            )
        self._averaged = False
        if self.sharded is not None:
            self.sharded.update()
        else:
            self.model.update(self.optimizer)

    def average_buffers(self) -> None:
        """Give running statistics, which follow each rank's own samples, their mean."""
        floats = [each for each in self.model.named_buffers().values() if each.scalar_type.is_float]
        if self.world.size == 1 or not floats:
            return
        mine = np.concatenate([each.numpy().reshape(-1).astype(np.float64) for each in floats])
        every = self.world.gather(mine, "the mean of running statistics")
        total = every[0].copy()
        for each in every[1:]:
            total += each
        at = 0
        for each in floats:
            part = (total[at : at + each.size] / self.world.size).reshape(each.shape)
            each[...] = Tensor.borrow(part.astype(each.dtype)).to(each.device)
            at += each.size

    def close(self) -> None:
        """Give the model's layers back what they were."""
        self.whole_batch.close()

    def buckets(self, having: Sequence[Parameter]) -> Buckets:
        """Where these parameters' gradients go."""
        key = tuple(map(id, having))
        found = self._buckets.get(key)
        if found is None:
            named = {id(w): path for path, w in self.model.named_parameters().items()}
            paths = " ".join(named[id(w)] for w in having)
            self.world.refuse_differences("the set of parameters that have gradients", paths)
            in_parts = self.sharded is not None and self.sharded.layouts
            found = Buckets(self.world, having, self.sharded if in_parts else None)
            self._buckets[key] = found
        return found

    @property
    def nbytes(self) -> int:
        """Bytes of gradients that a step sends, of this rank."""
        return sum(each.nbytes for each in self._buckets.values())


class _Arrivals:
    """What a backward tells as it goes: it chooses the buckets, and fills them."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self._buckets: Buckets | None = None

    def begin(self, expected: Any) -> None:
        """These leaves will get a gradient."""
        from .buckets import leaf_of

        parameters = self.replica.model.parameters()
        having = [
            w
            for w in parameters
            if w.requires_grad and (leaf_of(w) in expected or w.grad is not None)
        ]
        if not having:
            raise GraphError(
                "parallel: no parameter has a gradient\n  the loss depends on none of this model"
            )
        self._buckets = self.replica.buckets(having)
        self._buckets.begin(expected)

    def arrived(self, leaf: Any, value: Any) -> bool:
        """The gradient of a leaf is complete; whether it is a parameter's, and taken."""
        assert self._buckets is not None
        return self._buckets.arrived(leaf, value)

    def end(self) -> None:
        """The walk is over."""
        assert self._buckets is not None
        self._buckets.end()
        self.replica._averaged = True
