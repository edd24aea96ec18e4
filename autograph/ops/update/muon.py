"""Muon's step: a momentum made orthogonal before it is taken (Jordan and others, 2024).

A parameter is seen as a matrix: of two axes as it is, of more with all after the first as one.
"""

from __future__ import annotations

from math import sqrt

from ...backends import CUPY, NUMPY
from ...errors import ShapeError
from .lamb import length_of
from .moving import finish, follow, ready, update_op, update_samples

muon_update = update_op("muon_update", "velocity")

COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of the polynomial that draws singular values to 1


@muon_update.outlined_by
def muon_update_outline(
    w, *rest, momentum=0.95, nesterov=True, iterations=5, epsilon=1e-7, weight_decay=0.1,
    maximize=False,
):  # fmt: skip
    if w.ndim < 2:
        raise ShapeError(f"muon_update: a matrix is wanted\n  w  {w.shape}")
    return ()


@muon_update.kernel(NUMPY, CUPY, halves=True)
def muon_update_arrays(
    w, dw, step, rate, velocity, master, *, momentum, nesterov, iterations, epsilon, weight_decay,
    maximize,
):  # fmt: skip
    """velocity = momentum * velocity + (1 - momentum) * dw, and so once more if nesterov;
    w = w * (1 - rate * weight_decay) - rate * sqrt(max(1, outputs / inputs)) *
    orthogonal(velocity)."""
    target, dw = ready(w, dw, master, maximize=maximize)
    follow(velocity, dw, momentum)
    way = dw + (velocity - dw) * momentum if nesterov else velocity
    way = orthogonal(way.reshape(len(way), -1), iterations, epsilon).reshape(w.shape)
    inputs, outputs = w.shape if w.ndim == 2 else (w.size // len(w), len(w))
    if weight_decay:
        target *= (1 - rate * weight_decay).astype(target.dtype)
    target -= (rate * sqrt(max(1, outputs / inputs))).astype(target.dtype) * way
    finish(w, master, step)


def orthogonal(x, iterations, epsilon):
    """x with its singular values drawn to 1, by Newton and Schulz's iteration."""
    a, b, c = COEFFICIENTS
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (length_of(x) + epsilon).astype(x.dtype)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


muon_update.sampled_by(
    update_samples(None, settings=({}, {"nesterov": False, "weight_decay": 0.0}), of=(3, 4))
)
