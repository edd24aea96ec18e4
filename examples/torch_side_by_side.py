"""The same network from the same weights in autograph and in torch: losses step by step.

python -m examples.torch_side_by_side [STEPS]; it needs torch.
"""

from __future__ import annotations

import argparse

import numpy as np

import autograph as ag
from autograph.data.mnist_files import mnist_arrays
from autograph.optim import SGD

from .mlp import Mlp

BATCH = 100
RATE = 0.1
Losses = list[float]


def images() -> tuple[np.ndarray, np.ndarray]:
    """The training images (N, 1, 28, 28) in [0, 1], and their digits (N,)."""
    train = mnist_arrays().train
    return train.images / np.float32(255), train.labels.astype(np.int64)


def in_autograph(model: Mlp, x: np.ndarray, t: np.ndarray, steps: int) -> Losses:
    """Train, and answer the loss of each step."""
    optimizer = SGD(learning_rate=RATE, momentum=0.9)
    losses = []
    for i in range(steps):
        rows = slice(i * BATCH, (i + 1) * BATCH)
        loss = model(ag.Tensor(x[rows])).cross_entropy_loss(ag.Tensor(t[rows]))
        loss.backward()
        model.update(optimizer)
        losses.append(float(loss))
    return losses


def in_torch(model: Mlp, x: np.ndarray, t: np.ndarray, steps: int) -> Losses:
    """The same, from the same first weights; torch keeps them transposed."""
    import torch

    twin = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
    )
    with torch.no_grad():
        for theirs, ours in ((twin[1], model.dense1), (twin[3], model.dense2)):
            assert ours.bias is not None
            theirs.weight.copy_(torch.from_numpy(ours.weight.numpy().T.copy()))
            theirs.bias.copy_(torch.from_numpy(ours.bias.numpy().copy()))
    optimizer = torch.optim.SGD(twin.parameters(), lr=RATE, momentum=0.9)
    losses = []
    for i in range(steps):
        rows = slice(i * BATCH, (i + 1) * BATCH)
        loss = torch.nn.functional.cross_entropy(twin(torch.tensor(x[rows])), torch.tensor(t[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main(steps: int = 100) -> tuple[Losses, Losses]:
    """Train both, and print their losses side by side."""
    x, t = images()
    theirs = in_torch(Mlp.build(seed=0), x, t, steps)
    ours = in_autograph(Mlp.build(seed=0), x, t, steps)
    print(f"{'step':>5} {'autograph':>12} {'torch':>12} {'difference':>12}")
    for step in range(0, steps, max(steps // 10, 1)):
        a, b = ours[step], theirs[step]
        print(f"{step:>5} {a:12.7f} {b:12.7f} {abs(a - b):12.1e}")
    return ours, theirs


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.torch_side_by_side")
    parser.add_argument("steps", type=int, nargs="?", default=100, help="100 unless said")
    main(parser.parse_args().steps)
