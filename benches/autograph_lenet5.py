"""LeNet5 in autograph, beside torch_lenet5.py and jax_lenet5.py."""

from __future__ import annotations

from typing import Any

import autograph as ag
from autograph.layers import Conv2, Dense, Flatten, Layer, MaxPool2, Relu, sequential
from autograph.optim import SGD

from .images import batch


@sequential(input=(1, 28, 28))
class LeNet5(Layer):
    """Images (N, 1, 28, 28) -> class scores (N, 10)."""

    conv1: Conv2 = Conv2.builder(outputs=6, filter=5)
    relu1: Relu
    pool1: MaxPool2 = MaxPool2.builder(filter=2)
    conv2: Conv2 = Conv2.builder(outputs=16, filter=5)
    relu2: Relu
    pool2: MaxPool2 = MaxPool2.builder(filter=2)
    flatten: Flatten
    dense1: Dense = Dense.builder(outputs=128)
    relu3: Relu
    dense2: Dense = Dense.builder(outputs=84)
    relu4: Relu
    dense3: Dense = Dense.builder(outputs=10, bias=True)


class LeNet5Classifier:
    """Trains LeNet5 on batches of images and labels, and tells what images show."""

    def __init__(self, scalar_type: str = "f32") -> None:
        self.model = LeNet5.build(scalar_type=scalar_type)
        self.optimizer = SGD(learning_rate=0.01)

    def place(self, images: Any, labels: Any) -> Any:
        return ag.Tensor(images).cast(self.model.scalar_type), ag.Tensor(labels)

    def train(self, batch: Any) -> Any:
        x, t = batch
        loss = self.model(x).cross_entropy_loss(t)
        loss.backward()
        self.model.update(self.optimizer)
        return loss

    def infer(self, batch: Any) -> Any:
        x, _ = batch
        with ag.no_grad():
            return self.model(x)


def runs(path: str, mode: str, count: int, **settings: Any) -> Any:
    """What is timed."""
    classifier = LeNet5Classifier(**settings)
    given = classifier.place(*batch(path, count))
    run = getattr(classifier, mode)
    return lambda: run(given)


def captured(path: str, count: int, **settings: Any) -> Any:
    """A training step that is recorded once and replayed."""
    classifier = LeNet5Classifier(**settings)
    given = classifier.place(*batch(path, count))
    step = ag.capture(
        lambda *batch: classifier.train(batch).detach(), optimizer=classifier.optimizer
    )
    return lambda: step(*given)


def fit(path: str, count: int, steps: int = 100, epochs: int = 5, **settings: Any) -> Any:
    """`ag.fit`, whose batches are fetched from a data set and metered."""
    classifier = LeNet5Classifier(**settings)
    data = batch(path, count * steps)

    def run() -> None:
        for _ in ag.fit(
            classifier.model, classifier.optimizer, data, epochs=epochs, batch_size=count
        ):
            pass

    return run, steps * epochs
