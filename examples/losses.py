"""What losses say of a guess, and how they pull at it: python -m examples.losses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import autograph as ag
from autograph import Tensor, ops

TARGET = [1.0, 0.0, 2.0]
Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES: dict[str, Loss] = {
    "mean squared error": ops.mse_loss,
    "mean absolute error": ops.l1_loss,
    "huber": ops.huber_loss,
    "smooth l1": ops.smooth_l1_loss,
}


def main() -> dict[str, tuple[float, list[float]]]:
    """Print value and gradient of each loss at one guess."""
    found = {}
    for name, loss in LOSSES.items():
        guess = Tensor([0.5, 0.25, -1.0], requires_grad=True)
        value = loss(guess, Tensor(TARGET))
        value.backward()
        assert guess.grad is not None
        found[name] = value.item(), guess.grad.tolist()
    scores = Tensor([[2.0, 0.5, -1.0], [0.0, 3.0, 0.0]], requires_grad=True)
    value = scores.cross_entropy_loss(ag.Tensor([0, 2]))
    value.backward()
    assert scores.grad is not None
    found["cross entropy"] = value.item(), scores.grad.tolist()
    for name, (number, gradient) in found.items():
        print(f"{name:<20} {number:8.4f}  gradient {np.round(gradient, 4).tolist()}")
    return found


if __name__ == "__main__":
    main()
