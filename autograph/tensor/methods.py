"""The operators and methods of tensors: each is an op, none has arithmetic of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ops
from ..errors import IndexRangeError
from ..scalar_type import ScalarType

if TYPE_CHECKING:
    from .tensor import Tensor

Axis = int | tuple[int, ...] | None


class Methods:
    """Operators by symbol, then ops by name."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def shape(self) -> tuple[int, ...]: ...

    # -- arithmetic --------------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return ops.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return ops.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.divide(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ops.power(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.power(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.negative(self)

    def __pos__(self) -> Tensor:
        return self  # type: ignore[return-value]

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    # -- comparison, element by element ------------------------------------------------

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return ops.equal(self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return ops.not_equal(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return ops.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return ops.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ops.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return ops.greater_equal(self, other)

    # -- indexing ----------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Tensor:
        """A view by ints, slices, `None` and `...`; a copy by an index tensor on one axis."""
        parts = key if isinstance(key, tuple) else (key,)
        arrays = [i for i, each in enumerate(parts) if _is_indices(each)]
        if not arrays:
            return ops.index(self, key=ops.frozen_key(key))
        if len(arrays) > 1:
            raise IndexRangeError(
                "index: two index tensors in one key\n  write one after the other: x[a][:, b]"
            )
        (at,) = arrays
        basic = (*parts[:at], slice(None), *parts[at + 1 :])
        before = [each for each in parts[:at] if each is not None]
        if any(each is Ellipsis for each in before):
            rest = [each for each in parts[at + 1 :] if each is not None]
            axis = len(self.shape) - len(rest) - 1
        else:
            axis = len(before)
        kept = sum(1 for each in before if isinstance(each, int))
        axis += sum(1 for each in parts[:at] if each is None) - kept
        viewed: Tensor = ops.index(self, key=ops.frozen_key(basic))
        return ops.take(viewed, _indices(parts[at], viewed), axis=axis)

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(self.shape[0]))

    # -- shape -------------------------------------------------------------------------

    def reshape(self, *shape: int | tuple[int, ...]) -> Tensor:
        """The same elements in another shape; one size may be -1."""
        return ops.reshape(self, shape=_flat(shape))

    def flatten(self) -> Tensor:
        """(N, ...) -> (N, D)."""
        rows = self.shape[0] if self.shape else 1
        columns = 1
        for size in self.shape[1:]:
            columns *= size
        return ops.reshape(self, shape=(rows, columns))

    def permute_dims(self, *axes: int | tuple[int, ...]) -> Tensor:
        """The axes in another order, without a copy; reversed if none are given."""
        return ops.permute_dims(self, axes=_flat(axes) if axes else None)

    def transpose(self, *axes: int | tuple[int, ...]) -> Tensor:
        """`permute_dims`, by NumPy's name."""
        return self.permute_dims(*axes)

    def broadcast_to(self, shape: tuple[int, ...]) -> Tensor:
        """The elements repeated along new and stretched axes, without a copy."""
        return ops.broadcast_to(self, shape=tuple(shape))

    def copy(self) -> Tensor:
        """The same values in memory of their own, contiguous."""
        return ops.copy(self)

    # -- types -------------------------------------------------------------------------

    def cast(self, scalar_type: ScalarType | str) -> Tensor:
        """The values in another scalar type, rounded to nearest even."""
        return ops.cast(self, scalar_type=ScalarType(scalar_type))

    def scaled_cast(self, scalar_type: ScalarType | str, scale: float) -> Tensor:
        """x * scale in another scalar type, in one pass: `images.scaled_cast("f32", 1 / 255)`."""
        return ops.scaled_cast(self, scalar_type=ScalarType(scalar_type), scale=scale)

    # -- reductions --------------------------------------------------------------------

    def sum(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """The sum over axes (all by default); integers are summed in 64 bits."""
        return ops.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """The mean over axes (all by default); of integers in f32."""
        return ops.mean(self, axis=axis, keepdims=keepdims)

    def max(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """The largest over axes; equal ones share the gradient."""
        return ops.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """The smallest over axes; equal ones share the gradient."""
        return ops.min(self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
        """The index (i64) of the first largest along an axis, or of the flat array."""
        return ops.argmax(self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
        """The index (i64) of the first smallest along an axis, or of the flat array."""
        return ops.argmin(self, axis=axis, keepdims=keepdims)

    # -- functions ---------------------------------------------------------------------

    def abs(self) -> Tensor:
        return ops.abs(self)

    def exp(self) -> Tensor:
        return ops.exp(self)

    def log(self) -> Tensor:
        """The natural logarithm."""
        return ops.log(self)

    def sqrt(self) -> Tensor:
        return ops.sqrt(self)

    def tanh(self) -> Tensor:
        return ops.tanh(self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + exp(-x))."""
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        """max(x, 0), with gradient 0 at 0."""
        return ops.relu(self)

    def matmul(self, other: Any) -> Tensor:
        """The matrix product, over batches that broadcast."""
        return ops.matmul(self, other)

    def cross_entropy_loss(self, target: Any) -> Tensor:
        """The mean cross entropy of scores (N, classes) and class indices (N,): a scalar."""
        return ops.cross_entropy_loss(self, target)


def _flat(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """(2, 3) from both f(2, 3) and f((2, 3))."""
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes


def _is_indices(part: Any) -> bool:
    return isinstance(part, list | np.ndarray) or (isinstance(part, Methods) and part.shape != ())


def _indices(part: Any, x: Tensor) -> Tensor:
    from .tensor import Tensor

    return part if isinstance(part, Tensor) else Tensor(part, device=x.device)
