"""Fields of layer classes that every type checker refuses, each line with what it says of it."""

# pyright: strict
from __future__ import annotations

from autograph.layers import Conv2, Dense, Layer, MaxPool2, Relu, sequential


@sequential(input=(1, 28, 28))
class Wrong(Layer):
    """Each field but the last has a wrong builder, or wrong settings."""

    # error: mypy assignment, pyright reportAssignmentType, ty invalid-assignment
    relu: Relu = Conv2.builder(outputs=6, filter=5)

    # error: mypy assignment, pyright reportAssignmentType, ty invalid-assignment
    dense: Dense = 10

    # error: mypy call-arg, pyright reportCallIssue, ty unknown-argument
    conv: Conv2 = Conv2.builder(outputs=6, filters=5, filter=5)

    # error: mypy arg-type, pyright reportArgumentType, ty invalid-argument-type
    pool: MaxPool2 = MaxPool2.builder(filter=2.0)

    last: Dense = Dense.builder(outputs=10)


# error: mypy call-overload, pyright reportArgumentType, ty invalid-argument-type
@sequential(input="1, 28, 28")
class WrongInput(Layer):
    """The sizes of an input are numbers."""

    relu: Relu


# error: mypy call-overload, pyright reportCallIssue, ty no-matching-overload
@sequential(inputs=(1, 28, 28))
class WrongSetting(Layer):
    """It is `input`: the one input of the chain."""

    relu: Relu
