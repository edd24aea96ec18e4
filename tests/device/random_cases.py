"""Random shapes and settings of ops that have kernels of their own, there and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from autograph.backends import NUMPY, using
from autograph.op import REGISTRY, Op, signature_of

Call = tuple[Op, list[Any], dict[str, Any]]


class Draw:
    """What a case is made of."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def size(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def pair(self, low: int, high: int) -> tuple[int, int]:
        return self.size(low, high), self.size(low, high)

    def one(self, *of: Any) -> Any:
        return of[self.size(0, len(of) - 1)]

    def normal(self, *shape: int) -> Any:
        return self.rng.standard_normal(shape)

    def images(self, *shape: int) -> Any:
        """Channels first or last."""
        x = self.normal(*shape)
        last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        return self.one(x, last)


def conv2(draw: Draw) -> Any:
    groups, filter, dilation = draw.one(1, 1, 2, 3), draw.pair(1, 4), draw.pair(1, 3)
    padding, (inputs, outputs) = draw.pair(0, 3), draw.pair(1, 5)
    size = [
        max(1, d * (f - 1) + 1 - 2 * p) + draw.size(0, 7)
        for d, f, p in zip(dilation, filter, padding, strict=True)
    ]
    x = draw.normal(draw.size(1, 3), groups * inputs, *size)
    weight = draw.normal(groups * outputs, inputs, *filter)
    bias = draw.one(None, draw.normal(groups * outputs))
    settings = {"padding": padding, "dilation": dilation, "stride": draw.pair(1, 3)}
    return [x, weight, bias], settings | {"groups": groups}


def conv2_relu_max_pool2(draw: Draw) -> Any:
    filter, window = draw.pair(1, 5), draw.one((2, 2), (2, 3), (3, 3), (1, 2))
    padding = draw.size(0, filter[0] - 1), draw.size(0, filter[1] - 1)
    size = [
        max(1, f - 2 * p) + w - 1 + draw.size(0, 8)
        for f, p, w in zip(filter, padding, window, strict=True)
    ]
    inputs, outputs = draw.one(1, 2, 6), draw.one(1, 3, 8, 9)
    x, weight = draw.normal(draw.size(1, 3), inputs, *size), draw.normal(outputs, inputs, *filter)
    bias = draw.one(None, draw.normal(outputs))
    return [x, weight, bias], {"filter": window, "padding": padding}


def max_pool2(draw: Draw) -> Any:
    filter = draw.one((2, 2), (3, 3), (2, 3), (4, 1), (17, 16))
    padding = draw.size(0, filter[0] // 2), draw.size(0, filter[1] // 2)
    size = [max(1, f - 2 * p) + draw.size(0, 8) for f, p in zip(filter, padding, strict=True)]
    x = np.round(draw.normal(*draw.pair(1, 3), *size))  # with equals
    return [x], {"filter": filter, "padding": padding, "stride": draw.pair(1, 4)}


mean_pool2 = max_pool2


def linear(draw: Draw) -> Any:
    inputs, outputs = draw.one(draw.size(1, 40), 8 * draw.size(1, 9), 520), draw.size(1, 40)
    x, weight = draw.normal(draw.one(1, 7, 70), inputs), draw.normal(inputs, outputs)
    return [x, weight, draw.normal(outputs)], {}


linear_relu = linear


def softmax(draw: Draw) -> Any:
    return [draw.normal(draw.size(1, 40), draw.one(1, 31, 136, 1000))], {"axis": -1}


def layer_norm(draw: Draw) -> Any:
    shape = draw.size(1, 20), draw.one(1, 33, 136, 1000)
    return [draw.normal(*shape), draw.normal(shape[1]), draw.normal(shape[1])], {}


def batch_norm(draw: Draw) -> Any:
    channels = 8 * draw.one(1, 3, 9, 17)
    rows = draw.normal(draw.size(2, 300), channels)
    x = draw.one(rows, draw.images(draw.size(1, 4), channels, draw.size(1, 5), draw.size(2, 5)))
    affine = [draw.normal(channels), draw.normal(channels)]
    running = [draw.rng.random(channels).astype("f4") for _ in range(2)]
    return [x + 3, *affine, *draw.one([None, None], running)], {}


def cross_entropy_loss(draw: Draw) -> Any:
    samples, classes = draw.one(1, 9, 300), draw.one(1, 10, 33, 500)
    return [3 * draw.normal(samples, classes), draw.rng.integers(0, classes, samples)], {}


def embedding(draw: Draw) -> Any:
    rows, shape = draw.size(1, 50), draw.one((), (7,), (4, 3), (600,))
    return [draw.rng.integers(0, rows, shape), draw.normal(rows, draw.one(1, 5, 72))], {}


def sum(draw: Draw) -> Any:
    shape = draw.one((), (3, 1, 40), (2000,), (3, 900, 2), (2, 3, 5, 4))
    axes = draw.rng.permutation(len(shape))[: draw.size(1, 4)].tolist()
    x = draw.images(*shape) if len(shape) == 4 else draw.normal(*shape)
    return [x], {"axis": tuple(axes) if shape else None, "keepdims": draw.one(True, False)}


CASES = (
    "conv2", "conv2_relu_max_pool2", "max_pool2", "mean_pool2", "linear", "linear_relu", "softmax",
    "layer_norm", "batch_norm", "cross_entropy_loss", "embedding", "sum",
)  # fmt: skip


def calls(name: str, draw: Draw, monkeypatch: Any) -> Iterator[Call]:
    """An op on random arrays, and the ops that its gradient rules call, as they are called."""
    op, (arrays, settings) = REGISTRY[name], globals()[name](draw)
    yield op, arrays, settings
    found: list[Call] = []
    run = Op.__call__

    def noted(op: Op, *given: Any, **settings: Any) -> Any:
        absent = [None] * (len(op.inputs) - len(given))
        found.append((op, [*given, *absent], settings))
        return run(op, *given, **settings)

    with using(NUMPY), monkeypatch.context() as within:
        plan = op.plan(list(map(signature_of, arrays)), settings)
        arrays, results = op.run(plan, arrays)
        y = op.own(plan, results)
        saved = dict(zip(op.saves, results[len(op.outputs) :], strict=True)) if op.saves else {}
        within.setattr(Op, "__call__", noted)
        for positions, rule, into, asks in op.gradients:
            there = tuple(arrays[at] is not None for at in positions)
            known = saved | plan.settings | ({"needs": there} if asks else {})
            if any(there):
                dy = draw.normal(*y.shape).astype(y.dtype)
                rule(y, *arrays, **known)(dy, *[None] * into)
    yield from found
