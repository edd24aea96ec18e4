"""The operators of tensors by symbol; `x += y` rebinds x to x + y, as for numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import ops
from .staircase import apply_one, apply_two

if TYPE_CHECKING:
    from .tensor import Tensor


class Operators:
    """Each symbol is an op; Python and NumPy numbers stand on either side."""

    __slots__ = ()

    # -- arithmetic --------------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return apply_two(ops.add, self, other)

    def __radd__(self, other: Any) -> Tensor:
        return apply_two(ops.add, other, self)

    def __sub__(self, other: Any) -> Tensor:
        return apply_two(ops.subtract, self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return apply_two(ops.subtract, other, self)

    def __mul__(self, other: Any) -> Tensor:
        return apply_two(ops.multiply, self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return apply_two(ops.multiply, other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return apply_two(ops.divide, self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return apply_two(ops.divide, other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return apply_two(ops.floor_divide, self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return apply_two(ops.floor_divide, other, self)

    def __mod__(self, other: Any) -> Tensor:
        return apply_two(ops.remainder, self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return apply_two(ops.remainder, other, self)

    def __pow__(self, other: Any) -> Tensor:
        return apply_two(ops.power, self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return apply_two(ops.power, other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return apply_two(ops.matmul, self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return apply_two(ops.matmul, other, self)

    def __neg__(self) -> Tensor:
        return apply_one(ops.negative, self)

    def __pos__(self) -> Tensor:
        return self  # type: ignore[return-value]

    def __abs__(self) -> Tensor:
        return apply_one(ops.abs, self)

    # -- comparison, element by element ------------------------------------------------

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return NotImplemented if other is None else ops.equal(self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return NotImplemented if other is None else ops.not_equal(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return apply_two(ops.less, self, other)

    def __le__(self, other: Any) -> Tensor:
        return apply_two(ops.less_equal, self, other)

    def __gt__(self, other: Any) -> Tensor:
        return apply_two(ops.greater, self, other)

    def __ge__(self, other: Any) -> Tensor:
        return apply_two(ops.greater_equal, self, other)

    # -- bits and masks ----------------------------------------------------------------

    def __and__(self, other: Any) -> Tensor:
        return apply_two(ops.bitwise_and, self, other)

    def __rand__(self, other: Any) -> Tensor:
        return apply_two(ops.bitwise_and, other, self)

    def __or__(self, other: Any) -> Tensor:
        return apply_two(ops.bitwise_or, self, other)

    def __ror__(self, other: Any) -> Tensor:
        return apply_two(ops.bitwise_or, other, self)

    def __xor__(self, other: Any) -> Tensor:
        return apply_two(ops.bitwise_xor, self, other)

    def __rxor__(self, other: Any) -> Tensor:
        return apply_two(ops.bitwise_xor, other, self)

    def __lshift__(self, other: Any) -> Tensor:
        return apply_two(ops.bitwise_left_shift, self, other)

    def __rlshift__(self, other: Any) -> Tensor:
        return apply_two(ops.bitwise_left_shift, other, self)

    def __rshift__(self, other: Any) -> Tensor:
        return apply_two(ops.bitwise_right_shift, self, other)

    def __rrshift__(self, other: Any) -> Tensor:
        return apply_two(ops.bitwise_right_shift, other, self)

    def __invert__(self) -> Tensor:
        return apply_one(ops.bitwise_invert, self)
