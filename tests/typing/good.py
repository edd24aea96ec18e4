"""Declarations and uses that every type checker takes, with the types that it must see."""

# pyright: strict
from __future__ import annotations

from typing import assert_type

import numpy as np

import autograph as ag
from autograph.layers import (
    Conv2,
    Conv2Builder,
    Dense,
    Flatten,
    Layer,
    MaxPool2,
    Relu,
    layer,
    sequential,
)
from autograph.optim import SGD


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


@sequential
class Wide(LeNet5):
    """A subclass: an overriding field keeps its place, a new field goes last."""

    conv1: Conv2 = Conv2.builder(outputs=12, filter=(5, 5))
    relu5: Relu


@sequential
class Nested(Layer):
    """A model in a model, and a declaration without sizes of its own."""

    body: LeNet5
    head: Dense = Dense.builder(inputs=10, outputs=2)


@layer
class Residual(Layer):
    """A free-form layer: fields as above, and a hand-written forward."""

    conv: Conv2 = Conv2.builder(outputs=8, filter=3, padding=1)
    relu: Relu

    def forward(self, x: ag.Tensor) -> ag.Tensor:
        return x + self.relu(self.conv(x))


# Models
model = LeNet5.build(device="cuda:0", scalar_type="bf16", seed=0)
assert_type(model, LeNet5)
assert_type(LeNet5.build(), LeNet5)
assert_type(model.conv1, Conv2)
assert_type(model.relu1, Relu)
assert_type(model.pool1, MaxPool2)
assert_type(model.flatten, Flatten)
assert_type(model.dense3, Dense)
assert_type(Wide.build(), Wide)
assert_type(Wide.build().conv1, Conv2)
assert_type(Wide.build().relu5, Relu)
assert_type(Wide.build().dense3, Dense)
assert_type(Nested.build().body, LeNet5)
assert_type(Nested.build().body.conv1, Conv2)
assert_type(Residual.build(), Residual)
assert_type(Residual.build().conv, Conv2)

# Builders
assert_type(Conv2.builder(outputs=6, filter=5).build(), Conv2)
assert_type(Conv2.builder(inputs=1, outputs=6, filter=(5, 3), stride=2).build(seed=1), Conv2)
assert_type(Conv2Builder(outputs=6, filter=5), Conv2Builder)
assert_type(Conv2Builder(inputs=1, outputs=6, filter=5).build(), Conv2)
assert_type(LeNet5.builder(conv2=Conv2.builder(outputs=8, filter=3)).build(seed=1), LeNet5)

# Training
x = ag.Tensor(np.zeros((100, 1, 28, 28), np.float32))
t = ag.Tensor(np.zeros(100, np.uint8))
optimizer = SGD(learning_rate=0.1, momentum=0.9)
y = model(x)
assert_type(y, ag.Tensor)
loss = y.cross_entropy_loss(t)
assert_type(loss, ag.Tensor)
loss.backward()
model.update(optimizer)
