"""Probes: what one wants to see of a model while it trains, looked at without changing it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .data.dataset import Dataset
from .layers import Layer
from .tensor import Tensor, no_grad, training
from .train import cross_entropy_loss

Array = np.ndarray[Any, Any]


def norms(
    model: Layer,
    data: Dataset,
    *,
    size: int = 100,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy_loss,
) -> dict[str, float]:
    """The norm of each parameter, `weight_norm/conv1.weight`, and of its gradient over the first
    samples, `gradient_norm/conv1.weight`."""
    named = model.named_parameters()
    with no_grad():
        told = {f"weight_norm/{path}": _norm(w) for path, w in named.items()}
    batch = next(data.batches(size, device=model.device, scalar_type=model.scalar_type))
    before = {path: w.grad for path, w in named.items() if w.requires_grad}
    try:
        for path in before:
            named[path].grad = None
        with training(False):
            loss(model(batch.inputs), batch.targets).backward()
        for path in before:
            dw = named[path].grad
            if dw is not None:
                told[f"gradient_norm/{path}"] = _norm(dw)
    finally:
        for path, dw in before.items():
            named[path].grad = dw
    return told


def _norm(x: Tensor) -> float:
    return float(x.detach().cast("f64").square().sum().sqrt().item())


def scores(model: Layer, data: Dataset, *, batch_size: int = 1000) -> Array:
    """The model's scores (N, classes) of all samples, f32 on the host."""
    batches = data.batches(batch_size, device=model.device, scalar_type=model.scalar_type)
    with no_grad():
        return np.concatenate([model(batch.inputs).cast("f32").numpy() for batch in batches])


def confusion(found: Array, targets: Array, classes: int | None = None) -> Array:
    """How often class j was found where class i is right: (classes, classes), from scores (N,
    classes) and class indices (N,).

    >>> confusion(np.array([[2.0, 1.0], [0.0, 1.0]]), np.array([0, 0])).tolist()
    [[1, 1], [0, 0]]
    """
    count = classes or found.shape[1]
    pairs = targets.astype(np.int64) * count + found.argmax(axis=1)
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def regions(model: Layer, size: tuple[int, int], extent: float = 1.1) -> Array:
    """What the model says of the plane: probabilities (height, width, classes) at the points of
    a grid over [-extent, extent] each way, the first row at the top."""
    height, width = size
    y, x = np.meshgrid(
        np.linspace(extent, -extent, height), np.linspace(-extent, extent, width), indexing="ij"
    )
    points = np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float32)
    found = scores(model, Dataset(points, np.zeros(len(points), np.int64)))
    return probabilities(found).reshape(height, width, -1)


def probabilities(scores: Array) -> Array:
    """The softmax of scores (N, classes)."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
