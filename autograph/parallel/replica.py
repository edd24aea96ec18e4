"""Replica: one rank's copy of a model, which stays equal to those of the other ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import GraphError, SettingsError
from ..layers import Layer, base
from ..layers.stored import named_tensors
from ..optim import Optimizer
from ..scalar_type import ScalarType
from ..tensor import Tensor
from ..tensor.walk import backward
from .buckets import Gradients
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
        self._structure, self._named = base._structure, model.named_parameters()
        self._averaged = False  # since the last update
        if world.size > 1:
            self.refuse_differences()
        self.sharded: Sharded | None = None
        if optimizer is not None and world.options.shard_optimizer and world.size > 1:
            self.sharded = Sharded(world, model, optimizer)
        self.gradients = Gradients(world, self._named, self.sharded)
        self.whole_batch = WholeBatch(world, model)
        if world.size > 1:
            self.begin()

    def refuse_differences(self) -> None:
        """Refuse ranks that do not have the same layers and the same optimizer."""
        named = named_tensors(self.model)
        outlines = {
            path: f"{each.scalar_type} {each.shape}, learns: {each.requires_grad}"
            for path, each in named.items()
        }
        self.world.refuse_differences("the model", f"{self.model.describe()} {outlines}")
        if self.optimizer is not None:
            self.world.refuse_differences("the optimizer", str(self.optimizer.describe()))

    def begin(self) -> None:
        """Begin alike: with the weights and the optimizer's state of rank 0."""
        self.world.broadcast(named_tensors(self.model))
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
        if not self.world.is_first:
            device = self.model.device
            tensors = {
                path: Tensor(np.zeros(shape, ScalarType(kind).dtype), device=device)
                for path, (kind, shape) in told.items()
            }
        self.world.broadcast(tensors)
        if not self.world.is_first:
            optimizer.restore(tensors, count, self._named)

    def check(self) -> None:
        """Refuse weights that are not the same, bit for bit, on every rank."""
        self._refuse_replaced()
        self.world.check_same(self._named, "the bits of the weights")

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
        self._refuse_replaced()
        try:
            backward(loss, seed, arrivals=self.gradients)
            self.gradients.end()
        except BaseException:
            if self.sharded is not None:
                self.sharded.forget()
            raise
        self._averaged = True

    def average(self) -> None:
        """Average the gradients that there are, after backwards of one's own."""
        if self.world.size > 1:
            self._refuse_replaced()
            self.gradients.begin({})
            self.gradients.end()
            self._averaged = True

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
        mean, at = np.array(self.world.sum(*mine)) / self.world.size, 0
        for each in floats:
            part = mean[at : at + each.size].reshape(each.shape)
            each[...] = Tensor.borrow(part.astype(each.dtype)).to(each.device)
            at += each.size

    def close(self) -> None:
        """Give the model's layers back what they were."""
        self.whole_batch.close()

    def begin_step(self) -> None:
        """A step begins, also one that is replayed."""
        self._refuse_replaced()
        self.world.enter("a step")

    def _refuse_replaced(self) -> None:
        """Refuse another tensor in place of a parameter, of which the other ranks know nothing."""
        if base._structure == self._structure:
            return
        named = self.model.named_parameters()
        for path in {**self._named, **named}:
            if named.get(path) is not self._named.get(path):
                raise SettingsError(
                    f"parallel: {path} is not the parameter any more that this replica began with\n"
                    f"  write  model.{path}[...] = x  on every rank to change its values,\n"
                    f"  or     world.replica(model, optimizer)  anew, on every rank"
                )
        self._structure = base._structure
