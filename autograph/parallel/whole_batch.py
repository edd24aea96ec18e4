"""What layers see of the whole batch, of which a rank has a part: dropout throws for the samples
that are its own, and batch normalisation may standardise by all of them.

While a replica lives, such layers have a `forward` of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ops
from ..errors import ShapeError
from ..layers import BatchNorm1, BatchNorm2, BatchNorm3, Dropout, Layer
from ..layers import hooks as layer_hooks
from ..tensor import Tensor, is_training
from .exchange import all_sum

if TYPE_CHECKING:
    from .world import World

NORMS = (BatchNorm1, BatchNorm2, BatchNorm3)


class WholeBatch:
    """The layers of a model that have to know of the other ranks' samples."""

    def __init__(self, world: World, model: Layer) -> None:
        self.world = world
        self.first = 0  # samples of the batch that other ranks have before this one's
        self._buckets: dict[Any, Any] = {}
        self._changed: list[Layer] = []
        if world.size == 1:
            return
        for layer in model.named_layers().values():
            if isinstance(layer, Dropout):
                self._change(layer, self._dropout)
            elif isinstance(layer, NORMS) and world.options.sync_batch_norm:
                self._change(layer, self._batch_norm)

    def _change(self, layer: Layer, forward: Callable[[Any, Tensor], Tensor]) -> None:
        layer.__dict__["forward"] = _Forward(layer, forward)
        self._changed.append(layer)
        layer_hooks.watched += 1  # what was fused before is stale

    def close(self) -> None:
        """Give the layers their own forward back."""
        for layer in self._changed:
            if isinstance(layer.__dict__.get("forward"), _Forward):
                del layer.__dict__["forward"]
        self._changed.clear()
        layer_hooks.watched += 1

    def _dropout(self, layer: Dropout, x: Tensor) -> Tensor:
        """Each sample has a block of words of its own: begin at that of this rank's first."""
        if not is_training() or layer.rate == 0:
            return x
        each = prod(x.shape[1:])
        first = np.array([self.first * ((each + -each % 4) // 4), 0], np.uint64)
        counter = layer.counter.detach() + Tensor.borrow(first).to(x.device)
        y: Tensor = ops.dropout(x, counter, key=layer.key, rate=layer.rate)
        ops.advance(layer.counter)
        return y

    def _batch_norm(self, layer: Any, x: Tensor) -> Tensor:
        """Batch normalisation by the mean and variance over all ranks' samples."""
        if not is_training():
            y: Tensor = type(layer).forward(layer, x)
            return y
        if x.ndim not in layer.axes:
            raise ShapeError(f"{type(layer).__name__}: x has other axes\n  x  {x.shape}  N C ...")
        wide = x.cast(x.scalar_type.accumulator)
        axes = (0, *range(2, x.ndim))
        channels = (1, x.shape[1], *[1] * (x.ndim - 2))
        mine = x.size // x.shape[1]
        sums = wide.sum(axis=axes)
        count = Tensor(np.full(1, mine), device=x.device, scalar_type=wide.scalar_type)
        both = self._sum(ops.concat(sums, count))
        total = both[-1:].detach()
        mean = both[:-1] / total
        centred = wide - mean.reshape(channels)
        variance = self._sum((centred * centred).sum(axis=axes)) / total
        y = centred * ops.rsqrt(variance + layer.epsilon).reshape(channels)
        y = y if layer.weight is None else y * layer.weight.reshape(channels)
        y = y if layer.bias is None else y + layer.bias.reshape(channels)
        unbiased = variance.detach() * (total / (total - 1.0))
        layer.follow(mean.detach(), unbiased)
        return y.cast(x.scalar_type)

    def _sum(self, x: Tensor) -> Tensor:
        key = x.size, x.device, x.dtype
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self.world.bucket(x.size, x.device, x.dtype, lane="layers", average=False)
            self._buckets[key] = bucket
        y: Tensor = all_sum(x, bucket=bucket)
        return y


class _Forward:
    """A layer's forward as long as a replica lives."""

    def __init__(self, layer: Layer, forward: Callable[[Any, Tensor], Tensor]) -> None:
        self.layer, self.run = layer, forward

    def __call__(self, x: Tensor) -> Tensor:
        return self.run(self.layer, x)

    def __reduce__(self) -> Any:
        """A copy of the model infers and trains alone."""
        return _own_forward, (self.layer,)


def _own_forward(layer: Layer) -> Any:
    return type(layer).forward.__get__(layer)
