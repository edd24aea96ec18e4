"""Recording: its flags, its threads, and gradients of gradients."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from autograph import (
    Tensor,
    enable_grad,
    grad,
    higher_order,
    is_recording,
    is_training,
    no_grad,
    training,
)
from autograph.testing import check_gradient

from .test_graph import leaf, without_collector

# -- recording ---------------------------------------------------------------------------


def test_no_grad_records_nothing() -> None:
    x = leaf(1.0)
    with no_grad():
        assert not (x * x).requires_grad
        with enable_grad():
            assert (x * x).requires_grad
    assert (x * x).requires_grad


@pytest.mark.parametrize("manager", [no_grad, enable_grad, higher_order, training])
def test_flags_are_restored_after_an_error(manager: Callable[[], Any]) -> None:
    before = is_recording(), is_training()
    with pytest.raises(ZeroDivisionError), manager():
        raise ZeroDivisionError

    assert before == (is_recording(), is_training())
    x = leaf(1.0)
    (x * x).sum().backward()
    assert not x.grad.requires_grad


def test_training_follows_recording_unless_said() -> None:
    assert is_training()
    with no_grad():
        assert not is_training()
        with training():
            assert is_training()
    with training(False):
        assert not is_training()
        assert is_recording()


def test_flags_belong_to_their_thread() -> None:
    with ThreadPoolExecutor(1) as pool:
        with no_grad(), training(False):
            assert pool.submit(lambda: (is_recording(), is_training())).result() == (True, True)
        pool.submit(lambda: no_grad().__enter__()).result()
    assert is_recording()


def test_threads_give_the_bits_of_the_serial_run() -> None:
    """Forward and backward on several threads at once, over shared leaves and over own ones."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(8, 8)).astype("f4")
    inputs = [rng.normal(size=(4, 8)).astype("f4") for _ in range(8)]

    def work(array: np.ndarray[Any, Any]) -> bytes:
        w = Tensor(weight, requires_grad=True)
        for _ in range(20):
            y = (Tensor(array) @ w).tanh().sum(axis=0)
            (y * y).sum().backward()
        return w.grad.numpy().tobytes()

    serial = [work(each) for each in inputs]
    with ThreadPoolExecutor(len(inputs)) as pool:
        assert serial == list(pool.map(work, inputs))


def test_walks_of_several_threads_add_into_a_shared_leaf() -> None:
    w = leaf(1.0)

    def work(_: int) -> None:
        for _ in range(50):
            (w * 2.0).sum().backward()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))

    assert w.grad.tolist() == [400.0]


# -- higher order ----------------------------------------------------------------------------


def test_gradients_of_gradients() -> None:
    with higher_order():
        x = leaf(3.0)
        (first,) = grad((x**3.0).sum(), [x])
        (second,) = grad(first.sum(), [x])
        (third,) = grad(second.sum(), [x])

    assert first.item() == pytest.approx(27)
    assert second.item() == pytest.approx(18)
    assert third.item() == pytest.approx(6)


def test_a_penalty_on_a_gradient_trains() -> None:
    def penalty(w: Tensor, x: Tensor) -> Tensor:
        with higher_order():
            leaf_w = w if w.requires_grad else Tensor(w.numpy(), requires_grad=True)
            y = ((x @ leaf_w).tanh() ** 2.0).sum()
            (slope,) = grad(y, [leaf_w])
            return (slope * slope).sum() + y

    rng = np.random.default_rng(0)
    check_gradient(penalty, [rng.normal(size=(3, 2)), rng.normal(size=(4, 3))], wrt=[0])


def test_backward_in_higher_order_leaves_a_gradient_with_a_graph() -> None:
    with higher_order():
        x = leaf(2.0)
        (x * x * x).sum().backward()
        slope = x.grad
        x.grad = None
        slope.sum().backward()

    assert slope.tolist() == [12.0]
    assert x.grad.tolist() == [12.0]


def test_a_graph_of_higher_order_needs_no_collector() -> None:
    with without_collector():
        with higher_order():
            x = leaf(2.0)
            y = x.exp()
            (slope,) = grad((y * y).sum(), [x])
            (curvature,) = grad(slope.sum(), [x])
        watched = [weakref.ref(each) for each in (y, slope, curvature)]
        del y, slope, curvature

        assert [each() for each in watched] == [None, None, None]
