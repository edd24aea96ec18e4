"""Scalar types, literals and sums: nothing drifts to float64, nothing loses its digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed:  pip install torch")

from autograph import Tensor, no_grad, ops  # noqa: E402
from autograph.errors import AutographError, ScalarTypeError  # noqa: E402

from .cases import FLOATS, TORCH_TYPES, WHOLE, array_of  # noqa: E402

OPERATORS: dict[str, Any] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "**": lambda a, b: a**b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
LITERALS = (2, 3.5, np.float64(2.5), np.float32(2.5), np.int64(3), np.int8(2))


@pytest.mark.parametrize("scalar_type", [*FLOATS, *WHOLE])
@pytest.mark.parametrize("symbol", OPERATORS)
def test_literals_on_either_side(symbol: str, scalar_type: str) -> None:
    operator = OPERATORS[symbol]
    values = np.array([[1, 2, 3], [4, 5, 6]])
    for shape in ((2, 3), ()):
        x = Tensor(values if shape else values[1, 1], scalar_type=scalar_type)
        other = torch.tensor(values if shape else values[1, 1]).to(TORCH_TYPES[scalar_type])
        for literal in LITERALS:
            number = literal.item() if isinstance(literal, np.generic) else literal
            for mine, theirs in (
                (operator(x, literal), operator(other, number)),
                (operator(literal, x), operator(number, other)),
            ):
                assert TORCH_TYPES[mine.scalar_type.value] is theirs.dtype, (symbol, literal, shape)
                expected = array_of(theirs).astype(np.float64)
                close = np.allclose(mine.numpy().astype(np.float64), expected, rtol=1.6e-2)
                assert close, (symbol, literal, shape)


@pytest.mark.parametrize("scalar_type", FLOATS)
def test_nothing_drifts_to_float64(scalar_type: str) -> None:
    """Values and gradients keep the scalar type beside numbers, NumPy scalars and 0-d tensors."""
    for beside in (2, 2.5, np.float64(2.5), np.int64(2), Tensor(np.array(2.5)), np.array(2.5)):
        x = Tensor([1.0, 2.0], scalar_type=scalar_type, requires_grad=True)
        for name in ("add", "subtract", "multiply", "divide", "power", "maximum", "where", "lerp"):
            inputs = {"where": (x > 1, x, beside), "lerp": (x, x, beside)}.get(name, (x, beside))
            y = getattr(ops, name)(*inputs)
            assert y.scalar_type is x.scalar_type, (name, beside)
            x.grad = None
            y.sum().backward()
            assert x.grad is not None
            assert x.grad.scalar_type is x.scalar_type, (name, beside)


@pytest.mark.parametrize("scalar_type", FLOATS)
@pytest.mark.parametrize("truth", [True, False])
def test_a_condition_may_be_a_literal(truth: bool, scalar_type: str) -> None:
    x = Tensor([1.0, 2.0], scalar_type=scalar_type)

    assert ops.where(truth, x, 5).tolist() == ([1.0, 2.0] if truth else [5.0, 5.0])
    assert ops.masked_fill(x, truth, 5.0).tolist() == ([5.0, 5.0] if truth else [1.0, 2.0])


def test_integers_divided_by_zero_are_refused() -> None:
    for operator in (lambda a, b: a // b, lambda a, b: a % b):
        with pytest.raises(ZeroDivisionError, match="divided by zero"):
            operator(Tensor([1, 2]), Tensor([1, 0]))
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            operator(torch.tensor([1, 2]), torch.tensor([1, 0]))


def test_masks_are_not_computed_with_where_torch_refuses_it() -> None:
    mask = Tensor([True, False])
    for refused in (
        lambda: mask - mask,
        lambda: -mask,
        lambda: abs(mask),
        lambda: mask // mask,
        lambda: mask % mask,
        lambda: mask**mask,
        lambda: ops.floor(mask),
        lambda: Tensor([1.0]) & mask,
    ):
        with pytest.raises(ScalarTypeError):
            refused()


def test_what_does_not_fit_is_refused() -> None:
    x = Tensor(np.zeros((2, 3)))
    for refused in (
        lambda: x + Tensor(np.zeros((2, 2))),
        lambda: x[2],
        lambda: x[[0, 2]],
        lambda: x[Tensor([True, False, True])],
        lambda: x[[0, 1], [0, 1, 2]],
        lambda: x[True],
        lambda: x.sum(2),
        lambda: x.cumsum(),
        lambda: x.topk(4),
        lambda: x.reshape(7),
        lambda: x.split(2, axis=1),
        lambda: x.squeeze(0),
        lambda: Tensor(1.0).split(1),
        lambda: Tensor(1.0).chunk(1),
        lambda: Tensor(1.0).unbind(),
        lambda: ops.take(x, 9),
        lambda: ops.linear_back(x, x, Tensor(np.zeros((3, 4)))),
        lambda: x.pad(3, mode="reflect"),
        lambda: x.inv(),
        lambda: ops.einsum("ij,jk->ik", x, x),
        lambda: ops.einsum("ij->k", x),
        lambda: x.take_along_axis(Tensor([[0]])),
        lambda: ops.one_hot(Tensor([5]), classes=3),
        lambda: Tensor([1], scalar_type="u64") + Tensor([1]),
        lambda: Tensor([1, 2]) ** -1,
        lambda: Tensor([1], scalar_type="u8") + 300,
    ):
        with pytest.raises(AutographError):
            refused()


@pytest.mark.parametrize("shape", [(1 << 24,), (1 << 23, 2), (2, 1 << 23), (1 << 12, 4, 1 << 10)])
def test_a_long_sum_keeps_its_digits(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random(shape, dtype=np.float32)
    for axis in (None, 0, -1):
        expected = x.sum(axis=axis, dtype=np.float64)
        with no_grad():
            tensor = Tensor.borrow(x)
            total, mean = tensor.sum(axis), tensor.mean(axis)
        count = x.size / expected.size
        assert np.allclose(total.numpy(), expected, rtol=1e-6, atol=0)
        assert np.allclose(mean.numpy(), expected / count, rtol=1e-6, atol=0)


@pytest.mark.parametrize("scalar_type", ["bf16", "f16"])
def test_halves_are_summed_in_f32(scalar_type: str) -> None:
    x = Tensor(np.full(4096, 0.5, np.float32), scalar_type=scalar_type)

    assert (2048.0, 0.5) == (x.sum().item(), x.mean().item())
    assert 1024.0 == (x * x).sum().item()
    assert 32.0 == x.norm().item()


def test_integer_means_and_sums() -> None:
    x = Tensor([250, 250], scalar_type="u8")

    assert ("u64", 500) == (x.sum().scalar_type.value, x.sum().item())
    assert ("f32", 250.0) == (x.mean().scalar_type.value, x.mean().item())
    assert ("i64", 2) == ((x > 1).sum().scalar_type.value, (x > 1).sum().item())
