"""The MLP of the device benches in JAX, a training step under jit."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .device_models import STEPS


def run_of(scalar_type: str, precision: str, batch: int = 1024) -> Any:
    """Some steps, then a wait; and how many."""
    jax.config.update("jax_default_matmul_precision", precision)
    dtype = {"f32": jnp.float32, "bf16": jnp.bfloat16}[scalar_type]
    shapes = [(784, 4096), (4096,), (4096, 4096), (4096,), (4096, 10), (10,)]
    keys = jax.random.split(jax.random.key(0), len(shapes))
    weights = [
        (jax.random.normal(key, shape) * 0.02).astype(dtype)
        for key, shape in zip(keys, shapes, strict=True)
    ]
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((batch, 784)), dtype)
    t = jnp.asarray(rng.integers(0, 10, batch))

    def loss_of(weights: Any) -> Any:
        w1, b1, w2, b2, w3, b3 = weights
        y = jax.nn.relu(jax.nn.relu(x @ w1 + b1) @ w2 + b2) @ w3 + b3
        scores = jax.nn.log_softmax(y.astype(jnp.float32))
        return -jnp.take_along_axis(scores, t[:, None], axis=1).mean()

    @jax.jit
    def step(weights: Any) -> Any:
        gradients = jax.grad(loss_of)(weights)
        return jax.tree.map(lambda w, dw: w - (1e-3 * dw).astype(w.dtype), weights, gradients)

    def run() -> None:
        nonlocal weights
        for _ in range(STEPS):
            weights = step(weights)
        jax.block_until_ready(weights)

    run()
    return run, STEPS
