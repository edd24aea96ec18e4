"""The namespace beside `array-api-strict`, the standard's own minimal implementation: names,
signatures, scalar types and values of every function, over scalar types and shapes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

strict = pytest.importorskip(
    "array_api_strict", reason="the referee is not installed:  pip install array-api-strict"
)

from autograph import Tensor, ops  # noqa: E402
from autograph import namespace as ours  # noqa: E402
from autograph.errors import AutographError  # noqa: E402

# What the standard has and the namespace has not, and why.
LEFT_OUT = {
    "complex64": "there are no complex numbers",
    "complex128": "there are no complex numbers",
    "conj": "there are no complex numbers",
    "fft": "there are no complex numbers",
    "imag": "there are no complex numbers",
    "real": "there are no complex numbers",
}
OWN = ("ArrayAPIStrictFlags", "Device", "flags")  # of the referee, not of the standard
NAMES = sorted(
    name for name in strict.__all__ if name[0] != "_" and not any(own in name for own in OWN)
)
WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float32", "float64")
RNG = np.random.default_rng(0)

ONE = (
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bitwise_invert", "ceil", "cos",
    "cosh", "exp", "expm1", "floor", "isfinite", "isinf", "isnan", "log", "log10", "log1p", "log2",
    "logical_not", "negative", "positive", "reciprocal", "round", "sign", "signbit", "sin", "sinh",
    "sqrt", "square", "tan", "tanh", "trunc", "all", "any", "argmax", "argmin", "count_nonzero",
    "max", "mean", "min", "prod", "std", "sum", "var", "cumulative_sum", "cumulative_prod",
    "argsort", "sort", "diff", "flip", "nonzero", "roll", "tril", "triu", "unique_values",
    "unique_counts", "unique_inverse", "unique_all", "matrix_transpose", "zeros_like", "ones_like",
    "empty_like",
)  # fmt: skip
TWO = (
    "add", "atan2", "bitwise_and", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift",
    "bitwise_xor", "copysign", "divide", "equal", "floor_divide", "greater", "greater_equal",
    "hypot", "less", "less_equal", "logaddexp", "logical_and", "logical_or", "logical_xor",
    "maximum", "minimum", "multiply", "nextafter", "not_equal", "pow", "remainder", "subtract",
    "isin",
)  # fmt: skip
SETTINGS = {"cumulative_sum": {"axis": 0}, "cumulative_prod": {"axis": 0}, "roll": {"shift": 1}}
MATRICES = (
    "cholesky", "det", "eigvalsh", "inv", "matrix_norm", "matrix_rank", "pinv", "slogdet",
    "svdvals", "trace",
)  # fmt: skip


def test_what_is_left_out_is_said() -> None:
    assert LEFT_OUT.keys() == set(NAMES) - set(ours.__all__)
    assert set(strict.linalg.__all__) == set(vars(ours.linalg))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LEFT_OUT])
def test_a_signature_is_the_standards(name: str) -> None:
    theirs, own = getattr(strict, name), getattr(ours, name)
    if not inspect.isfunction(theirs):
        return

    def told(function: Any) -> list[tuple[str, Any]]:
        return [(each.name, each.kind) for each in inspect.signature(function).parameters.values()]

    assert told(theirs) == told(own)


def drawn(dtype: str, *shape: int) -> np.ndarray[Any, Any]:
    if dtype == "bool":
        return RNG.integers(0, 2, size=shape) > 0
    if dtype in WHOLE:
        return RNG.integers(1, 5, size=shape).astype(dtype)
    return RNG.uniform(0.1, 0.9, size=shape).astype(dtype)


def compare(name: str, theirs: Any, own: Any) -> None:
    pairs = [(theirs, own)]
    if isinstance(theirs, tuple | list):
        assert len(theirs) == len(own), name
        pairs = list(zip(theirs, own, strict=True))
    for a, b in pairs:
        expected, found = np.asarray(a), b.numpy()
        assert (expected.dtype, expected.shape) == (found.dtype, found.shape), name
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6, err_msg=name)


def answers(name: str, *arrays: Any, room: str = "", **settings: Any) -> Iterator[tuple[Any, Any]]:
    """(The referee's answer, ours), where the referee gives one."""
    theirs, own = (getattr(each, room) if room else each for each in (strict, ours))
    try:
        expected = getattr(theirs, name)(*map(strict.asarray, arrays), **settings)
    except (TypeError, ValueError):
        return  # a type that the standard does not ask for
    try:
        yield expected, getattr(own, name)(*map(Tensor, arrays), **settings)
    except AutographError as error:
        raise AssertionError(f"{name}{[x.dtype for x in arrays]}: {error}") from error


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the referee's, of acosh below 1
@pytest.mark.parametrize("dtype", ["bool", *WHOLE, *FLOATS])
@pytest.mark.parametrize("name", ONE)
def test_functions_of_one_array(name: str, dtype: str) -> None:
    for shape in ((3, 4), (5,), (2, 1, 3)):
        for expected, found in answers(name, drawn(dtype, *shape), **SETTINGS.get(name, {})):
            if name != "empty_like":
                compare(name, expected, found)


@pytest.mark.parametrize("name", TWO)
def test_functions_of_two_arrays(name: str) -> None:
    for first in ("bool", *WHOLE, *FLOATS):
        for second in ("bool", *WHOLE, *FLOATS):
            for expected, found in answers(name, drawn(first, 3, 4), drawn(second, 4)):
                compare(f"{name} of {first} and {second}", expected, found)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", MATRICES)
def test_linear_algebra(name: str, dtype: str) -> None:
    a = RNG.normal(size=(2, 3, 3))
    x = (a @ a.swapaxes(-1, -2) + 2 * np.eye(3)).astype(dtype)
    for expected, found in answers(name, x, room="linalg"):
        compare(name, expected, found)


@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 2), (2, 5)])
def test_decompositions_give_the_matrix_again(shape: tuple[int, ...]) -> None:
    x = Tensor(RNG.normal(size=shape))
    q, r = ours.linalg.qr(x)
    u, s, vh = ours.linalg.svd(x, full_matrices=False)
    values, vectors = ours.linalg.eigh(x @ x.mT)

    for again in (q @ r, (u * s[..., None, :]) @ vh):
        np.testing.assert_allclose(again.numpy(), x.numpy(), atol=1e-12)
    np.testing.assert_allclose(
        ((vectors * values[..., None, :]) @ vectors.mT).numpy(), (x @ x.mT).numpy(), atol=1e-12
    )


def test_products() -> None:
    a, b = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3))

    np.testing.assert_allclose(ours.linalg.cross(Tensor(a), Tensor(b)).numpy(), np.cross(a, b))
    x = RNG.normal(size=(2, 3, 3))
    for n in (-2, 0, 1, 5):
        np.testing.assert_allclose(
            ours.linalg.matrix_power(Tensor(x), n).numpy(), np.linalg.matrix_power(x, n), atol=1e-9
        )


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32"])
def test_products_have_the_scalar_type_of_their_operands(dtype: str) -> None:
    a, b = RNG.integers(0, 20, size=(2, 3, 4)).astype(dtype)

    for equation, arrays in (("ij,ij->i", (a, b)), ("ij->", (a,)), ("ij,kl->j", (a, b))):
        expected = np.einsum(equation, *arrays)
        found = ops.einsum(equation, *[Tensor(each) for each in arrays]).numpy()
        np.testing.assert_array_equal(found, expected)
        assert expected.dtype == found.dtype
    found = ours.vecdot(Tensor(a), Tensor(b)).numpy()
    np.testing.assert_array_equal(found, np.vecdot(a, b))
    assert a.dtype == found.dtype
