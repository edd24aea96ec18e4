"""A small residual network that reads digits: python -m examples.resnet_small --help.

After He, Zhang, Ren and Sun, 2016: two stages of blocks whose outputs are added to their inputs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import autograph as ag
from autograph.data import Dataset, mnist
from autograph.layers import (
    BatchNorm2,
    Conv2,
    Dense,
    GlobalMeanPool,
    Layer,
    Relu,
    Residual,
    sequential,
)
from autograph.optim import Adam, Cosine

WIDTH = 8


@sequential
class Block(Layer):
    """Two convolutions: (N, C, H, W) the same."""

    conv1: Conv2 = Conv2.builder(inputs=WIDTH, outputs=WIDTH, filter=3, padding=1)
    norm1: BatchNorm2
    relu1: Relu
    conv2: Conv2 = Conv2.builder(outputs=WIDTH, filter=3, padding=1)
    norm2: BatchNorm2


@sequential
class Down(Layer):
    """Half as high and wide, twice as deep: (N, C, H, W) -> (N, 2 C, H / 2, W / 2)."""

    conv1: Conv2 = Conv2.builder(inputs=WIDTH, outputs=2 * WIDTH, filter=3, stride=2, padding=1)
    norm1: BatchNorm2
    relu1: Relu
    conv2: Conv2 = Conv2.builder(outputs=2 * WIDTH, filter=3, padding=1)
    norm2: BatchNorm2


@sequential(input=(1, 28, 28))
class SmallResNet(Layer):
    """Images (N, 1, 28, 28) -> class scores (N, 10)."""

    stem: Conv2 = Conv2.builder(outputs=WIDTH, filter=3, stride=2, padding=1)
    norm: BatchNorm2
    relu1: Relu
    block1: Residual = Residual.builder(body=Block.builder())
    relu2: Relu
    block2: Residual = Residual.builder(
        body=Down.builder(),
        shortcut=Conv2.builder(outputs=2 * WIDTH, filter=1, stride=2),
    )
    relu3: Relu
    pool: GlobalMeanPool
    dense: Dense = Dense.builder(outputs=10, bias=True)


def accuracy(model: Layer, data: Dataset) -> float:
    """The share of the first thousand images that the model reads."""
    batch = next(data.batches(1000, device=model.device))
    with ag.no_grad():
        return float((model(batch.inputs).argmax(axis=1) == batch.targets).cast("f32").mean())


def main(arguments: Sequence[str] | None = None) -> list[float]:
    """Train, and answer the loss of each step."""
    parser = argparse.ArgumentParser(prog="python -m examples.resnet_small")
    parser.add_argument("--device", default="host", help="host, cuda or cuda:N")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args(arguments)
    model = SmallResNet.build(device=options.device, seed=0)
    optimizer = Adam(learning_rate=Cosine(peak=1e-2, steps=options.steps))
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
