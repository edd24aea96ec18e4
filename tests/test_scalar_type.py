"""Scalar types: names, the one promotion table, and what numbers and 0-d operands do."""

from __future__ import annotations

import pickle

import ml_dtypes
import numpy as np
import pytest

from autograph import Tensor
from autograph.errors import ScalarTypeError
from autograph.scalar_type import ScalarType, promote, promote_operands

INTEGERS = ["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64"]
FLOATS = ["f16", "bf16", "f32", "f64"]

# torch.promote_types; its table lacks u16, u32 and u64, which follow NumPy and the array API.
TORCH = """
      bool  u8    i8    i16   i32   i64   f16   bf16  f32   f64
bool  bool  u8    i8    i16   i32   i64   f16   bf16  f32   f64
u8    u8    u8    i16   i16   i32   i64   f16   bf16  f32   f64
i8    i8    i16   i8    i16   i32   i64   f16   bf16  f32   f64
i16   i16   i16   i16   i16   i32   i64   f16   bf16  f32   f64
i32   i32   i32   i32   i32   i32   i64   f16   bf16  f32   f64
i64   i64   i64   i64   i64   i64   i64   f16   bf16  f32   f64
f16   f16   f16   f16   f16   f16   f16   f16   f32   f32   f64
bf16  bf16  bf16  bf16  bf16  bf16  bf16  f32   bf16  f32   f64
f32   f32   f32   f32   f32   f32   f32   f32   f32   f32   f64
f64   f64   f64   f64   f64   f64   f64   f64   f64   f64   f64
"""
COLUMNS, *ROWS = [line.split() for line in TORCH.strip().splitlines()]
TABLE = [
    (left, right, wanted) for left, *row in ROWS for right, wanted in zip(COLUMNS, row, strict=True)
]


@pytest.mark.parametrize(("left", "right", "wanted"), TABLE)
def test_types_promote_as_in_torch(left: str, right: str, wanted: str) -> None:
    assert ScalarType(wanted) is promote(ScalarType(left), ScalarType(right))


@pytest.mark.parametrize("left", INTEGERS)
@pytest.mark.parametrize("right", INTEGERS)
def test_integers_promote_as_in_numpy(left: str, right: str) -> None:
    a, b = ScalarType(left), ScalarType(right)
    wanted = np.promote_types(a.dtype, b.dtype)
    if wanted.kind == "f":
        with pytest.raises(ScalarTypeError, match="no integer type holds both"):
            promote(a, b)
    else:
        assert ScalarType(wanted) is promote(a, b)


@pytest.mark.parametrize("a", ScalarType)
@pytest.mark.parametrize("b", ScalarType)
def test_promotion_is_symmetric(a: ScalarType, b: ScalarType) -> None:
    if {a.kind, b.kind} == {"signed", "unsigned"} and ScalarType.U64 in (a, b):
        for left, right in ((a, b), (b, a)):
            with pytest.raises(ScalarTypeError):
                promote(left, right)
    else:
        assert promote(a, b) is promote(b, a)


@pytest.mark.parametrize("integer", INTEGERS)
@pytest.mark.parametrize("float_", FLOATS)
def test_a_float_wins_over_an_integer_at_its_own_width(integer: str, float_: str) -> None:
    assert ScalarType(float_) is promote(ScalarType(integer), ScalarType(float_))


# -- numbers and 0-d operands --------------------------------------------------------------

WEAK = [
    # a tensor with axes, what stands beside it, the result
    ("f32", 1.5, "f32"),
    ("f32", 2, "f32"),
    ("f32", True, "f32"),
    ("bf16", 1.5, "bf16"),
    ("f16", 1e4, "f16"),
    ("f64", 1.5, "f64"),
    ("u8", 2, "u8"),
    ("i16", 2, "i16"),
    ("i16", True, "i16"),
    ("i64", 1.5, "f32"),
    ("u8", 1.5, "f32"),
    ("bool", 2, "i64"),
    ("bool", 1.5, "f32"),
    ("f32", np.float64(1.5), "f32"),
    ("f32", np.int64(2), "f32"),
    ("bf16", np.float64(1.5), "bf16"),
    ("f32", np.array(1.5), "f32"),  # a 0-d f64 array
    ("bf16", np.array(1.5), "bf16"),
    ("u8", np.array(2), "u8"),
    ("u8", np.array(1.5), "f64"),  # a higher kind: its own type
    ("i64", np.array(1.5, np.float16), "f16"),
    ("bool", np.array(2, np.int16), "i16"),
]


@pytest.mark.parametrize(("scalar_type", "other", "wanted"), WEAK)
def test_what_stands_beside_a_tensor_never_widens_its_kind(
    scalar_type: str, other: object, wanted: str
) -> None:
    x = Tensor(np.ones((2, 3))).cast(scalar_type)

    assert ScalarType(wanted) is (x + other).scalar_type
    assert ScalarType(wanted) is (other + x).scalar_type


def test_two_0d_tensors_meet_as_any_others() -> None:
    a, b = Tensor(1.0), Tensor(np.array(2.0))

    assert (a.scalar_type.value, b.scalar_type.value) == ("f32", "f64")
    assert (a + b).scalar_type is ScalarType.F64
    assert (a + 1.5).scalar_type is ScalarType.F32


def test_numbers_alone_are_of_their_natural_types() -> None:
    assert promote_operands([], [float]) is ScalarType.F32
    assert promote_operands([], [int, bool]) is ScalarType.I64
    assert promote_operands([], [bool]) is ScalarType.BOOL


def test_division_and_functions_of_integers_are_f32() -> None:
    x = Tensor([1, 2, 3])

    assert (x / 2).scalar_type is (x / x).scalar_type is x.exp().scalar_type is ScalarType.F32
    assert x.mean().scalar_type is ScalarType.F32
    assert x.sum().scalar_type is ScalarType.I64
    assert (x > 0).sum().scalar_type is ScalarType.I64
    assert Tensor(np.ones(3, np.uint8)).sum().scalar_type is ScalarType.U64


# -- names -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bf16", "bfloat16", ml_dtypes.bfloat16, "torch.bfloat16"])
def test_a_scalar_type_has_many_names(name: object) -> None:
    assert ScalarType.BF16 is ScalarType(name)


def test_a_scalar_type_is_found_by_numpys_types() -> None:
    assert ScalarType.F32 is ScalarType(np.float32) is ScalarType(np.dtype("float32"))
    assert ScalarType.U8 is ScalarType(np.dtype("uint8")) is ScalarType("uint8")
    assert ScalarType.BOOL is ScalarType(bool)


@pytest.mark.parametrize("each", ScalarType)
def test_a_scalar_type_describes_itself(each: ScalarType) -> None:
    assert each is ScalarType(each.value) is ScalarType(each.dtype)
    assert each is ScalarType.of(np.empty(0, each.dtype))
    assert each is pickle.loads(pickle.dumps(each))
    assert each.bits == 8 * each.dtype.itemsize
    assert each.is_half == (each.value in ("f16", "bf16"))
    assert each.accumulator is (ScalarType.F32 if each.is_half else each)
