"""The training that tests of runs stop and go on with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from autograph.layers import Conv2, Dense, Dropout, Flatten, Layer, MaxPool2, Relu, sequential
from autograph.optim import Adam, Cosine
from autograph.train import Report, fit

rng = np.random.default_rng(0)
IMAGES = rng.normal(size=(110, 1, 8, 8)).astype(np.float32)
CLASSES = rng.integers(0, 4, 110)
DATA = (IMAGES, CLASSES)
TEST = (IMAGES[:50], CLASSES[:50])


@sequential(input=(1, 8, 8))
class Net(Layer):
    """Images (N, 1, 8, 8) -> class scores (N, 4), some of them left to chance."""

    conv1: Conv2 = Conv2.builder(outputs=3, filter=3)
    relu1: Relu
    pool1: MaxPool2 = MaxPool2.builder(filter=2)
    flatten: Flatten
    dropout: Dropout = Dropout.builder(rate=0.25)
    dense1: Dense = Dense.builder(outputs=4, bias=True)


def state(scalar_type: str = "f32") -> tuple[Layer, Adam]:
    """A fresh model and optimizer, equal each time."""
    optimizer = Adam(learning_rate=Cosine(peak=0.01))
    return Net.build(seed=1, scalar_type=scalar_type), optimizer


def training(run: Any, epochs: int = 3, scalar_type: str = "f32", **more: Any) -> Iterator[Report]:
    """The training that these tests stop and go on with: 11 steps an epoch."""
    return fit(*state(scalar_type), DATA, TEST, epochs=epochs, batch_size=10, run=run, **more)


def newest(run: Path) -> bytes:
    """The newest checkpoint of a run."""
    return max((run / "checkpoints").glob("step-*")).read_bytes()


def steps(run: Path) -> list[int]:
    return sorted(int(path.stem[5:]) for path in (run / "checkpoints").glob("step-*"))


def events(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


class Enough(Exception):
    """Raised where a test wants training to end."""


def ends_at(step: int, how: Callable[[], Any]) -> Any:
    """A `watch` that does something after so many training batches."""
    seen = [0]

    def watch(name: str, done: int, count: int) -> None:
        seen[0] += name == "train"
        if seen[0] == step:
            how()

    return watch


def fail() -> None:
    raise Enough
