"""A multilayer perceptron that reads digits: python -m examples.mlp."""

from __future__ import annotations

from autograph import fit
from autograph.data import mnist
from autograph.layers import Dense, Flatten, Layer, Relu, sequential
from autograph.optim import Adam
from autograph.train import Report


@sequential(input=(1, 28, 28))
class Mlp(Layer):
    """Images (N, 1, 28, 28) -> class scores (N, 10)."""

    flatten: Flatten
    dense1: Dense = Dense.builder(outputs=128, bias=True)
    relu1: Relu
    dense2: Dense = Dense.builder(outputs=10, bias=True)


def main(epochs: int = 2) -> list[Report]:
    """Train, printing a line an epoch."""
    data = mnist()
    model = Mlp.build(seed=0)
    reports = []
    for report in fit(model, Adam(learning_rate=1e-3), data.train, data.test, epochs=epochs):
        print(report)
        reports.append(report)
    return reports


if __name__ == "__main__":
    main()
