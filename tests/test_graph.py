"""The backward graph: what a walk consumes, refuses, adds up, and leaves behind."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from autograph import Tensor, grad, is_recording, no_grad
from autograph.backends import NUMPY
from autograph.errors import GraphError, ShapeError
from autograph.op import REGISTRY, Op
from autograph.outline import Outline
from autograph.testing import check_gradient


def leaf(*values: float) -> Tensor:
    return Tensor(np.array(values), requires_grad=True)


@contextmanager
def without_collector() -> Iterator[None]:
    """Within the block only reference counts free anything."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# -- deep graphs, and how they die -------------------------------------------------------


def chain(x: Tensor, length: int) -> Tensor:
    y = x
    for _ in range(length):
        y = y + 1.0
    return y


def test_a_chain_of_50_000_ops_runs_backward() -> None:
    assert sys.getrecursionlimit() <= 1000
    x = leaf(1.0)
    chain(x, 50_000).sum().backward()

    assert x.grad.tolist() == [1.0]


def test_a_chain_of_50_000_ops_is_dropped() -> None:
    """Freed without recursion, walked before or not: not even the C stack would hold it."""
    with without_collector():
        x = leaf(1.0)
        before = len(gc.get_objects())
        y = chain(x, 50_000)
        y.backward(np.ones(1), retain_graph=True)
        assert len(gc.get_objects()) > before + 50_000
        del y

        assert len(gc.get_objects()) < before + 100
        assert x.grad.tolist() == [1.0]


def test_a_graph_that_is_not_walked_dies_with_its_tensor() -> None:
    with without_collector():
        x = leaf(1.0, 2.0)
        y = x.exp()
        inner = weakref.ref(y)
        z = (y * y).sum()
        del y
        assert inner() is None or z.requires_grad
        del z

        assert inner() is None


def test_arrays_are_freed_while_the_walk_proceeds() -> None:
    """When the gradient reaches the start, what later rules kept is gone."""
    alive: list[int] = []
    watched: list[weakref.ref[Any]] = []
    probe = Op("test_probe", "x")

    @probe.kernel(NUMPY)
    def probe_numpy(x):
        return x + 0.0

    @probe.gradient("x")
    def probe_dx(y, x):
        def rule(dy):
            alive.append(sum(each() is not None for each in watched))
            return dy

        return rule

    try:
        with without_collector():
            x = leaf(1.0, 2.0)
            y = probe(x)
            for _ in range(10):
                y = y * y
                watched.append(weakref.ref(y.array))
            loss = y.sum()
            del y
            loss.backward()
    finally:
        del REGISTRY["test_probe"]

    assert alive == [0]


def test_many_steps_leave_nothing_behind() -> None:
    """Neither objects nor versions nor plans pile up, after walks and after refused ones."""

    def step() -> None:
        x = leaf(1.0, 2.0, 3.0)
        y = (x * x).relu()
        loss = (y[1:] * y[:-1]).sum() + y.max()
        loss.backward()
        with pytest.raises(GraphError):
            loss.backward()
        with pytest.raises(ShapeError):
            x + Tensor(np.ones(7))

    for _ in range(3):
        step()
    with without_collector():
        before = len(gc.get_objects())
        for _ in range(200):
            step()
        after = len(gc.get_objects())

    assert after - before < 100


# -- a walk consumes the graph ---------------------------------------------------------------


def test_a_graph_can_be_walked_once() -> None:
    x = leaf(1.0)
    y = (x * x).sum()
    y.backward()

    with pytest.raises(GraphError, match="backward has run on this tensor already"):
        y.backward()
    assert x.grad.tolist() == [2.0]


def test_the_root_becomes_a_constant() -> None:
    x = leaf(1.0)
    total = Tensor(np.zeros(()))
    for _ in range(3):
        loss = (x * x).sum()
        loss.backward()
        total = total + loss

    assert not loss.requires_grad
    assert not total.requires_grad
    assert total.item() == 3.0
    assert x.grad.tolist() == [6.0]


@pytest.mark.parametrize("use", [lambda y: y + 1.0, lambda y: y.sum().backward()])
def test_a_spent_tensor_is_refused(use: Callable[[Tensor], Any]) -> None:
    x = leaf(1.0)
    y = x * x
    y.sum().backward()

    with pytest.raises(GraphError, match="multiply: backward has used up the graph"):
        use(y)
    assert y.tolist() == [1.0]
    assert y.detach().sum().item() == 1.0
    with no_grad():
        assert (y + 1.0).tolist() == [2.0]


def test_a_walk_into_a_spent_part_changes_nothing() -> None:
    x, w = leaf(1.0), leaf(5.0)
    shared = x * x
    first, second = (shared * 2.0).sum(), (shared * w).sum()
    first.backward()
    gradient = x.grad

    with pytest.raises(GraphError, match="used up"):
        second.backward()
    assert x.grad is gradient
    assert w.grad is None
    assert second.requires_grad  # it is not consumed either


def test_retain_graph_allows_another_walk() -> None:
    x = leaf(3.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()

    assert x.grad.tolist() == [18.0]
    with pytest.raises(GraphError):
        y.backward()


def test_a_failed_walk_changes_nothing() -> None:
    x, w = leaf(1.0), leaf(2.0)
    broken = Op("test_broken", "x")
    broken.kernel(NUMPY)(lambda x: x + 0.0)

    @broken.gradient("x")
    def broken_dx(y, x):
        def rule(dy):
            raise ZeroDivisionError("a rule fails")

        return rule

    try:
        w.grad = Tensor(np.array([7.0]))
        y = (broken(x * 2.0) * w).sum()
        with pytest.raises(ZeroDivisionError):
            y.backward()
    finally:
        del REGISTRY["test_broken"]

    assert x.grad is None
    assert w.grad.tolist() == [7.0]
    assert is_recording()


def test_a_tensor_without_a_graph_is_refused() -> None:
    with pytest.raises(GraphError, match="records no graph"):
        Tensor([1.0]).sum().backward()
    with no_grad():
        y = leaf(1.0).sum()
    with pytest.raises(GraphError, match="made under no_grad"):
        y.backward()


def test_a_leaf_can_be_walked_from_again_and_again() -> None:
    x = leaf(1.0)
    x.backward()
    x.backward(np.array([2.0]))

    assert x.grad.tolist() == [3.0]


# -- sums of gradients -------------------------------------------------------------------


def test_a_diamond_adds_both_ways() -> None:
    check_gradient(lambda x: (x * 2.0 + x.exp() * x).sum(), [np.array([0.3, -0.7])])


def test_an_intermediate_used_often_adds_all_its_uses() -> None:
    def function(x: Tensor) -> Tensor:
        y = x.tanh()
        z = y + y
        for _ in range(4):
            z = z * y + x
        return z.sum() + y.sum() + x.sum()

    check_gradient(function, [np.array([0.3, -0.7])])


@pytest.mark.parametrize("scalar_type", ["f32", "f64"])
def test_gradients_that_lie_otherwise_are_added_as_well(scalar_type: str) -> None:
    rng = np.random.default_rng(0)
    x = Tensor(rng.normal(size=(3, 3)), scalar_type=scalar_type, requires_grad=True)
    weights = [Tensor(rng.normal(size=(3, 3)), scalar_type=scalar_type) for _ in range(5)]
    plain, turned = x * weights[0] + x * weights[1], x.T * weights[2] + x.T * weights[3]
    (x.T @ weights[4] + plain + turned + plain).sum().backward()

    a, b, c, d, e = (weight.numpy() for weight in weights)
    expected = 2 * (a + b) + (c + d).T + e.sum(axis=1, keepdims=True)
    assert x.grad is not None
    np.testing.assert_allclose(expected, x.grad.numpy(), rtol=1e-5)


def test_gradients_are_never_added_into_memory_that_others_see() -> None:
    """`add` hands one gradient to both sides: neither may see what is added to the other."""
    a, b = leaf(1.0, 1.0), leaf(1.0, 1.0)
    c = a + b
    (c + a * 3.0 + c).sum().backward()

    assert a.grad.tolist() == [5.0, 5.0]
    assert b.grad.tolist() == [2.0, 2.0]
    assert not np.may_share_memory(a.grad.numpy(), b.grad.numpy())


def test_a_seed_is_neither_changed_nor_shared() -> None:
    seed = np.ones(2)
    x = leaf(1.0, 2.0)
    x.backward(seed)
    x.backward(seed)
    x.grad[...] = 9.0

    assert seed.tolist() == [1.0, 1.0]
    given = Tensor(np.ones(2))
    y = leaf(1.0, 2.0)
    (y + 0.0).backward(given)
    y.grad[...] = 9.0
    assert given.tolist() == [1.0, 1.0]


def test_walks_accumulate_until_the_gradient_is_taken() -> None:
    x = leaf(1.0, 2.0)
    (x * 2.0).sum().backward()
    first = x.grad
    (x * 3.0).sum().backward()

    assert first.tolist() == [2.0, 2.0]  # what somebody holds does not change
    assert x.grad.tolist() == [5.0, 5.0]
    x.grad = None
    (x * 4.0).sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]


def test_parts_of_a_tensor_add_into_one_gradient() -> None:
    x = Tensor(np.arange(12.0).reshape(3, 4), requires_grad=True)
    y = x[0] + x[1] * 2.0 + x[1, 1:2] + x[:, 0].sum()
    y.sum().backward()

    assert x.grad.tolist() == [[5.0, 1, 1, 1], [6.0, 6, 2, 2], [4.0, 0, 0, 0]]


def test_a_seed_of_any_shape() -> None:
    x = leaf(1.0, 2.0, 3.0)
    (x * x).backward(np.array([1.0, 10.0, 100.0]))

    assert x.grad.tolist() == [2.0, 40.0, 600.0]


def test_a_seed_that_does_not_fit_is_refused() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(ShapeError, match="only a scalar needs no gradient"):
        (x * x).backward()
    with pytest.raises(ShapeError, match="the gradient is not like the tensor"):
        (x * x).backward(np.ones(3))
    assert x.grad is None


# -- grad ----------------------------------------------------------------------------------


def test_grad_answers_and_adds_nothing() -> None:
    x, w, other = leaf(2.0), leaf(3.0), leaf(1.0)
    dx, dw, none = grad((x * x * w).sum(), [x, w, other])

    assert dx.tolist() == [12.0]
    assert dw.tolist() == [4.0]
    assert none is None
    assert x.grad is w.grad is None


def test_grad_of_an_intermediate() -> None:
    x = leaf(2.0)
    y = x * x
    (dy,) = grad((y * y).sum(), [y])

    assert dy.tolist() == [8.0]


def test_grad_of_what_is_in_no_graph_is_refused() -> None:
    x = leaf(2.0)
    with pytest.raises(GraphError, match=r"wrt\[1\] is not part of a graph"):
        grad((x * x).sum(), [x, Tensor([1.0])])


def test_grad_consumes_its_graph_too() -> None:
    x = leaf(2.0)
    y = (x * x).sum()
    grad(y, [x])

    with pytest.raises(GraphError):
        grad(y, [x])


# -- ops of somebody else ------------------------------------------------------------------


@pytest.fixture
def doubling() -> Iterator[Op]:
    op = Op("test_doubling", "x")
    op.outlined_by(lambda x: x.like())
    yield op
    del REGISTRY["test_doubling"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda x: x[:1], r"the kernel returns another shape.*\n.*\(2, 3\)\n.*\(1, 3\)"),
        (lambda x: None, "the kernel returns no array"),
        (lambda x: [x, x], "the kernel returns no array"),
    ],
)
def test_a_kernel_that_breaks_its_outline_is_refused(doubling: Op, answer: Any, told: str) -> None:
    doubling.kernel(NUMPY)(answer)
    for x in (Tensor(np.ones((2, 3))), np.ones((2, 3))):
        with pytest.raises(ShapeError, match=told):
            doubling(x)


def test_a_gradient_that_breaks_its_input_is_refused(doubling: Op) -> None:
    doubling.kernel(NUMPY)(lambda x: 2 * x)
    doubling.gradient("x")(lambda y, x: lambda dy: dy[0])
    x = Tensor(np.ones((2, 3)), requires_grad=True)

    with pytest.raises(ShapeError, match=r"a gradient rule returns another shape"):
        doubling(x).sum().backward()
    assert x.grad is None


def test_what_an_op_promises_is_looked_at_once(doubling: Op) -> None:
    doubling.kernel(NUMPY)(lambda x: 2 * x)
    doubling.gradient("x")(lambda y, x: lambda dy: np.float64(2) * dy)
    plan = doubling.plan([Outline.of(np.ones(3, np.float32))], {})
    before = plan.kernel
    for _ in range(2):
        x = Tensor(np.ones(3, np.float32), requires_grad=True)
        doubling(x).sum().backward()

        assert ("f32", [2.0, 2.0, 2.0]) == (str(x.grad.scalar_type), x.grad.tolist())
    assert plan.kernel is not before
