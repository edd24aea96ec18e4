"""LeNet5 in torch, beside autograph_lenet5.py and jax_lenet5.py."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from .images import batch

SCALAR_TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


class LeNet5(nn.Sequential):
    """Images (N, 1, 28, 28) -> class scores (N, 10)."""

    def __init__(self) -> None:
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(1, 6, 5, bias=False),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(2),
                conv2=nn.Conv2d(6, 16, 5, bias=False),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(2),
                flatten=nn.Flatten(),
                dense1=nn.Linear(16 * 4 * 4, 128, bias=False),
                relu3=nn.ReLU(),
                dense2=nn.Linear(128, 84, bias=False),
                relu4=nn.ReLU(),
                dense3=nn.Linear(84, 10),
            )
        )


class LeNet5Classifier:
    """Trains LeNet5 on batches of images and labels, and tells what images show."""

    def __init__(
        self,
        scalar_type: str = "f32",
        channels_last: bool = False,
        compiled: bool = False,
        **options: bool,
    ) -> None:
        self.scalar_type = SCALAR_TYPES[scalar_type]
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model: Any = LeNet5().to(dtype=self.scalar_type, memory_format=self.layout)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, **options)
        if compiled:
            self.model = torch.compile(self.model)

    def place(self, images: Any, labels: Any) -> Any:
        x = torch.from_numpy(images).to(self.scalar_type)
        return x.contiguous(memory_format=self.layout), torch.from_numpy(labels)

    def train(self, batch: Any) -> Any:
        x, t = batch
        loss = cross_entropy(self.model(x), t)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss

    def infer(self, batch: Any) -> Any:
        x, _ = batch
        with torch.inference_mode():
            return self.model(x)


def runs(path: str, mode: str, count: int, **settings: Any) -> Any:
    """What is timed."""
    classifier = LeNet5Classifier(**settings)
    given = classifier.place(*batch(path, count))
    run = getattr(classifier, mode)
    return lambda: run(given)
