"""The methods of tensors that reduce, scan or order them, and those of linear algebra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import ops

if TYPE_CHECKING:
    from .tensor import Tensor

Axis = int | tuple[int, ...] | None


class Reducing:
    """Over axes: none named is all of them; negative ones count from the last."""

    __slots__ = ()

    # -- reductions --------------------------------------------------------------------

    def sum(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """The sum over axes (all by default); integers are summed in 64 bits."""
        return ops.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """The mean over axes (all by default); of integers in f32."""
        return ops.mean(self, axis=axis, keepdims=keepdims)

    def prod(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """The product over axes; of integers in 64 bits."""
        return ops.prod(self, axis=axis, keepdims=keepdims)

    def max(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """The largest over axes; equal ones share the gradient."""
        return ops.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """The smallest over axes; equal ones share the gradient."""
        return ops.min(self, axis=axis, keepdims=keepdims)

    def any(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """Whether any element over axes is not 0."""
        return ops.any(self, axis=axis, keepdims=keepdims)

    def all(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """Whether all elements over axes are not 0."""
        return ops.all(self, axis=axis, keepdims=keepdims)

    def count_nonzero(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """How many elements over axes are not 0 (i64)."""
        return ops.count_nonzero(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Axis = None, *, correction: float = 0, keepdims: bool = False) -> Tensor:
        """The mean square distance to the mean; of samples with correction=1."""
        return ops.var(self, axis=axis, correction=correction, keepdims=keepdims)

    def std(self, axis: Axis = None, *, correction: float = 0, keepdims: bool = False) -> Tensor:
        """The root of the variance; of samples with correction=1."""
        return ops.std(self, axis=axis, correction=correction, keepdims=keepdims)

    def logsumexp(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """log(sum(exp(x))) over axes, without overflow."""
        return ops.logsumexp(self, axis=axis, keepdims=keepdims)

    def norm(self, axis: Axis = None, *, ord: float = 2, keepdims: bool = False) -> Tensor:
        """The norm of the vectors along axes (of all elements by default)."""
        return ops.norm(self, ord=ord, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
        """The index (i64) of the first largest along an axis, or of the flat array."""
        return ops.argmax(self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
        """The index (i64) of the first smallest along an axis, or of the flat array."""
        return ops.argmin(self, axis=axis, keepdims=keepdims)

    # -- scans and order ---------------------------------------------------------------

    def cumsum(self, axis: int | None = None) -> Tensor:
        """The running sum along an axis."""
        return ops.cumsum(self, axis=axis)

    def cumprod(self, axis: int | None = None) -> Tensor:
        """The running product along an axis."""
        return ops.cumprod(self, axis=axis)

    def cummax(self, axis: int | None = None) -> tuple[Tensor, Tensor]:
        """The largest so far along an axis, and its index (i64)."""
        return ops.cummax(self, axis=axis)

    def cummin(self, axis: int | None = None) -> tuple[Tensor, Tensor]:
        """The smallest so far along an axis, and its index (i64)."""
        return ops.cummin(self, axis=axis)

    def sort(self, axis: int = -1, *, descending: bool = False) -> Tensor:
        """In order along an axis; equal elements keep theirs."""
        return ops.sort(self, axis=axis, descending=descending)

    def argsort(self, axis: int = -1, *, descending: bool = False) -> Tensor:
        """The indices (i64) that sort along an axis."""
        return ops.argsort(self, axis=axis, descending=descending)

    def topk(self, k: int, *, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
        """The k largest (or smallest) along an axis, the best first, and their indices (i64)."""
        return ops.topk(self, k=k, axis=axis, largest=largest)

    def searchsorted(self, values: Any, *, side: str = "left") -> Tensor:
        """Where values go into this sorted row (i64): before its equals, or after with "right"."""
        return ops.searchsorted(self, values, side=side)

    def unique(self, *, inverse: bool = False, counts: bool = False) -> Any:
        """The different values in rising order; which each element is, and how many there are."""
        return ops.unique(self, inverse=inverse, counts=counts)

    def bincount(self, weights: Any = None, *, minlength: int = 0) -> Tensor:
        """How often each whole number from 0 on occurs, or the sum of its weights."""
        return ops.bincount(self, weights, minlength=minlength)

    def softmax(self, axis: int = -1) -> Tensor:
        """exp(x) / sum(exp(x)) along an axis."""
        return ops.softmax(self, axis=axis)

    def log_softmax(self, axis: int = -1) -> Tensor:
        """x - logsumexp(x) along an axis."""
        return ops.log_softmax(self, axis=axis)

    # -- linear algebra ----------------------------------------------------------------

    def matmul(self, other: Any) -> Tensor:
        """The matrix product, over batches that broadcast."""
        return ops.matmul(self, other)

    def dot(self, other: Any) -> Tensor:
        """NumPy's dot: the product of vectors, or of matrices."""
        return ops.dot(self, other)

    def outer(self, other: Any) -> Tensor:
        """(N,), (M,) -> (N, M): x[i] * other[j]."""
        return ops.outer(self, other)

    def inv(self) -> Tensor:
        """The inverse of square matrices."""
        return ops.inv(self)

    def det(self) -> Tensor:
        """The determinant of square matrices."""
        return ops.det(self)

    def trace(self, offset: int = 0, *, axis1: int = 0, axis2: int = 1) -> Tensor:
        """The sum of the diagonal of two axes."""
        return ops.trace(self, offset=offset, axis1=axis1, axis2=axis2)

    def solve(self, b: Any) -> Tensor:
        """The x with self @ x = b."""
        return ops.solve(self, b)

    def cholesky(self, *, upper: bool = False) -> Tensor:
        """The lower triangle l with l @ l.T = self."""
        return ops.cholesky(self, upper=upper)

    def svdvals(self) -> Tensor:
        """The singular values, the largest first."""
        return ops.svdvals(self)
