"""A long short-term memory that reads digits row by row, as sequences: python -m examples.lstm.

After Hochreiter and Schmidhuber, 1997: it sees 28 rows of 28 pixels, and says the digit at the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import autograph as ag
from autograph import Tensor
from autograph.data import Dataset, mnist
from autograph.layers import LSTM, Dense, Layer, layer
from autograph.optim import Adam

ROWS, PIXELS = 28, 28


@layer
class Reader(Layer):
    """Images (N, 1, 28, 28) -> class scores (N, 10), from the last state of the memory."""

    memory: LSTM = LSTM.builder(inputs=PIXELS, outputs=64, bias=True)
    head: Dense = Dense.builder(inputs=64, outputs=10, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        states = self.memory(x.reshape(-1, ROWS, PIXELS))  # (N, 28, 64)
        return self.head(states[:, -1])


def accuracy(model: Layer, data: Dataset) -> float:
    """The share of the first thousand images that the model reads."""
    batch = next(data.batches(1000, device=model.device))
    with ag.no_grad():
        return float((model(batch.inputs).argmax(axis=1) == batch.targets).cast("f32").mean())


def main(arguments: Sequence[str] | None = None) -> list[float]:
    """Train, and answer the loss of each step."""
    parser = argparse.ArgumentParser(prog="python -m examples.lstm")
    parser.add_argument("--device", default="host", help="host, cuda or cuda:N")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args(arguments)
    model = Reader.build(device=options.device, seed=0)
    optimizer = Adam(learning_rate=3e-3, clip_norm=1.0)
    print(f"{model.parameter_count:,} parameters on {model.device}")
    data, rng = mnist(), np.random.default_rng(0)
    losses = []
    for step in range(options.steps):
        order = rng.choice(len(data.train), options.batch_size, replace=False)
        batch = next(data.train.batches(len(order), device=options.device, order=order))
        loss = model(batch.inputs).cross_entropy_loss(batch.targets)
        loss.backward()
        model.update(optimizer)
        losses.append(float(loss))
        if step % 50 == 0:
            print(f"step {step:>5}  loss {losses[-1]:.4f}")
    print(f"accuracy on 1,000 test images: {accuracy(model, data.test):.1%}")
    return losses


if __name__ == "__main__":
    main()
