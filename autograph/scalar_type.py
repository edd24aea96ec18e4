"""The scalar types that a tensor may hold, one row each, and the one table of promotion."""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

from .errors import ScalarTypeError


class ScalarType(Enum):
    """What an element of a tensor is. Wherever one is wanted, its name does: `"bf16"`.

    >>> ScalarType("bf16").accumulator
    ScalarType.F32
    """

    BOOL = "bool"
    U8 = "u8"
    U16 = "u16"
    U32 = "u32"
    U64 = "u64"
    I8 = "i8"
    I16 = "i16"
    I32 = "i32"
    I64 = "i64"
    F16 = "f16"
    BF16 = "bf16"
    F32 = "f32"
    F64 = "f64"

    dtype: np.dtype[Any]
    kind: str  # "bool", "unsigned", "signed" or "float"
    bits: int
    is_float: bool
    is_half: bool  # 16-bit floats: stored as they are, computed in F32

    @classmethod
    def _missing_(cls, value: object) -> ScalarType:
        """Also by NumPy's and torch's names and types: "float32", np.float32, a dtype."""
        found = _BY_NAME.get(str(value).removeprefix("torch.").lower())
        if found is None and not isinstance(value, str):
            try:
                found = _BY_DTYPE.get(np.dtype(value))  # type: ignore[call-overload]
            except TypeError:
                found = None
        if found is None:
            raise ScalarTypeError(
                f"ScalarType: there is no scalar type {value!r}\n"
                f"  write one of  {', '.join(each.value for each in cls)}"
            )
        return found

    @classmethod
    def of(cls, array: Any) -> ScalarType:
        """The scalar type of an array on any device."""
        found = _BY_DTYPE.get(array.dtype)
        if found is None:
            raise ScalarTypeError(
                f"Tensor: arrays of {array.dtype} are not taken\n"
                f"  write  array.astype(...) with one of {', '.join(each.value for each in cls)}"
            )
        return found

    @property
    def accumulator(self) -> ScalarType:
        """The type that products and sums of floats are kept in: F32 for halves."""
        return ScalarType.F32 if self.is_half else self

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        return f"ScalarType.{self.name}"


_FAMILIES = {  # by the letters of their names: how NumPy calls them, and their kind
    "bool": ("bool", "bool"),
    "u": ("uint", "unsigned"),
    "i": ("int", "signed"),
    "f": ("float", "float"),
    "bf": ("bfloat", "float"),
}

for _each in ScalarType:
    _letters = _each.value.rstrip("0123456789")
    _word, _each.kind = _FAMILIES[_letters]
    _name = _each.value.replace(_letters, _word)
    _each.dtype = np.dtype(getattr(ml_dtypes, _name, _name))
    _each.bits = _each.dtype.itemsize * 8
    _each.is_float = _each.kind == "float"
    _each.is_half = _each.is_float and _each.bits == 16

_BY_DTYPE = {each.dtype: each for each in ScalarType}
_BY_NAME = {each.value: each for each in ScalarType} | {
    str(each.dtype): each for each in ScalarType
}


def is_scalar_type(name: object) -> bool:
    """Whether something is a scalar type, or the name of one."""
    return str(name) in _BY_NAME


_RANK = {"bool": 0, "unsigned": 1, "signed": 1, "float": 2}

BOOL, I64, F16, BF16, F32, F64 = (
    ScalarType.BOOL,
    ScalarType.I64,
    ScalarType.F16,
    ScalarType.BF16,
    ScalarType.F32,
    ScalarType.F64,
)


@cache
def promote(a: ScalarType, b: ScalarType) -> ScalarType:
    """The scalar type that `a` and `b` meet in.

    A float wins over an integer at its own width; bf16 with f16 gives f32; integers meet as
    in NumPy, except that u64 meets no signed type (NumPy would answer float64).

    >>> promote(ScalarType.F32, ScalarType.I64), promote(ScalarType.BF16, ScalarType.F16)
    (ScalarType.F32, ScalarType.F32)
    """
    if a is b:
        return a
    if _RANK[a.kind] != _RANK[b.kind]:
        return a if _RANK[a.kind] > _RANK[b.kind] else b
    if a.is_float:
        return F32 if {a, b} == {F16, BF16} else (a if a.bits > b.bits else b)
    if a.kind == b.kind:
        return a if a.bits > b.bits else b
    signed, unsigned = (a, b) if a.kind == "signed" else (b, a)
    if signed.bits > unsigned.bits:
        return signed
    if unsigned.bits == 64:
        raise ScalarTypeError(
            f"promote: no integer type holds both {a} and {b}\n"
            f"  cast one first, for example  x.cast('i64')"
        )
    return ScalarType(f"i{2 * unsigned.bits}")


_WEAK_KINDS: dict[type, tuple[int, ScalarType]] = {bool: (0, BOOL), int: (1, I64), float: (2, F32)}


def promote_operands(full: list[ScalarType], scalars: list[ScalarType | type]) -> ScalarType:
    """The common type of operands with dimensions, and of 0-d operands and Python numbers.

    A 0-d operand or a number never widens a tensor of its own kind: only a higher kind
    (bool < integer < float) changes the type, to that of the 0-d operand, or F32 for a
    Python float and I64 for a Python int.
    """
    common: ScalarType | None = None
    for scalar_type in full:
        common = scalar_type if common is None else promote(common, scalar_type)
    weak: ScalarType | None = None
    numbers: list[type] = []
    for each in scalars:
        if isinstance(each, ScalarType):
            weak = each if weak is None else promote(weak, each)
        else:
            numbers.append(each)
    if weak is not None and (common is None or _RANK[weak.kind] > _RANK[common.kind]):
        common = weak
    for number in numbers:
        rank, natural = _WEAK_KINDS[number]
        if common is None or rank > _RANK[common.kind]:
            common = natural
    assert common is not None
    return common
