"""Settings of builders that every type checker refuses, each line with what it says of it."""

# pyright: strict
from __future__ import annotations

from autograph.layers import Conv2, Conv2Builder, Dense, MaxPool2

# error: mypy arg-type, pyright reportArgumentType, ty invalid-argument-type
Conv2.builder(outputs="six", filter=5)

# error: mypy arg-type, pyright reportArgumentType, ty invalid-argument-type
Conv2.builder(outputs=6, filter=(5, 5, 5))

# error: mypy call-arg, pyright reportCallIssue, ty unknown-argument
Conv2.builder(outputs=6, filter=5, strides=2)

# error: mypy call-arg, pyright reportCallIssue, ty missing-argument
Conv2.builder(outputs=6)

# error: mypy call-arg, pyright reportCallIssue, ty missing-argument
Dense.builder(bias=True)

# error: mypy call-arg, pyright reportCallIssue, ty too-many-positional-arguments
Conv2.builder(6, 5)

# error: mypy arg-type, pyright reportArgumentType, ty invalid-argument-type
MaxPool2.builder(filter="two")

# error: mypy arg-type, pyright reportArgumentType, ty invalid-argument-type
Conv2Builder(outputs="six", filter=5)

# error: mypy misc, pyright reportAttributeAccessIssue, ty invalid-assignment
Conv2Builder(outputs=6, filter=5).outputs = 7
