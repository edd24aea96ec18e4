"""Uses of models that every type checker refuses, each line with what it says of it."""

# pyright: strict
from __future__ import annotations

import autograph as ag
from autograph.layers import Conv2, Dense, Layer, Relu, sequential
from autograph.optim import SGD


@sequential(input=(1, 28, 28))
class Model(Layer):
    """A convolution."""

    conv1: Conv2 = Conv2.builder(outputs=6, filter=5)
    relu1: Relu


model = Model.build()
optimizer = SGD(learning_rate=0.1)

# error: mypy attr-defined, pyright reportAttributeAccessIssue, ty missing-attribute
print(model.conv2)

# error: mypy assignment, pyright reportAssignmentType, ty invalid-assignment
dense: Dense = model.conv1

# error: mypy call-arg, pyright reportCallIssue, ty unknown-argument
Model.build(devise="cuda:0")

# error: mypy arg-type, pyright reportArgumentType, ty invalid-argument-type
Model.build(seed="zero")

# error: mypy arg-type, pyright reportArgumentType, ty invalid-argument-type
model("an image")

# error: mypy arg-type, pyright reportArgumentType, ty invalid-argument-type
model.update("sgd")

# error: mypy arg-type, pyright reportArgumentType, ty invalid-argument-type
SGD(learning_rate="fast")

# error: mypy assignment, pyright reportAssignmentType, ty invalid-assignment
number: float = model(ag.zeros((1, 1, 28, 28)))
