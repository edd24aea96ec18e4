"""Muon's step: a momentum made orthogonal before it is taken (Jordan and others, 2024).

A parameter is seen as a matrix: of two axes as it is, of more with all after the first as one.
"""

from math import sqrt

from ...errors import ShapeError
from .large_models import length_of
from .moving import follow, moving, shrink, update_samples

COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of the polynomial that draws singular values to 1


def refuse_vector(w):
    if w.ndim < 2:
        raise ShapeError(f"muon_update: a matrix is wanted\n  w  {w.shape}")


@moving(
    "velocity",
    update_samples(None, settings=({}, {"nesterov": False, "weight_decay": 0.0})),
    refuse_vector,
)
def muon_update(
    w, dw, step, rate, velocity, *, momentum=0.95, nesterov=True, iterations=5, epsilon=1e-7,
    weight_decay=0.1,
):  # fmt: skip
    """velocity = momentum * velocity + (1 - momentum) * dw, and so once more if nesterov;
    w = w * (1 - rate * weight_decay) - rate * sqrt(max(1, outputs / inputs)) *
    orthogonal(velocity)."""
    follow(velocity, dw, momentum)
    way = dw + (velocity - dw) * momentum if nesterov else velocity
    way = orthogonal(way.reshape(len(way), -1), iterations, epsilon).reshape(w.shape)
    inputs, outputs = w.shape if w.ndim == 2 else (w.size // len(w), len(w))
    shrink(w, rate, weight_decay)
    w -= (rate * sqrt(max(1, outputs / inputs))).astype(w.dtype) * way


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
