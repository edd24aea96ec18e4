"""NaN, infinities, huge and tiny numbers give what they give in PyTorch, in the same places."""

from __future__ import annotations

from math import fsum
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed:  pip install torch")

from autograph import Tensor, ops  # noqa: E402
from autograph.errors import NumericError  # noqa: E402

from .cases import TORCH_TYPES  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

VALUES = [
    0.0, -0.0, 1.0, -1.0, 2.5, -3.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 1e-30, 1e4, -88.0,
    1e-42,
]  # fmt: skip
UNARY = [
    "abs", "sign", "square", "reciprocal", "sqrt", "rsqrt", "exp", "exp2", "expm1", "log", "log1p",
    "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh",
    "acosh", "atanh", "erf", "erfc", "sigmoid", "logsigmoid", "relu", "floor", "ceil", "round",
    "trunc", "negative", "isnan", "isinf", "isfinite", "hardswish",
]  # fmt: skip
BINARY = [
    "add", "subtract", "multiply", "divide", "floor_divide", "remainder", "power", "maximum",
    "minimum", "hypot", "atan2", "logaddexp", "equal", "not_equal", "less", "less_equal", "greater",
    "greater_equal", "logical_and", "logical_or",
]  # fmt: skip
# What is ours on purpose: values, and gradients.
OWN_VALUES = {
    "sign": "of NaN is NaN, which PyTorch hides behind 0",
    "remainder": "is exact in f32 where the quotient overflows; NaN in PyTorch",
}
OWN_GRADIENTS = {
    "abs": "at NaN is NaN, as the sign",
    "hardswish": "at NaN is NaN, which PyTorch hides behind 1",
    "hypot": "is 0 at (0, 0); NaN in PyTorch",
    "atan2": "is exact where a square would vanish; 0 in PyTorch",
    "floor_divide": "is 0; PyTorch has none",
    **OWN_VALUES,
}
TYPES = np.float32, np.float64


def compare(
    name: str, expected: Any, found: Tensor, absolute: float = 1e-37, exact: Any = None
) -> None:
    """Refuse what is not as PyTorch's value, nor as the exact one where that is given."""
    want, got = expected.detach().numpy().astype(np.float64), found.numpy().astype(np.float64)
    tolerance = 1.3e-6 if found.dtype == np.float32 else 1e-9
    with np.errstate(all="ignore"):
        close = (np.abs(got - want) <= tolerance * np.abs(want) + absolute) | (got == want)
    close |= np.isnan(got) & np.isnan(want)
    if exact is not None:
        close |= np.abs(got - exact) <= tolerance * np.abs(exact)
    assert close.all(), (
        f"{name}: {got[~close][:5]} is not {want[~close][:5]} at {np.argwhere(~close)[:5].T}"
    )


def torch_function(name: str) -> Any:
    if name in ("logsigmoid", "hardswish"):
        return getattr(torch.nn.functional, name)
    return getattr(torch, {"equal": "eq", "power": "pow"}.get(name, name))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", UNARY)
def test_extremes_of_one_variable(name: str, dtype: Any) -> None:
    array = np.array(VALUES, dtype)
    x, other = Tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
    y, expected = getattr(ops, name)(x), torch_function(name)(other)
    if name not in OWN_VALUES:
        compare(name, expected, y)
    if expected.requires_grad and name not in OWN_GRADIENTS:
        y.backward(np.ones(y.shape, dtype))
        expected.sum().backward()
        compare(f"the gradient of {name}", other.grad, x.grad, 1e-6)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", BINARY)
def test_extremes_of_two_variables(name: str, dtype: Any) -> None:
    first, second = (each.ravel() for each in np.meshgrid(*[np.array(VALUES, dtype)] * 2))
    mine = [Tensor(each, requires_grad=True) for each in (first, second)]
    others = [torch.tensor(each, requires_grad=True) for each in (first, second)]
    y, expected = getattr(ops, name)(*mine), torch_function(name)(*others)
    if name not in OWN_VALUES:
        compare(name, expected, y)
    if expected.requires_grad and name not in OWN_GRADIENTS:
        y.backward(np.ones(y.shape, dtype))
        expected.sum().backward()
        for each, other in zip(mine, others, strict=True):
            compare(f"the gradient of {name}", other.grad, each.grad, 1e-6)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("sum", lambda x: x.sum(1)),
        ("mean", lambda x: x.mean(1)),
        ("prod", lambda x: x.prod(1)),
        ("max", lambda x: x.amax(1)),
        ("min", lambda x: x.amin(1)),
        ("argmax", lambda x: x.argmax(1)),
        ("argmin", lambda x: x.argmin(1)),
        ("any", lambda x: x.any(1)),
        ("all", lambda x: x.all(1)),
        ("logsumexp", lambda x: x.logsumexp(1)),
        ("softmax", lambda x: x.softmax(1)),
        ("log_softmax", lambda x: x.log_softmax(1)),
        ("cumsum", lambda x: x.cumsum(1)),
        ("cumprod", lambda x: x.cumprod(1)),
        ("sort", lambda x: x.sort(dim=1, stable=True)[0]),
        ("argsort", lambda x: x.argsort(dim=1, stable=True)),
        ("var", lambda x: x.var(1, correction=0)),
        ("norm", lambda x: x.norm(dim=1)),
        ("std", lambda x: x.std(1, correction=0)),
    ],
)
def test_extremes_in_a_row(name: str, theirs: Any, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    rows = rng.choice(np.array(VALUES), size=(60, 4)).astype(dtype)
    rows[:4] = [[1e4, -1e4, 0, 3e4], [3e38, -3e38, 0, 0], [-np.inf] * 4, [0, 0, np.nan, 1]]
    exact = None
    if name in ("sum", "mean"):  # of [-3, -1e30, 1e30]: 0 or -3, as the order of the sum goes
        sums = [fsum(row) if np.isfinite(row).all() else np.nan for row in rows.astype(np.float64)]
        exact = np.array(sums) / (4 if name == "mean" else 1)
    expected, found = theirs(torch.tensor(rows)), getattr(ops, name)(Tensor(rows), axis=1)
    compare(name, expected, found, exact=exact)


@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_extremes_of_running_extremes(name: str) -> None:
    rows = np.random.default_rng(0).choice(np.array(VALUES), size=(60, 5))
    for expected, found in zip(
        getattr(torch.tensor(rows), name)(1), getattr(ops, name)(Tensor(rows), axis=1), strict=True
    ):
        compare(name, expected, found)


@pytest.mark.parametrize("scalar_type", ["f32", "f64", "f16"])
def test_numbers_stand_in_for_nan_and_infinity(scalar_type: str) -> None:
    x = Tensor([1.0, np.nan, np.inf, -np.inf], scalar_type=scalar_type)
    other = torch.tensor(x.numpy())

    assert np.array_equal(torch.nan_to_num(other).numpy(), ops.nan_to_num(x).numpy())
    assert np.array_equal(
        torch.nan_to_num(other, 2.0, 3.0, 4.0).numpy(), ops.nan_to_num(x, 2.0, 3.0, 4.0).numpy()
    )


@pytest.mark.parametrize("scalar_type", ["f32", "f64", "bf16"])
def test_the_next_value_is_torchs_to_the_bit(scalar_type: str) -> None:
    a, b = (each.ravel() for each in np.meshgrid(np.array(VALUES), np.array(VALUES)))
    x, y = (Tensor(each, scalar_type=scalar_type) for each in (a, b))
    dtype = TORCH_TYPES[scalar_type]
    expected = torch.nextafter(torch.tensor(a).to(dtype), torch.tensor(b).to(dtype)).double()

    found = ops.nextafter(x, y).cast("f64").numpy()
    np.testing.assert_array_equal(found, expected.numpy())
    signs = [np.signbit(each[~np.isnan(found)]) for each in (found, expected.numpy())]
    assert np.array_equal(*signs)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_matrices_that_are_not_finite_are_refused_or_give_nan(value: float) -> None:
    array = np.random.default_rng(0).normal(size=(2, 3, 3))
    array[1, 0, 2] = value
    x, other = Tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
    ops.det(x).sum().backward()
    torch.linalg.det(other).sum().backward()

    np.testing.assert_allclose(x.grad.numpy()[0], other.grad.numpy()[0], atol=1e-12)
    assert np.isnan(x.grad.numpy()[1]).all()
    for op in (ops.svd, ops.svdvals, ops.pinv, ops.eigh, ops.matrix_rank):  # LAPACK may not end
        with pytest.raises(NumericError, match="x holds NaN or infinity"):
            op(x)
