"""Derivatives of functions against torch's and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import Tensor, ops
from autograph.errors import GraphError, ScalarTypeError, ShapeError
from autograph.layers import Dense

RNG = np.random.default_rng(0)
X, A = RNG.normal(size=3), RNG.normal(size=(2, 3))
V, W = RNG.normal(size=3), RNG.normal(size=(2, 3))


def curve(x: Any, a: Any) -> Any:
    return (a @ x).tanh()


def test_a_jacobian_is_by_outputs_then_inputs() -> None:
    slope = 1 - np.tanh(A @ X) ** 2

    dx, da = ag.jacobian(curve, X, A)

    np.testing.assert_allclose(dx.numpy(), slope[:, None] * A)
    np.testing.assert_allclose(da.numpy(), np.einsum("i,ij,k->ijk", slope, np.eye(2), X))


def test_products_are_those_of_the_jacobian() -> None:
    dx, da = (each.numpy() for each in ag.jacobian(curve, X, A))

    y, pull = ag.vjp(curve, X, A)
    by_x, by_a = pull(Tensor([2.0, -1.0], scalar_type="f64"))
    _, dy = ag.jvp(curve, (X, A), (V, W))

    np.testing.assert_allclose(y.numpy(), np.tanh(A @ X))
    np.testing.assert_allclose(by_x.numpy(), np.array([2, -1]) @ dx)
    np.testing.assert_allclose(by_a.numpy(), np.tensordot([2, -1], da, 1))
    np.testing.assert_allclose(dy.numpy(), dx @ V + np.tensordot(da, W, 2))
    assert not dy.requires_grad


def test_a_pull_can_be_called_again() -> None:
    _, pull = ag.vjp(lambda x: x * x, [1.0, 2.0])

    assert [2.0, 4.0] == pull([1.0, 1.0]).tolist() == pull([1.0, 1.0]).tolist()


def test_derivatives_are_torchs() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    functional = torch.autograd.functional

    def number(x: Any, a: Any) -> Any:
        return (curve(x, a) ** 2).sum() + (x[0] * x[1]).exp()

    theirs = tuple(map(torch.tensor, (X, A)))
    for row, expected in zip(
        ag.hessian(number, X, A), functional.hessian(number, theirs), strict=True
    ):
        for found, wanted in zip(row, expected, strict=True):
            np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-10, atol=1e-12)
    _, expected = functional.jvp(number, theirs, tuple(map(torch.tensor, (V, W))))
    np.testing.assert_allclose(ag.jvp(number, (X, A), (V, W))[1].numpy(), expected.numpy())


def test_several_outputs_and_constants_have_derivatives() -> None:
    both, none = ag.jacobian(lambda x: (x * 2, Tensor([1.0, 1.0])), [1.0, 2.0])

    assert [[2.0, 0.0], [0.0, 2.0]] == both.tolist()
    assert [[0.0, 0.0], [0.0, 0.0]] == none.tolist()
    assert (0, 2) == ag.jacobian(lambda x: x[:0], [1.0, 2.0]).shape
    assert [[0.0, 0.0], [0.0, 0.0]] == ag.hessian(lambda x: x.sum(), [1.0, 2.0]).tolist()


def test_what_holds_no_floats_has_none() -> None:
    rows = ag.jacobian(lambda x, i: x[i], [1.0, 2.0], Tensor([1]))

    assert [[0.0, 1.0]] == rows[0].tolist()
    assert rows[1] is None


def test_a_layer_is_a_function_and_its_parameters_get_nothing() -> None:
    dense = Dense.builder(inputs=3, outputs=2).build()

    found = ag.jacobian(dense, RNG.normal(size=3).astype(np.float32))

    np.testing.assert_allclose(found.numpy(), dense.weight.numpy().T)
    assert dense.weight.grad is None


def test_in_higher_order_derivatives_are_differentiated_again() -> None:
    with ag.higher_order():
        x = Tensor(2.0, requires_grad=True)
        slope = ag.jacobian(lambda x: x**3, x)
        (curvature,) = ag.grad(slope, [x])

    assert curvature is not None
    assert (12.0, 12.0) == (slope.item(), curvature.item())


@pytest.mark.parametrize("function", [
    ops.tanh,
    ops.softmax,
    lambda x: x**1.5,
    lambda x: ops.layer_norm(x, None, None),
    lambda x: ops.eigh(x)[1] * ops.eigh(x)[0],
    lambda x: ops.qr(x)[0],
    lambda x: ops.svd(x)[0],
])  # fmt: skip
def test_each_derivative_is_the_slope_of_the_one_before(function: Any) -> None:
    start, *ways = np.random.default_rng(0).normal(size=(5, 3, 3))
    start = np.exp(start)

    def derivatives(array: Any) -> list[float]:
        x, found = Tensor(array, requires_grad=True), []
        with ag.higher_order():
            y = (function(x) * Tensor(ways[0])).sum()
            for way in (*ways[1:], None):
                found.append(y.item())
                y = (ag.grad(y, [x])[0] * Tensor(way)).sum() if way is not None else None
        return found

    _, *slopes = derivatives(start)
    for at, way in enumerate(ways[1:]):
        ahead, behind = (derivatives(start + step * way)[at] for step in (1e-5, -1e-5))
        np.testing.assert_allclose(slopes[at], (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-6)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="the function answers one number"):
        ag.hessian(lambda x: x * x, [1.0, 2.0])
    with pytest.raises(ShapeError, match="every input has a tangent"):
        ag.jvp(lambda x: x, ([1.0],), ())
    with pytest.raises(ShapeError, match="the gradient is not like the tensor"):
        ag.vjp(lambda x: x, [1.0])[1]([1.0, 2.0])


def test_what_answers_no_tensor_is_refused_and_one_tensor_may_stand_for_a_list() -> None:
    with pytest.raises(ScalarTypeError, match="answers tensors, and not a int"):
        ag.vjp(lambda x: 3, X)

    x = Tensor([1.0, 2.0], requires_grad=True)
    (dx,) = ag.grad((x * x).sum(), x)
    assert dx is not None
    assert [2.0, 4.0] == dx.tolist()


def test_recording_may_be_off() -> None:
    with ag.no_grad():
        assert [2.0] == ag.vjp(lambda x: x * x, [1.0])[1]([1.0]).tolist()
        assert not ag.is_recording()


def test_a_graph_recorded_outside_is_refused_inside_of_higher_order() -> None:
    _, pull = ag.vjp(lambda x: x * x, [1.0])

    with ag.higher_order(), pytest.raises(GraphError, match="outside of higher_order"):
        pull([1.0])
