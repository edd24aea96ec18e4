"""Nets that run as chains, and how far their values are apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from autograph import Tensor
from autograph.layers import (
    Conv2,
    Dense,
    Flatten,
    Layer,
    MaxPool2,
    MeanPool2,
    Relu,
    Sigmoid,
    Tanh,
    sequential,
)
from autograph.layers.declare import runs_of
from autograph.layers.fusion import Chain
from examples.mnist.lenet5 import LeNet5


@sequential(input=(784,))
class Perceptron(Layer):
    dense1: Dense = Dense.builder(outputs=256, bias=True)
    relu1: Relu
    dense2: Dense = Dense.builder(outputs=128, bias=True)
    tanh2: Tanh
    dense3: Dense = Dense.builder(outputs=10, bias=True)


@sequential(input=(1, 17, 17))
class Overlapping(Layer):
    conv1: Conv2 = Conv2.builder(outputs=8, filter=3, padding=1, bias=True)
    relu1: Relu
    conv2: Conv2 = Conv2.builder(outputs=8, filter=3)
    relu2: Relu
    pool2: MaxPool2 = MaxPool2.builder(filter=3, stride=2)
    flatten: Flatten
    dense: Dense = Dense.builder(outputs=10, bias=True)


@sequential(input=(3, 31, 31))
class Strided(Layer):
    conv: Conv2 = Conv2.builder(outputs=24, filter=5, stride=2)
    relu: Relu
    pool: MeanPool2 = MeanPool2.builder(filter=2)
    flatten: Flatten
    dense: Dense = Dense.builder(outputs=10, bias=True)


@sequential(input=(2, 20, 23))
class Odd(Layer):
    conv1: Conv2 = Conv2.builder(outputs=5, filter=4, padding=2, bias=True)
    pool1: MeanPool2 = MeanPool2.builder(filter=3, stride=2)
    relu1: Relu
    conv2: Conv2 = Conv2.builder(outputs=7, filter=3, stride=2, padding=1, bias=True)
    tanh: Tanh
    pool2: MaxPool2 = MaxPool2.builder(filter=2)
    flatten: Flatten
    dense1: Dense = Dense.builder(outputs=33, bias=True)
    sigmoid: Sigmoid
    dense2: Dense = Dense.builder(outputs=7)


@sequential(input=(3, 32, 32))
class Deep(Layer):
    conv1: Conv2 = Conv2.builder(outputs=16, filter=3, padding=1, bias=True)
    relu1: Relu
    pool1: MaxPool2 = MaxPool2.builder(filter=2)
    conv2: Conv2 = Conv2.builder(outputs=16, filter=3, padding=1, bias=True)
    relu2: Relu
    pool2: MaxPool2 = MaxPool2.builder(filter=2)
    conv3: Conv2 = Conv2.builder(outputs=16, filter=3, padding=1, bias=True)
    relu3: Relu
    pool3: MaxPool2 = MaxPool2.builder(filter=2)
    flatten: Flatten
    dense: Dense = Dense.builder(outputs=10, bias=True)


NETS = {
    "lenet": (LeNet5, (1, 28, 28)),
    "perceptron": (Perceptron, (784,)),
    "overlapping": (Overlapping, (1, 17, 17)),
    "strided": (Strided, (3, 31, 31)),
    "odd": (Odd, (2, 20, 23)),
    "deep": (Deep, (3, 32, 32)),
}


def chain_of(model: Any) -> Chain:
    (found,) = runs_of(model)
    return found


def error(found: Any, expected: Any) -> float:
    found = found.numpy() if isinstance(found, Tensor) else found
    return float(np.linalg.norm(found.astype("f8") - expected) / np.linalg.norm(expected))
