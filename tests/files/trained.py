"""Models that are saved, and all of a training state as bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

from autograph.checkpoint import Snapshot
from autograph.layers import Conv2, Dense, Flatten, Layer, MaxPool2, Relu, layer, sequential
from autograph.train import fit

rng = np.random.default_rng(0)
IMAGES = rng.normal(size=(70, 1, 8, 8)).astype(np.float32)
CLASSES = rng.integers(0, 4, 70)


@sequential(input=(1, 8, 8))
class Net(Layer):
    """Images (N, 1, 8, 8) -> class scores (N, 4)."""

    conv1: Conv2 = Conv2.builder(outputs=3, filter=3)
    relu1: Relu
    pool1: MaxPool2 = MaxPool2.builder(filter=2)
    flatten: Flatten
    dense1: Dense = Dense.builder(outputs=4, bias=True)


@sequential(input=(1, 8, 8))
class Wider(Net):
    """A net that does not fit Net's files."""

    conv1: Conv2 = Conv2.builder(outputs=5, filter=3)


@layer(input=(6,))
class Residual(Layer):
    """x (N, 6) -> x + dense(x) * scale, a forward that is code."""

    dense: Dense = Dense.builder(inputs=6, outputs=6)
    scale: float = 0.5

    def forward(self, x: Any) -> Any:
        return x + self.dense(x) * self.scale


@sequential(input=(6,), tie={"dense2.weight": "dense1.weight"})
class Tied(Layer):
    """Two layers with one weight."""

    dense1: Dense = Dense.builder(outputs=6)
    block: Residual
    dense2: Dense = Dense.builder(outputs=6, bias=True)


def values(*trained: Any) -> dict[str, bytes]:
    """All of a training state, to the bit."""
    return {name: each.tobytes() for name, each in Snapshot.of(*trained).arrays.items()}


def trained(optimizer: Any, scalar_type: str = "f32") -> Layer:
    """A net after an epoch."""
    model = Net.build(seed=1, scalar_type=scalar_type)
    next(fit(model, optimizer, (IMAGES, CLASSES), epochs=2, batch_size=20))
    return model
