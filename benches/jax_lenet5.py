"""LeNet5 in JAX, beside autograph_lenet5.py and torch_lenet5.py."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .images import batch

SCALAR_TYPES = {"f32": jnp.float32, "bf16": jnp.bfloat16}
SHAPES = {
    "conv1": (5, 5, 1, 6),
    "conv2": (5, 5, 6, 16),
    "dense1": (256, 128),
    "dense2": (128, 84),
    "dense3": (84, 10),
    "bias3": (10,),
}


def conv2(x: Any, weight: Any) -> Any:
    return lax.conv_general_dilated(
        x, weight, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def max_pool2(x: Any) -> Any:
    lowest = np.array(-np.inf, x.dtype)  # a constant, or JAX cannot differentiate it
    return lax.reduce_window(x, lowest, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def lenet5(weights: Any, x: Any) -> Any:
    """Images (N, 28, 28, 1) -> class scores (N, 10)."""
    x = max_pool2(jax.nn.relu(conv2(x, weights["conv1"])))
    x = max_pool2(jax.nn.relu(conv2(x, weights["conv2"])))
    x = x.reshape(len(x), -1)
    x = jax.nn.relu(x @ weights["dense1"])
    x = jax.nn.relu(x @ weights["dense2"])
    return x @ weights["dense3"] + weights["bias3"]


def loss_of(weights: Any, x: Any, t: Any) -> Any:
    scores = jax.nn.log_softmax(lenet5(weights, x).astype(jnp.float32))
    return -jnp.take_along_axis(scores, t[:, None], axis=1).mean()


@jax.jit
def step(weights: Any, x: Any, t: Any) -> Any:
    """The weights after a step of gradient descent, and the loss before."""
    loss, gradients = jax.value_and_grad(loss_of)(weights, x, t)
    return jax.tree.map(lambda w, dw: w - (0.01 * dw).astype(w.dtype), weights, gradients), loss


class LeNet5Classifier:
    """Trains LeNet5 on batches of images and labels, and tells what images show."""

    def __init__(self, scalar_type: str = "f32") -> None:
        self.scalar_type = SCALAR_TYPES[scalar_type]
        keys = jax.random.split(jax.random.key(0), len(SHAPES))
        self.weights = {
            name: (jax.random.normal(key, shape) * 0.05).astype(self.scalar_type)
            for key, (name, shape) in zip(keys, SHAPES.items(), strict=True)
        }
        self.model = jax.jit(lenet5)

    def place(self, images: Any, labels: Any) -> Any:
        return jnp.asarray(images.transpose(0, 2, 3, 1), self.scalar_type), jnp.asarray(labels)

    def train(self, batch: Any) -> Any:
        x, t = batch
        self.weights, loss = step(self.weights, x, t)
        return jax.block_until_ready((self.weights, loss))

    def infer(self, batch: Any) -> Any:
        x, _ = batch
        return jax.block_until_ready(self.model(self.weights, x))


def runs(path: str, mode: str, count: int, **settings: Any) -> Any:
    """What is timed."""
    classifier = LeNet5Classifier(**settings)
    given = classifier.place(*batch(path, count))
    run = getattr(classifier, mode)
    return lambda: run(given)
