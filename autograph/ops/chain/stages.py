"""What a chain is made of: stages, each one or more layers that are computed together.

A chain is described as a tuple of layers, which say what their op does and not how large it is:
("conv2", stride, padding, biased), ("max_pool2", filter, stride), ("mean_pool2", filter, stride),
("linear", biased), ("flatten",), ("relu",), ("tanh",) and ("sigmoid",).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from math import gcd, prod
from typing import Any

from ...errors import ShapeError

Layers = tuple[tuple[Any, ...], ...]
Shape = tuple[int, ...]

ACTIVATIONS = {  # of v; and the gradient g of v, from the result y
    "relu": ("v <= 0.f ? 0.f : v", "y <= 0.f ? 0.f : g"),
    "tanh": ("tanhf(v)", "g * (1.f - y * y)"),
    "sigmoid": ("1.f / (1.f + expf(-v))", "g * y * (1.f - y)"),
}
POOLS = "max_pool2", "mean_pool2"


class DoesNotFit(Exception):
    """Why a chain cannot be one kernel."""


def up(value: int, multiple: int) -> int:
    """The next multiple."""
    return -(-value // multiple) * multiple


def width(*strides: int) -> int:
    """The widest vector, of 1, 2 or 4 numbers, that all of these places are aligned to."""
    return reduce(gcd, strides, 4)


@dataclass
class Image:
    """Where the cells of an image lie in shared memory: planes with a border; or, where `cell`
    is more than one, pixels of so many channels."""

    c: int
    h: int
    w: int
    py: int = 0
    px: int = 0
    rows: int = 0
    row: int = 0  # from row to row, from plane to plane, from cell to cell, from sample to sample
    plane: int = 0
    cell: int = 1
    sample: int = 0
    extent: int = 0  # numbers of a sample that are read
    origin: int = 0

    def __post_init__(self) -> None:
        self.rows, self.row = self.rows or self.h, self.row or self.w
        self.plane = self.plane or self.rows * self.row
        self.extent = self.extent or self.c * self.plane
        self.sample = self.sample or up(self.extent, 4)
        self.origin = self.origin or self.py * self.row + self.px * self.cell

    @property
    def is_plain(self) -> bool:
        """Whether all that is read are cells."""
        return self.extent == self.c * self.h * self.w

    @property
    def strides(self) -> dict[str, int]:
        return {
            "plane": self.plane, "row": self.row, "cell": self.cell, "sample": self.sample,
            "origin": self.origin,
        }  # fmt: skip

    def at(self, s: str = "s", c: str = "c", y: str = "y", x: str = "x") -> str:
        """The place of a cell, in CUDA."""
        cell = f"({y}) * {self.row} + ({x}) * {self.cell}"
        return f"{self.origin} + ({s}) * {self.sample} + ({c}) * {self.plane} + {cell}"


@dataclass
class Stage:
    """One or more layers that are computed together: its shapes, and how it is cut into tasks."""

    kind: str
    shape: Shape  # of its input, (C, H, W)
    out: Shape = ()
    weight: int = -1  # which parameter, and which its bias
    bias: int = -1
    filter: Shape = ()
    stride: Shape = (1, 1)
    padding: Shape = (0, 0)
    pool: Shape = ()  # the window of a max pool that a convolution has taken in
    conv_out: Shape = ()  # what that pool sees
    act: str = ""  # the activation at its end
    plan: dict[str, int] = field(default_factory=dict)
    input: Image = field(default_factory=lambda: Image(1, 1, 1))
    delta: Image = field(default_factory=lambda: Image(1, 1, 1))

    @property
    def weights(self) -> int:
        """How many numbers its weight has."""
        inputs = prod(self.shape) if self.kind == "linear" else self.shape[0] * prod(self.filter)
        return inputs * self.out[0]


def sizes(layers: Layers, shape: Shape, parameters: Sequence[Shape]) -> Iterator[Shape]:
    """The shape of one sample after each layer, without its batch axis."""
    found = iter(parameters)
    for kind, *settings in layers:
        if kind == "conv2":
            weight = next(found)
            if len(shape) != 3 or shape[0] != weight[1]:
                raise ShapeError(f"chain: conv2 takes {weight[1]} channels, and gets {shape}")
            stride, padding = settings[:2]
            shape = (weight[0], *_windows(shape[1:], weight[2:], stride, padding))
        elif kind == "linear":
            weight = next(found)
            if shape != weight[:1]:
                raise ShapeError(f"chain: linear takes {weight[0]} inputs, and gets {shape}")
            shape = weight[1:]
        elif kind in POOLS:
            filter, stride = settings
            shape = (shape[0], *_windows(shape[1:], filter, stride, (0, 0)))
        elif kind == "flatten":
            shape = (prod(shape),)
        if kind in ("conv2", "linear") and settings[-1]:
            next(found)
        yield shape


def _windows(size: Shape, filter: Shape, stride: Shape, padding: Shape) -> Shape:
    found = tuple((size[i] + 2 * padding[i] - filter[i]) // stride[i] + 1 for i in range(2))
    if min(found) < 1:
        raise ShapeError(f"chain: a window of {filter} does not fit an image of {size}")
    return found


def parse(layers: Layers, shape: Shape, parameters: Sequence[Shape]) -> list[Stage]:
    """The stages of a chain: convolution, activation and max pool in either order; max pool and
    activation; dense layer and activation. Activations grow, so they commute with maxima."""
    shapes = [shape, *sizes(layers, shape, parameters)]
    kinds = [layer[0] for layer in layers] + ["", ""]
    stages: list[Stage] = []
    at, given = 0, 0
    while at < len(layers):
        kind, *settings = layers[at]
        image = shapes[at] if len(shapes[at]) == 3 else (prod(shapes[at]), 1, 1)
        stage = Stage(kind, image)
        at += 1
        if kind == "flatten":
            continue
        if kind in ("conv2", "linear"):
            stage.weight, given = given, given + 1
            if settings[-1]:
                stage.bias, given = given, given + 1
        if kind == "conv2":
            stage.filter = parameters[stage.weight][2:]
            stage.stride, stage.padding = settings[:2]
            stage.conv_out = shapes[at]
            active = kinds[at] in ACTIVATIONS
            pool = at + active
            if kinds[pool] == "max_pool2" and _fits_a_tile(*layers[pool][1:]):
                stage.pool = layers[pool][1]
                stage.act = kinds[at] if active else ""
                at = pool + 1
            if not stage.act and kinds[at] in ACTIVATIONS:
                stage.act, at = kinds[at], at + 1
        elif kind in ACTIVATIONS:
            stage.kind, stage.act = "activation", kind
            if kinds[at] == "max_pool2":  # the pool comes first and stores its result alone
                stage.kind, (stage.filter, stage.stride) = "max_pool2", layers[at][1:]
                at += 1
        else:
            if kind in POOLS:
                stage.filter, stage.stride = settings
            if kind != "mean_pool2" and kinds[at] in ACTIVATIONS:
                stage.act, at = kinds[at], at + 1
        stage.out = shapes[at] if len(shapes[at]) == 3 else (prod(shapes[at]), 1, 1)
        stages.append(stage)
    return stages


def _fits_a_tile(filter: Shape, stride: Shape) -> bool:
    return filter == stride and prod(filter) <= 9
