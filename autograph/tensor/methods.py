"""The operators and methods of tensors: each is an op, none has arithmetic of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import ops
from ..scalar_type import ScalarType
from .arranging import Arranging
from .operators import Operators
from .reducing import Reducing

if TYPE_CHECKING:
    from .tensor import Tensor


class Methods(Operators, Arranging, Reducing):
    """Ops by name: functions of each element here, the rest in the bases."""

    __slots__ = ()

    # -- types -------------------------------------------------------------------------

    def copy(self) -> Tensor:
        """The same values in memory of their own, contiguous."""
        return ops.copy(self)

    def cast(self, scalar_type: ScalarType | str) -> Tensor:
        """The values in another scalar type, rounded to nearest even."""
        return ops.cast(self, scalar_type=ScalarType(scalar_type))

    def scaled_cast(self, scalar_type: ScalarType | str, scale: float) -> Tensor:
        """x * scale in another scalar type, in one pass: `images.scaled_cast("f32", 1 / 255)`."""
        return ops.scaled_cast(self, scalar_type=ScalarType(scalar_type), scale=scale)

    # -- functions ---------------------------------------------------------------------

    def abs(self) -> Tensor:
        return ops.abs(self)

    def sign(self) -> Tensor:
        """-1, 0 or 1."""
        return ops.sign(self)

    def square(self) -> Tensor:
        """x * x."""
        return ops.square(self)

    def sqrt(self) -> Tensor:
        return ops.sqrt(self)

    def rsqrt(self) -> Tensor:
        """1 / sqrt(x)."""
        return ops.rsqrt(self)

    def reciprocal(self) -> Tensor:
        """1 / x."""
        return ops.reciprocal(self)

    def exp(self) -> Tensor:
        return ops.exp(self)

    def exp2(self) -> Tensor:
        """2 ** x."""
        return ops.exp2(self)

    def expm1(self) -> Tensor:
        """exp(x) - 1, exact near 0."""
        return ops.expm1(self)

    def log(self) -> Tensor:
        """The natural logarithm."""
        return ops.log(self)

    def log1p(self) -> Tensor:
        """log(1 + x), exact near 0."""
        return ops.log1p(self)

    def log2(self) -> Tensor:
        return ops.log2(self)

    def log10(self) -> Tensor:
        return ops.log10(self)

    def sin(self) -> Tensor:
        return ops.sin(self)

    def cos(self) -> Tensor:
        return ops.cos(self)

    def tan(self) -> Tensor:
        return ops.tan(self)

    def asin(self) -> Tensor:
        return ops.asin(self)

    def acos(self) -> Tensor:
        return ops.acos(self)

    def atan(self) -> Tensor:
        return ops.atan(self)

    def sinh(self) -> Tensor:
        return ops.sinh(self)

    def cosh(self) -> Tensor:
        return ops.cosh(self)

    def tanh(self) -> Tensor:
        return ops.tanh(self)

    def asinh(self) -> Tensor:
        return ops.asinh(self)

    def acosh(self) -> Tensor:
        return ops.acosh(self)

    def atanh(self) -> Tensor:
        return ops.atanh(self)

    def erf(self) -> Tensor:
        """The error function."""
        return ops.erf(self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + exp(-x))."""
        return ops.sigmoid(self)

    def logsigmoid(self) -> Tensor:
        """log(sigmoid(x))."""
        return ops.logsigmoid(self)

    def relu(self) -> Tensor:
        """max(x, 0), with gradient 0 at 0."""
        return ops.relu(self)

    def floor(self) -> Tensor:
        return ops.floor(self)

    def ceil(self) -> Tensor:
        return ops.ceil(self)

    def round(self) -> Tensor:
        """The nearest whole number, of two the even one."""
        return ops.round(self)

    def trunc(self) -> Tensor:
        """The whole number next to it towards 0."""
        return ops.trunc(self)

    def isnan(self) -> Tensor:
        return ops.isnan(self)

    def isinf(self) -> Tensor:
        return ops.isinf(self)

    def isfinite(self) -> Tensor:
        return ops.isfinite(self)

    def nan_to_num(
        self, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
    ) -> Tensor:
        """With numbers for NaN and the infinities."""
        return ops.nan_to_num(self, nan, posinf, neginf)

    def clip(self, low: Any = None, high: Any = None) -> Tensor:
        """Within bounds, each a number, a tensor or absent."""
        return ops.clip(self, low, high)

    def maximum(self, other: Any) -> Tensor:
        """The larger of two, element by element."""
        return ops.maximum(self, other)

    def minimum(self, other: Any) -> Tensor:
        """The smaller of two, element by element."""
        return ops.minimum(self, other)

    def lerp(self, other: Any, weight: Any) -> Tensor:
        """x + weight * (other - x)."""
        return ops.lerp(self, other, weight)

    def cross_entropy_loss(
        self,
        target: Any,
        weight: Any = None,
        *,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> Tensor:
        """The cross entropy of scores (N, classes, ...) and class indices (N, ...), or class
        probabilities of the shape of the scores: the mean by default, a scalar.

        `weight` (classes,) counts classes differently; targets equal to `ignore_index` do not
        count; `label_smoothing` mixes that share of the uniform distribution in; `reduction` is
        "mean", "sum" or "none".
        """
        plain = weight is None and ignore_index is None and not label_smoothing
        indices = getattr(target, "shape", ()) != self.shape and len(self.shape) == 2
        if plain and indices and reduction == "mean":
            return ops.cross_entropy_loss(self, target)
        return ops.cross_entropy(
            self,
            target,
            weight,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            reduction=reduction,
        )
