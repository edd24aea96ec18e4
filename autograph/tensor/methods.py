"""The operators and methods of tensors: each is an op, none has arithmetic of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import ops
from ..scalar_type import ScalarType
from .arranging import Arranging
from .operators import Operators
from .reducing import Reducing
from .staircase import apply_one

if TYPE_CHECKING:
    from .tensor import Tensor


class Methods(Operators, Arranging, Reducing):
    """Ops by name: functions of each element here, the rest in the bases."""

    __slots__ = ()

    # -- types -------------------------------------------------------------------------

    def copy(self) -> Tensor:
        """The same values in memory of their own, contiguous."""
        return apply_one(ops.copy, self)

    def cast(self, scalar_type: ScalarType | str) -> Tensor:
        """The values in another scalar type, rounded to nearest even."""
        return ops.cast(self, scalar_type=ScalarType(scalar_type))

    def scaled_cast(self, scalar_type: ScalarType | str, scale: float) -> Tensor:
        """x * scale in another scalar type, in one pass: `images.scaled_cast("f32", 1 / 255)`."""
        return ops.scaled_cast(self, scalar_type=ScalarType(scalar_type), scale=scale)

    # -- functions ---------------------------------------------------------------------

    def abs(self) -> Tensor:
        return apply_one(ops.abs, self)

    def sign(self) -> Tensor:
        """-1, 0 or 1."""
        return apply_one(ops.sign, self)

    def square(self) -> Tensor:
        """x * x."""
        return apply_one(ops.square, self)

    def sqrt(self) -> Tensor:
        return apply_one(ops.sqrt, self)

    def rsqrt(self) -> Tensor:
        """1 / sqrt(x)."""
        return apply_one(ops.rsqrt, self)

    def reciprocal(self) -> Tensor:
        """1 / x."""
        return apply_one(ops.reciprocal, self)

    def exp(self) -> Tensor:
        return apply_one(ops.exp, self)

    def exp2(self) -> Tensor:
        """2 ** x."""
        return apply_one(ops.exp2, self)

    def expm1(self) -> Tensor:
        """exp(x) - 1, exact near 0."""
        return apply_one(ops.expm1, self)

    def log(self) -> Tensor:
        """The natural logarithm."""
        return apply_one(ops.log, self)

    def log1p(self) -> Tensor:
        """log(1 + x), exact near 0."""
        return apply_one(ops.log1p, self)

    def log2(self) -> Tensor:
        return apply_one(ops.log2, self)

    def log10(self) -> Tensor:
        return apply_one(ops.log10, self)

    def sin(self) -> Tensor:
        return apply_one(ops.sin, self)

    def cos(self) -> Tensor:
        return apply_one(ops.cos, self)

    def tan(self) -> Tensor:
        return apply_one(ops.tan, self)

    def asin(self) -> Tensor:
        return apply_one(ops.asin, self)

    def acos(self) -> Tensor:
        return apply_one(ops.acos, self)

    def atan(self) -> Tensor:
        return apply_one(ops.atan, self)

    def sinh(self) -> Tensor:
        return apply_one(ops.sinh, self)

    def cosh(self) -> Tensor:
        return apply_one(ops.cosh, self)

    def tanh(self) -> Tensor:
        return apply_one(ops.tanh, self)

    def asinh(self) -> Tensor:
        return apply_one(ops.asinh, self)

    def acosh(self) -> Tensor:
        return apply_one(ops.acosh, self)

    def atanh(self) -> Tensor:
        return apply_one(ops.atanh, self)

    def erf(self) -> Tensor:
        """The error function."""
        return apply_one(ops.erf, self)

    def erfc(self) -> Tensor:
        """1 - erf(x), exact where that is small."""
        return apply_one(ops.erfc, self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + exp(-x))."""
        return apply_one(ops.sigmoid, self)

    def logsigmoid(self) -> Tensor:
        """log(sigmoid(x))."""
        return apply_one(ops.logsigmoid, self)

    def relu(self) -> Tensor:
        """max(x, 0), with gradient 0 at 0."""
        return apply_one(ops.relu, self)

    def floor(self) -> Tensor:
        return apply_one(ops.floor, self)

    def ceil(self) -> Tensor:
        return apply_one(ops.ceil, self)

    def round(self) -> Tensor:
        """The nearest whole number, of two the even one."""
        return apply_one(ops.round, self)

    def trunc(self) -> Tensor:
        """The whole number next to it towards 0."""
        return apply_one(ops.trunc, self)

    def isnan(self) -> Tensor:
        return apply_one(ops.isnan, self)

    def isinf(self) -> Tensor:
        return apply_one(ops.isinf, self)

    def isfinite(self) -> Tensor:
        return apply_one(ops.isfinite, self)

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

    def atan2(self, other: Any) -> Tensor:
        """The angle of the point (other, x)."""
        return ops.atan2(self, other)

    def copysign(self, other: Any) -> Tensor:
        """|x| with the sign of the other."""
        return ops.copysign(self, other)

    def hypot(self, other: Any) -> Tensor:
        """sqrt(x² + other²), without overflow."""
        return ops.hypot(self, other)

    def logaddexp(self, other: Any) -> Tensor:
        """log(exp(x) + exp(other)), without overflow."""
        return ops.logaddexp(self, other)

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
        shape = self.shape
        indices = len(shape) == 2 and getattr(target, "shape", ()) != shape
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
