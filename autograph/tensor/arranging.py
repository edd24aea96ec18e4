"""The methods of tensors that change their shape or choose elements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .. import ops
from .indexing import get

if TYPE_CHECKING:
    from .tensor import Tensor


class Arranging:
    """Views where that is possible, copies else."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def shape(self) -> tuple[int, ...]: ...

    # -- indexing ----------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Tensor:
        """A view by ints, slices, `None` and `...`; a copy with masks and index tensors too.

        >>> from autograph import Tensor
        >>> x = Tensor([[1, 2, 3], [4, 5, 6]])
        >>> x[:, [0, -1]]
        Tensor(host i64 (2, 2)
        [[1, 3],
         [4, 6]])
        >>> x[x > 2]
        Tensor(host i64 (4,) [3, 4, 5, 6])
        """
        return get(self, key)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(self.shape[0]))

    def take(self, indices: Any, *, axis: int = 0) -> Tensor:
        """Slices by index along one axis."""
        return ops.take(self, indices, axis=axis)

    def take_along_axis(self, indices: Any, *, axis: int = -1) -> Tensor:
        """Elements by index along one axis: indices has x's other axes."""
        return ops.take_along_axis(self, indices, axis=axis)

    def gather(self, indices: Any, *, axis: int = -1) -> Tensor:
        """`take_along_axis`, where the other axes of indices may be shorter."""
        return ops.gather(self, indices, axis=axis)

    def scatter(self, indices: Any, y: Any, *, axis: int = -1) -> Tensor:
        """A copy with y at indices along an axis."""
        return ops.scatter(self, indices, y, axis=axis)

    def scatter_add(self, indices: Any, y: Any, *, axis: int = -1) -> Tensor:
        """A copy with y added at indices along an axis."""
        return ops.scatter_add(self, indices, y, axis=axis)

    def index_add(self, indices: Any, y: Any, *, axis: int = 0) -> Tensor:
        """A copy with slices of y added at indices along an axis."""
        return ops.index_add(self, indices, y, axis=axis)

    def masked_fill(self, mask: Any, value: Any) -> Tensor:
        """A copy with `value` where the mask is true."""
        return ops.masked_fill(self, mask, value)

    def masked_select(self, mask: Any) -> Tensor:
        """The elements where the mask, which broadcasts, is true, in a row."""
        return ops.masked_select(self, mask)

    def where(self, condition: Any, other: Any) -> Tensor:
        """The elements where the condition is true, and those of the other elsewhere."""
        return ops.where(condition, self, other)

    def nonzero(self) -> tuple[Tensor, ...]:
        """The indices of the elements that are not 0, a tensor for each axis."""
        return ops.nonzero(self)

    # -- axes --------------------------------------------------------------------------

    def reshape(self, *shape: int | tuple[int, ...]) -> Tensor:
        """The same elements in another shape; one size may be -1."""
        return ops.reshape(self, shape=flat(shape))

    def flatten(self, *, start: int = 1, end: int = -1) -> Tensor:
        """The axes from `start` to `end` as one: (N, ...) -> (N, D)."""
        if len(self.shape) < 2 and start == 1:
            return ops.reshape(self, shape=(*self.shape, 1) if self.shape else (1, 1))
        return ops.flatten(self, start=start, end=end)

    def unflatten(self, axis: int, shape: Sequence[int]) -> Tensor:
        """One axis as several, of which one size may be -1."""
        return ops.unflatten(self, axis=axis, shape=shape)

    def permute_dims(self, *axes: int | tuple[int, ...]) -> Tensor:
        """The axes in another order, without a copy; reversed if none are given."""
        return ops.permute_dims(self, axes=flat(axes) if axes else None)

    def transpose(self, *axes: int | tuple[int, ...]) -> Tensor:
        """`permute_dims`, by NumPy's name."""
        return self.permute_dims(*axes)

    def broadcast_to(self, shape: tuple[int, ...]) -> Tensor:
        """The elements repeated along new and stretched axes, without a copy."""
        return ops.broadcast_to(self, shape=tuple(shape))

    def moveaxis(self, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
        """Axes moved to other places, the rest in their order."""
        return ops.moveaxis(self, source, destination)

    def swapaxes(self, first: int, second: int) -> Tensor:
        """Two axes exchanged."""
        return ops.swapaxes(self, first, second)

    def squeeze(self, axis: int | tuple[int, ...] | None = None) -> Tensor:
        """Without axes of size 1: all of them, or those named."""
        return ops.squeeze(self, axis=axis)

    def expand_dims(self, axis: int | tuple[int, ...] = 0) -> Tensor:
        """With axes of size 1 at these places of the result."""
        return ops.expand_dims(self, axis=axis)

    # -- parts -------------------------------------------------------------------------

    def split(self, parts: int | Sequence[int], *, axis: int = 0) -> tuple[Tensor, ...]:
        """Views cut along an axis: into equal parts, or before these indices."""
        return ops.split(self, parts, axis=axis)

    def chunk(self, parts: int, *, axis: int = 0) -> tuple[Tensor, ...]:
        """At most so many views along an axis, equal but for the last."""
        return ops.chunk(self, parts, axis=axis)

    def unbind(self, *, axis: int = 0) -> tuple[Tensor, ...]:
        """The views at each index of an axis."""
        return ops.unbind(self, axis=axis)

    def flip(self, *, axis: int | tuple[int, ...] | None = None) -> Tensor:
        """A view that runs backwards along axes (all by default)."""
        return ops.flip(self, axis=axis)

    def roll(
        self, shift: int | Sequence[int], *, axis: int | Sequence[int] | None = None
    ) -> Tensor:
        """Elements moved along axes, those that leave at one end coming in at the other."""
        return ops.roll(self, shift, axis=axis)

    def tile(self, repeats: int | Sequence[int]) -> Tensor:
        """The whole tensor repeated along each axis."""
        return ops.tile(self, repeats)

    def repeat(self, repeats: int | Sequence[int], *, axis: int | None = None) -> Tensor:
        """Each element repeated in its place along an axis (or in the flat array)."""
        return ops.repeat(self, repeats, axis=axis)

    def pad(self, widths: Any, *, mode: str = "constant", value: float = 0) -> Tensor:
        """More elements around: (before, after) for each axis, or one number for all."""
        return ops.pad(self, widths, mode=mode, value=value)

    def tril(self, k: int = 0) -> Tensor:
        """With zeros above the k-th diagonal."""
        return ops.tril(self, k=k)

    def triu(self, k: int = 0) -> Tensor:
        """With zeros below the k-th diagonal."""
        return ops.triu(self, k=k)

    def diagonal(self, offset: int = 0, *, axis1: int = 0, axis2: int = 1) -> Tensor:
        """A view of the diagonal of two axes, as the last axis."""
        return ops.diagonal(self, offset=offset, axis1=axis1, axis2=axis2)


def flat(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """(2, 3) from both f(2, 3) and f((2, 3))."""
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes
