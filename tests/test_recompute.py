"""Recomputed parts give the bits of recorded ones, and keep less."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import Tensor, recompute
from autograph.errors import GraphError
from autograph.layers import BatchNorm1, Conv2, Dense, Dropout, Layer, MaxPool2, Relu, sequential
from autograph.optim import SGD

RNG = np.random.default_rng(0)


@sequential(input=(6,))
class Block(Layer):
    """(N, 6) the same."""

    dense: Dense = Dense.builder(outputs=6, bias=True)
    norm: BatchNorm1
    relu: Relu
    dropout: Dropout = Dropout.builder(rate=0.3)


@sequential(input=(1, 8, 8))
class Picture(Layer):
    """Three layers that run as one op."""

    conv: Conv2 = Conv2.builder(outputs=2, filter=3)
    relu: Relu
    pool: MaxPool2 = MaxPool2.builder(filter=2)


def steps(wrapped: bool, mode: bool | None = None) -> list[np.ndarray]:
    """Everything that three steps of two blocks make, one of them used twice."""
    first, second = Block.build(seed=0), Block.build(seed=1)
    optimizer, found = SGD(learning_rate=0.1, momentum=0.9), []
    call: Any = recompute if wrapped else lambda block, x: block(x)
    for _ in range(3):
        x = Tensor(RNG_INPUT, requires_grad=True)
        if mode is None:
            y = call(first, call(second, call(first, x)))
        else:
            with ag.training(mode):
                y = call(first, call(second, call(first, x)))
        (y * y).sum().backward()
        assert x.grad is not None
        found += [y.numpy(), x.grad.numpy()]
        found += [w.grad.numpy().copy() for w in first.parameters() if w.grad is not None]
        first.update(optimizer)
        for w in second.parameters():
            w.grad = None
        found += [each.numpy().copy() for each in first.parameters()]
        for block in (first, second):
            found += [each.numpy().copy() for each in block.named_buffers().values()]
    return found


RNG_INPUT = RNG.normal(size=(5, 6)).astype(np.float32)


@pytest.mark.parametrize("mode", [None, True, False])
def test_bits_statistics_and_counters_are_those_of_recording(mode: bool | None) -> None:
    expected, actual = steps(False, mode), steps(True, mode)

    assert len(expected) == len(actual) > 30
    for a, b in zip(expected, actual, strict=True):
        np.testing.assert_array_equal(a, b)


def test_fused_layers_are_recomputed() -> None:
    x = RNG.normal(size=(2, 1, 8, 8)).astype(np.float32)
    gradients = []
    for call in (lambda m, x: m(x), recompute):
        model = Picture.build(seed=0)
        call(model, Tensor(x)).sum().backward()
        assert model.conv.weight.grad is not None
        gradients.append(model.conv.weight.grad.numpy())

    np.testing.assert_array_equal(gradients[0], gradients[1])


def test_functions_may_take_several_and_answer_several() -> None:
    a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    c = Tensor([5.0, 6.0], requires_grad=True)

    product, total, count = recompute(lambda x, y: (x * y * c, x + y, (x > 0).sum()), a, b)
    product.sum().backward()

    assert [15.0, 24.0] == a.grad.tolist()  # type: ignore[union-attr]
    assert [3.0, 8.0] == c.grad.tolist()  # type: ignore[union-attr]
    assert 2 == count.item()
    assert total.requires_grad
    assert not count.requires_grad


def test_a_tensor_that_was_computed_outside_gets_its_gradient() -> None:
    w = Tensor([2.0], requires_grad=True)
    twice = w * 2

    recompute(lambda x: x * twice, Tensor([3.0])).sum().backward()

    assert [6.0] == w.grad.tolist()  # type: ignore[union-attr]


def test_they_may_be_nested_and_the_graph_kept() -> None:
    x = Tensor([2.0], requires_grad=True)

    y = recompute(lambda x: recompute(lambda x: x * x, x) * x, x)
    y.backward(retain_graph=True)
    y.backward()

    assert [24.0] == x.grad.tolist()  # type: ignore[union-attr]


def test_what_was_written_before_backward_is_refused() -> None:
    w = Tensor([2.0], requires_grad=True)
    y = recompute(lambda x: x * w, Tensor([3.0]))
    with ag.no_grad():
        w[0] = 7.0

    with pytest.raises(GraphError, match="written after the forward"):
        y.backward()


def test_without_recording_it_is_a_call() -> None:
    x = Tensor([2.0], requires_grad=True)
    with ag.no_grad():
        assert not recompute(lambda x: x * x, x).requires_grad
    with ag.higher_order():
        (slope,) = ag.grad(recompute(lambda x: x * x * x, x), [x])
        assert slope is not None
        assert 12.0 == ag.grad(slope, [x])[0].item()  # type: ignore[union-attr]
    with pytest.raises(GraphError, match="answers a list"):
        recompute(lambda x: [x * x], x)


def test_what_a_part_computes_is_not_kept() -> None:
    def part(x: Tensor) -> Tensor:
        for _ in range(20):
            x = x.tanh()
        return x

    x = Tensor(np.ones(50_000), requires_grad=True)
    held = []
    for call in (lambda f, x: f(x), recompute):
        tracemalloc.start()
        y = call(part, x)
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        del y

    assert held[1] < held[0] / 8


def test_graphs_die_by_reference_count() -> None:
    x = Tensor([2.0], requires_grad=True)
    gc.disable()
    try:
        for walked in (False, True):
            y = recompute(lambda x: x * x, x)
            node = weakref.ref(y)
            if walked:
                y.backward()
            del y
            assert node() is None
    finally:
        gc.enable()


def test_threads_recompute_apart() -> None:
    expected = steps(True)

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(steps, [True] * 3))

    for each in found:
        for a, b in zip(expected, each, strict=True):
            np.testing.assert_array_equal(a, b)
