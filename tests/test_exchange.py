"""Other libraries see a tensor's memory, and tensors see theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import Tensor, namespace, ops
from autograph.errors import AutographError, DeviceError, SettingsError

xp = namespace
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("scalar_type", ["f16", "f32", "f64", "i8", "i32", "i64", "u8", "bool"])
def test_numpy_and_tensors_share_memory(scalar_type: str) -> None:
    x = ag.zeros((2, 3), scalar_type=scalar_type).T

    array = np.from_dlpack(x)
    array[1, 0] = 1
    back = ag.from_dlpack(array)
    back[2, 1] = 1

    assert (3, 2) == array.shape
    assert [[0, 0], [1, 0], [0, 1]] == x.cast("i64").tolist() == back.cast("i64").tolist()
    assert (1, 0) == x.__dlpack_device__()


def test_torch_and_tensors_share_memory() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = ag.zeros((2, 3))

    theirs = torch.from_dlpack(x)
    theirs[0, 1] = 5
    ours = ag.from_dlpack(theirs)
    ours[1, 2] = 7

    assert [[0, 5, 0], [0, 0, 7]] == x.tolist() == theirs.tolist() == ours.tolist()
    assert torch.float32 is theirs.dtype


def test_copies_are_made_where_they_are_asked() -> None:
    array = np.zeros(2, np.float32)
    ag.from_dlpack(array, copy=True)[0] = 1

    assert 0 == array[0]
    with pytest.raises(BufferError, match="bf16 is not exported"):
        np.from_dlpack(Tensor([1.0], scalar_type="bf16"))
    with pytest.raises(DeviceError, match="another device wants a copy"):
        ag.from_dlpack(array, device="cuda", copy=False)
    with pytest.raises(AutographError, match="not exported"):
        ag.from_dlpack(np.zeros(2, "f4").view("<V4"))


def test_a_tensor_on_the_host_is_no_cuda_array() -> None:
    assert not hasattr(Tensor([1.0]), "__cuda_array_interface__")


@pytest.mark.device
def test_cuda_arrays_share_memory() -> None:
    cupy = pytest.importorskip("cupy")
    x = ag.zeros((2, 3), device="cuda")

    for theirs in (cupy.from_dlpack(x), cupy.asarray(x)):
        theirs += 1
    y = ag.from_dlpack(cupy.from_dlpack(x))

    assert [[2.0] * 3] * 2 == x.tolist() == y.tolist()
    assert x.__cuda_array_interface__["data"][0] == y.array.data.ptr


# -- the array API standard ------------------------------------------------------------


def test_a_tensor_names_its_namespace() -> None:
    x = Tensor([[1.0, 2.0]])

    assert xp is x.__array_namespace__() is x.__array_namespace__(api_version="2024.12")
    assert (2, 1) == x.mT.shape
    assert x is x.to_device("cpu")
    with pytest.raises(ValueError, match="version 1999 is not offered"):
        x.__array_namespace__(api_version="1999")


def test_names_are_listed_and_there() -> None:
    missing = [name for name in xp.__all__ if getattr(xp, name, "absent") == "absent"]

    assert missing == []
    assert {"arange", "sin", "where", "unique_all", "linalg", "float32"} <= set(xp.__all__)
    assert sorted(xp.__all__) == xp.__all__ == dir(xp)
    with pytest.raises(AttributeError, match="no attribute 'fft'"):
        _ = xp.fft


A = RNG.normal(size=(3, 4))
B = RNG.normal(size=(3, 4))
WHOLE = RNG.integers(-3, 4, (3, 4))
ROW = np.array([3, 1, 2, 3, 1])
CASES: dict[str, tuple[Any, ...]] = {  # the positional arguments, and the named ones
    "add": (A, B), "atan2": (A, B), "bitwise_and": (WHOLE, WHOLE + 1), "ceil": (A,),
    "clip": (A, -0.5, 0.5), "copysign": (A, np.array([0.0, -0.0, 1, -1])), "exp": (A,),
    "floor_divide": (WHOLE, 2), "hypot": (A, B), "isnan": (A,), "logaddexp": (A, B),
    "maximum": (A, B), "pow": (np.abs(A), B), "remainder": (A, B), "signbit": (A,),
    "square": (A,), "trunc": (A,), "where": (A > 0, A, B),
    "argmax": (A, {"axis": 1}), "argmin": (A,), "count_nonzero": (WHOLE, {"axis": 0}),
    "nonzero": (WHOLE,), "searchsorted": (np.sort(ROW), ROW, {"side": "right"}),
    "all": (A > 0,), "any": (A > 0, {"axis": 1}), "max": (A, {"axis": 0}), "mean": (A,),
    "std": (A, {"axis": 0, "correction": 1}), "sum": (WHOLE, {"axis": 1, "keepdims": True}),
    "prod": (A, {"axis": (0, 1)}), "var": (A, {"axis": 1}),
    "cumulative_sum": (A, {"axis": 1, "include_initial": True}),
    "cumulative_prod": (A, {"axis": 0}), "diff": (A, {"n": 2, "axis": 0}),
    "argsort": (WHOLE, {"axis": 1, "stable": True}), "sort": (A, {"axis": 0}),
    "unique_all": (ROW,), "unique_counts": (WHOLE,), "unique_inverse": (WHOLE,),
    "isin": (WHOLE, np.array([1, 2]), {"invert": True}),
    "broadcast_to": (A, (2, 3, 4)), "concat": ((A, B), {"axis": None}),
    "expand_dims": (A, {"axis": 1}), "flip": (A,), "matrix_transpose": (A,),
    "moveaxis": (A, 0, 1), "permute_dims": (A, (1, 0)), "repeat": (A, 2, {"axis": 1}),
    "reshape": (A, (4, 3)), "roll": (A, 1, {"axis": 0}), "squeeze": (A[None], {"axis": 0}),
    "stack": ((A, B), {"axis": 1}), "tile": (A, (2, 1)), "unstack": (A, {"axis": 1}),
    "take": (A, np.array([0, 2]), {"axis": 1}), "tril": (A, {"k": 1}), "triu": (A,),
    "take_along_axis": (A, np.array([[0], [1], [2]]), {"axis": 1}),
    "matmul": (A, B.T), "tensordot": (A, B, {"axes": ((0, 1), (0, 1))}), "vecdot": (A, B),
    "linalg.det": (A @ B.T,), "linalg.inv": (A @ B.T,), "linalg.trace": (A,),
    "linalg.diagonal": (A, {"offset": 1}), "linalg.outer": (A[0], B[0]),
    "linalg.matrix_norm": (A,), "linalg.vector_norm": (A, {"axis": 1, "ord": 3}),
    "linalg.solve": (A @ B.T, A), "linalg.svdvals": (A,),
    "broadcast_arrays": (A, A[0]), "meshgrid": (A[0], B[1], {"indexing": "ij"}),
    "linspace": (0.0, 1.0, 5, {"endpoint": False}), "eye": (2, 3, {"k": 1}), "arange": (1, 9, 2),
    "full": ((2, 2), 7), "zeros": (3,), "ones_like": (WHOLE,), "full_like": (A, 2.5),
}  # fmt: skip


def tensors(value: Any) -> Any:
    """Arrays as tensors, in tuples as well."""
    if isinstance(value, tuple):
        return tuple(map(tensors, value))
    return Tensor(value) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("name", CASES)
def test_functions_answer_as_numpys_do(name: str) -> None:
    given = CASES[name]
    settings = given[-1] if isinstance(given[-1], dict) else {}
    inputs = given[:-1] if settings else given
    theirs, ours = np, xp
    for part in name.split("."):
        theirs, ours = getattr(theirs, part), getattr(ours, part)

    expected = theirs(*inputs, **settings)  # type: ignore[operator]
    found = ours(*map(tensors, inputs), **settings)  # type: ignore[operator]

    if not isinstance(expected, tuple | list):
        expected, found = (expected,), (found,)
    assert len(expected) == len(found)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(b.numpy(), a, rtol=1e-6, atol=1e-12)
        assert np.asarray(a).shape == b.shape


def test_values_come_once_and_in_order() -> None:
    assert [1, 2, 3] == xp.unique_values(Tensor(ROW)).tolist()


def test_types_are_asked_after() -> None:
    assert xp.float32 == Tensor([1.0]).dtype
    assert xp.isdtype(xp.int8, ("real floating", "signed integer"))
    assert not xp.isdtype(xp.uint8, xp.int8)
    assert xp.float64 == xp.result_type(xp.float32, Tensor(A))
    assert xp.can_cast(xp.int8, xp.int16)
    assert not xp.can_cast(xp.int16, xp.int8)
    assert (8, -128) == (xp.iinfo(xp.int8).bits, xp.iinfo(xp.int8).min)
    assert np.finfo(np.float32).eps == xp.finfo(xp.float32).eps
    info = xp.__array_namespace_info__()
    assert {"float32", "float64"} == set(info.dtypes(kind="real floating"))
    assert "host" == info.default_device() == info.devices()[0]
    assert xp.float32 == info.default_dtypes()["real floating"]
    assert info.capabilities()["boolean indexing"]


def test_asarray_copies_where_it_has_to() -> None:
    x = Tensor([1.0])

    assert x is xp.asarray(x)
    assert x is not xp.asarray(x, copy=True)
    assert xp.float64 == xp.asarray(x, dtype=xp.float64).dtype == xp.astype(x, xp.float64).dtype
    with pytest.raises(SettingsError, match="wants a copy"):
        xp.asarray(x, dtype=xp.int32, copy=False)


def test_code_for_the_standard_is_recorded() -> None:
    def softmax(x: Any) -> Any:
        names = x.__array_namespace__()
        powers = names.exp(x - names.max(x, axis=-1, keepdims=True))
        return powers / names.sum(powers, axis=-1, keepdims=True)

    x = Tensor(A, requires_grad=True)
    softmax(x)[:, 0].sum().backward()
    twin = Tensor(A, requires_grad=True)
    ops.softmax(twin)[:, 0].sum().backward()

    np.testing.assert_allclose(x.grad.numpy(), twin.grad.numpy(), atol=1e-12)  # type: ignore[union-attr]
