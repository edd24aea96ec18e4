"""A vector is pulled to length 1 by the gradient of (|v| - 1)^2: python -m examples.unit_vector.

No layer and no optimizer: tensors, backward, and a step by hand.
"""

from __future__ import annotations

import autograph as ag


def main(steps: int = 25, rate: float = 0.2) -> ag.Tensor:
    """Step, printing now and then; the vector."""
    v = ag.Tensor([3.0, -4.0, 12.0], requires_grad=True)
    for step in range(steps):
        length = (v * v).sum().sqrt()
        loss = (length - 1.0).square()
        if step % 6 == 0:
            print(f"step {step:>2}  |v| {length.item():.6f}  loss {loss.item():.6f}")
        loss.backward()
        assert v.grad is not None
        with ag.no_grad():
            v[...] = v - rate * v.grad
        v.grad = None
    print(f"v = {v.detach()}")
    return v


if __name__ == "__main__":
    main()
