"""Tensors: made from anything, read without a copy, indexed, computed with, written into, shown."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

import autograph as ag
from autograph import (
    Buffer,
    Parameter,
    Tensor,
    arange,
    full,
    no_grad,
    ones,
    ops,
    random_normal,
    random_uniform,
    zeros,
)
from autograph.errors import GraphError, MemoryLimitError, SettingsError, ShapeError
from autograph.scalar_type import ScalarType

# -- making ------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "scalar_type", "shape"), [
    (1.5, "f32", ()),
    (3, "i64", ()),
    (True, "bool", ()),
    ([1, 2], "i64", (2,)),
    ([1.0, 2], "f32", (2,)),
    ([[1.0], [2.0]], "f32", (2, 1)),
    ([], "f32", (0,)),
    ([True, False], "bool", (2,)),
    (np.float64(1.5), "f64", ()),
    (np.ones(2, np.uint8), "u8", (2,)),
    (np.ones((2, 0)), "f64", (2, 0)),
    ([Tensor(1.0), Tensor(2.0)], "f32", (2,)),
])  # fmt: skip
def test_data_decides_the_scalar_type(
    data: object, scalar_type: str, shape: tuple[int, ...]
) -> None:
    x = Tensor(data)

    assert (ScalarType(scalar_type), shape) == (x.scalar_type, x.shape)


def test_an_array_is_copied_and_a_borrowed_one_is_not() -> None:
    array = np.ones(3)
    copied, borrowed = Tensor(array), Tensor.borrow(array)
    array[0] = 5.0

    assert copied.tolist() == [1.0, 1.0, 1.0]
    assert borrowed.tolist() == [5.0, 1.0, 1.0]


@pytest.mark.parametrize("kind", [np.memmap, np.ma.MaskedArray])
def test_a_subclass_of_arrays_is_an_array(kind: type, tmp_path: Path) -> None:
    """Which kernels take, and nothing else."""
    values = np.arange(4, dtype=np.float32).reshape(2, 2)
    values.tofile(tmp_path / "f")
    given = (
        np.memmap(tmp_path / "f", np.float32, "r+", shape=(2, 2))
        if kind is np.memmap
        else kind(values)
    )
    for x in (Tensor(given), Tensor.borrow(given), given):
        y = ops.multiply(x, x)

        np.testing.assert_array_equal(y.numpy() if isinstance(y, Tensor) else y, values * values)
    assert type(Tensor(given).array) is type(Tensor.borrow(given)[0].array) is np.ndarray


def test_a_tensor_of_a_tensor_is_a_copy_without_its_graph() -> None:
    x = Tensor([1.0], requires_grad=True)
    y = Tensor(x)
    with no_grad():
        x[0] = 2.0

    assert y.tolist() == [1.0]
    assert not y.requires_grad


@pytest.mark.parametrize("scalar_type", list(ScalarType))
def test_constants_of_every_scalar_type(scalar_type: ScalarType) -> None:
    for made, value in ((zeros, 0), (ones, 1)):
        x = made((2, 3), scalar_type=scalar_type)

        assert x.scalar_type is scalar_type
        assert x.tolist() == [[value] * 3] * 2
    assert full(2, 1, scalar_type=scalar_type).tolist() == [1, 1]


def test_full_takes_its_type_from_the_value() -> None:
    assert [full((), v).scalar_type.value for v in (True, 1, 1.0)] == ["bool", "i64", "f32"]


@pytest.mark.parametrize(("arguments", "values"), [
    ((3,), [0, 1, 2]), ((1, 4), [1, 2, 3]), ((3, 0, -2), [3, 1]), ((0,), []),
    ((1, 2, 0.5), [1.0, 1.5]),
])  # fmt: skip
def test_ranges(arguments: tuple[float, ...], values: list[float]) -> None:
    x = arange(*arguments)

    assert x.tolist() == values
    assert x.scalar_type.is_float == any(isinstance(each, float) for each in arguments)


def test_random_tensors_have_their_shape_and_type() -> None:
    for made in (random_uniform, random_normal):
        x = made((100, 3), seed=0, scalar_type="f64")

        assert (x.shape, x.scalar_type.value) == ((100, 3), "f64")
    assert 2.0 <= random_uniform(1000, 2.0, 3.0, seed=1).min().item()


# -- reading -----------------------------------------------------------------------------


def test_numpy_reads_without_a_copy() -> None:
    x = Tensor([1.0, 2.0])

    assert x.numpy() is x.array
    assert np.shares_memory(np.asarray(x), x.array)
    assert np.asarray(x, np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(x), x.array)


def test_integers_that_i64_does_not_hold_are_u64() -> None:
    assert (2**63, [0, 1]) == (Tensor(2**63).item(), Tensor(range(2)).tolist())


def test_one_value_is_a_python_number() -> None:
    x = Tensor([[2.5]])

    assert (x.item(), float(x), int(x), bool(x)) == (2.5, 2.5, 2, True)
    assert [10, 20, 30][Tensor(1)] == 20
    assert range(5)[Tensor(np.array([2]))] == 2
    with pytest.raises(TypeError, match="a f32 tensor is not an integer"):
        [1, 2][Tensor(1.0)]
    with pytest.raises(ShapeError):
        Tensor([1.0, 2.0]).item()


def test_a_tensor_has_a_length_and_rows() -> None:
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])

    assert len(x) == 2
    assert [row.tolist() for row in x] == [[1.0, 2.0], [3.0, 4.0]]
    with pytest.raises(TypeError):
        len(Tensor(1.0))
    with pytest.raises(TypeError):
        iter(Tensor(1.0))


def test_the_transpose_is_a_view() -> None:
    x = Tensor(np.arange(6.0).reshape(2, 3))

    assert np.shares_memory(x.T.numpy(), x.numpy())
    assert x.T.shape == (3, 2)
    assert x.T.T.tolist() == x.tolist()
    assert x.permute_dims(1, 0).tolist() == x.transpose((1, 0)).tolist() == x.T.tolist()


ARRAY = np.arange(60.0).reshape(3, 4, 5)

# -- computing, as NumPy does ------------------------------------------------------------

OPERATORS = [
    lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / b,
    lambda a, b: a**b, lambda a, b: a == b, lambda a, b: a != b, lambda a, b: a < b,
    lambda a, b: a <= b, lambda a, b: a > b, lambda a, b: a >= b,
]  # fmt: skip


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("other", [2.0, 3, np.full((2, 1), 2.0), np.float32(2), np.full(3, 1.5)])
def test_operators_with_what_stands_on_either_side(operator, other) -> None:
    array = np.array([[1.0, 2.0, 3.0], [0.5, 2.0, 4.0]])
    x = Tensor(array)

    for found, expected in (
        (operator(x, other), operator(array, other)),
        (operator(other, x), operator(other, array)),
        (operator(x, x), operator(array, array)),
    ):
        assert isinstance(found, Tensor)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_an_array_beside_a_tensor_records_too() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = np.array([3.0, 4.0], np.float32) * x
    y.sum().backward()

    assert x.grad.tolist() == [3.0, 4.0]


def test_matrix_products_on_either_side() -> None:
    a, b = np.arange(6.0).reshape(2, 3), np.arange(3.0)

    np.testing.assert_array_equal((Tensor(a) @ b).numpy(), a @ b)
    np.testing.assert_array_equal((a @ Tensor(b)).numpy(), a @ b)


def test_signs() -> None:
    x = Tensor([-1.0, 2.0])

    assert (-x).tolist() == [1.0, -2.0]
    assert abs(x).tolist() == [1.0, 2.0]
    assert (+x).tolist() == x.tolist()


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (1,)], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_as_numpys(name: str, axis: object, keepdims: bool) -> None:
    found = getattr(Tensor(ARRAY), name)(axis, keepdims=keepdims)

    np.testing.assert_allclose(found.numpy(), getattr(ARRAY, name)(axis=axis, keepdims=keepdims))


@pytest.mark.parametrize("axis", [None, 0, -1])
def test_arguments_of_extremes_as_numpys(axis: int | None) -> None:
    array = np.array([[1.0, 5.0, 5.0], [7.0, 0.0, 0.0]])

    assert Tensor(array).argmax(axis).tolist() == array.argmax(axis).tolist()
    assert Tensor(array).argmin(axis).tolist() == array.argmin(axis).tolist()


@pytest.mark.parametrize("scalar_type", ["f32", "bf16", "f16"])
def test_sums_of_narrow_floats_are_kept_wide_within(scalar_type: str) -> None:
    """In its own 8 bits a sum of bf16 ones stays at 256."""
    assert ones(4096, scalar_type=scalar_type).sum().item() == 4096
    assert ones((2, 4096), scalar_type=scalar_type).mean(axis=1).tolist() == [1.0, 1.0]


def test_nan_and_infinity_are_never_hidden() -> None:
    x = Tensor([1.0, np.nan, -np.inf])

    assert np.isnan(x.max().item())
    assert np.isnan(x.min().item())
    assert np.isnan(x.sum().item())
    assert np.isnan(x.relu().tolist()[1])
    assert x.exp().tolist()[2] == 0.0
    assert x.sigmoid().tolist()[2] == 0.0
    assert Tensor([-1e4, 1e4]).sigmoid().tolist() == [0.0, 1.0]
    assert x.argmax().item() == 1


# -- views, copies, other places -----------------------------------------------------------


def test_detach_shares_memory_and_has_no_graph() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = (x * 2.0).detach()

    assert not y.requires_grad
    assert np.shares_memory(x.detach().numpy(), x.numpy())


def test_a_copy_has_memory_of_its_own() -> None:
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    y = x.T.copy()

    assert y.outline.is_contiguous
    assert not np.shares_memory(y.numpy(), x.numpy())
    assert y.requires_grad


@pytest.mark.parametrize("cls", [Tensor, Parameter, Buffer])
def test_a_leaf_can_be_copied_and_pickled(cls: type[Tensor]) -> None:
    x = cls(np.arange(4.0, dtype=np.float32)).__class__(np.ones(2))
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert type(twin) is cls
        assert twin.tolist() == x.tolist()
        assert twin.requires_grad == x.requires_grad == (cls is Parameter)
        assert not np.shares_memory(twin.numpy(), x.numpy())
    with pytest.raises(GraphError, match="part of a graph"):
        copy.deepcopy(Tensor(1.0, requires_grad=True) * 2.0)


def test_a_bf16_tensor_can_be_pickled() -> None:
    x = Tensor([1.0, 2.5], scalar_type="bf16")

    assert pickle.loads(pickle.dumps(x)).tolist() == [1.0, 2.5]


def test_casts_round_to_nearest_even() -> None:
    x = Tensor([1.0 + 2**-8, 1.0 + 3 * 2**-8, -2.7])

    assert x.cast("bf16").tolist() == [1.0, 1.0 + 2**-6, -2.703125]
    assert x.cast("i64").tolist() == [1, 1, -2]
    assert x.cast("f32") is not None
    assert Tensor([0, 255], scalar_type="u8").scaled_cast("f32", 1 / 255).tolist() == [0.0, 1.0]


def test_a_cast_passes_gradients_in_the_type_of_its_input() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x.cast("bf16") * 2.0).sum().cast("f64").backward()

    assert x.grad.scalar_type.value == "f32"
    assert x.grad.tolist() == [2.0, 2.0]


def test_gradients_come_back_in_the_type_of_each_input() -> None:
    x = Tensor(np.ones(2, np.float32), requires_grad=True)
    w = Tensor(np.ones(2, np.float64), requires_grad=True)
    (x * w).sum().backward()

    assert (x.grad.scalar_type.value, w.grad.scalar_type.value) == ("f32", "f64")


# -- leaves ------------------------------------------------------------------------------


def test_leaves_are_asked_for() -> None:
    assert Parameter([1.0]).requires_grad
    assert not Buffer([1.0]).requires_grad
    x = Tensor([1.0])
    x.requires_grad = True
    assert (x * 1.0).requires_grad
    x.requires_grad = False
    assert not (x * 1.0).requires_grad


def test_a_frozen_parameter_gets_no_gradient() -> None:
    w, x = Parameter([2.0]), Parameter([3.0])
    w.requires_grad = False
    (w * x).sum().backward()

    assert w.grad is None
    assert x.grad.tolist() == [2.0]


# -- showing -----------------------------------------------------------------------------


@pytest.mark.parametrize(("tensor", "text"), [
    (Tensor(1.0), "Tensor(host f32 () 1.)"),
    (Tensor([[1.0, 2.5]]), "Tensor(host f32 (1, 2) [[1. , 2.5]])"),
    (Tensor([1, 2]), "Tensor(host i64 (2,) [1, 2])"),
    (Tensor([True]), "Tensor(host bool (1,) [ True])"),
    (Tensor([1.0], scalar_type="bf16"), "Tensor(host bf16 (1,) [1.])"),
    (Tensor(np.eye(2)), "Tensor(host f64 (2, 2)\n[[1., 0.],\n [0., 1.]])"),
    (zeros((100,)), "Tensor(host f32 (100,))"),
    (Parameter([1.0]), "Parameter(host f32 (1,) [1.])"),
    (zeros((0, 3)), "Tensor(host f32 (0, 3) [])"),
])  # fmt: skip
def test_a_tensor_shows_device_type_shape_and_few_values(tensor: Tensor, text: str) -> None:
    assert text == repr(tensor)


def test_tensors_are_told_apart_by_identity() -> None:
    x = Tensor([1.0])

    assert len({x, Tensor([1.0]), x}) == 2
    assert ops.add in {ops.add}


def test_no_memory_is_an_error_with_the_size_and_the_next_call_is_right() -> None:
    x = ones(8).reshape(8, 1).broadcast_to((8, 1 << 50))

    with pytest.raises(MemoryLimitError, match=r"add: no memory for an output of [\d,]+ bytes"):
        x + 1.0

    assert (ones(2) + 1.0).tolist() == [2.0, 2.0]


def test_a_single_number_is_formatted_as_python_does() -> None:
    loss = Tensor(np.array([0.5, 1.25], np.float32)).sum()

    assert f"{loss:.3f}" == "1.750"
    assert f"{loss}" == repr(loss)


def test_functions_of_the_standard_and_ops_are_had_from_the_package() -> None:
    x = Tensor(np.arange(4.0, dtype=np.float32))

    assert ag.concat([x, x]).shape == (8,)
    assert ag.softmax(x).sum().item() == pytest.approx(1)
    assert not hasattr(ag, "no_such_function")


def test_numbers_of_numpy_are_axes_and_counts() -> None:
    array = np.arange(12, dtype=np.float32).reshape(2, 6)
    x, one, two = Tensor(array), np.int64(1), np.uint8(2)

    for found, expected in (
        (x.sum(axis=one), array.sum(axis=1)),
        (x.max(axis=(-one, 0)), array.max()),
        (x.expand_dims(one), array[:, None]),
        (x.roll(two, axis=-one), np.roll(array, 2, axis=-1)),
        (x.repeat(two, axis=one), np.repeat(array, 2, axis=1)),
        (x.tile(two), np.tile(array, 2)),
        (x.split(two, axis=one)[1], array[:, 3:]),
        (ops.moveaxis(x, one, np.int8(0)), array.T),
        (ops.tensordot(x, x.T, axes=one), array @ array.T),
        (arange(two), np.arange(2)),
    ):
        np.testing.assert_array_equal(found.numpy(), expected)
    assert arange(two).scalar_type is ScalarType.I64
    with pytest.raises(SettingsError, match="axis is True"):
        x.sum(axis=True)
