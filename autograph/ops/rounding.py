"""Pointwise steps between whole numbers, and what stands in for values that are not numbers."""

from typing import Any

import numpy as np
from ml_dtypes import finfo

from ..scalar_type import ScalarType
from .elementwise import only
from .pointwise import drawn, pointwise


def _between_steps(rng, shape):
    """Halves and whole numbers are where the steps are."""
    return rng.integers(-4, 4, size=shape) + rng.uniform(0.1, 0.4, size=shape)


def _step(name):
    op = pointwise(name, "x", f"{name}(x)", samples=drawn(1, _between_steps))
    return only(op, "signed", "unsigned", "float", write="x.cast('i64')")


floor = _step("floor")
ceil = _step("ceil")
round = _step("round")  # halves to the even neighbour
trunc = _step("trunc")


def _not_numbers(rng):
    x = rng.normal(size=(3, 4))
    yield (x, 0.0, 1e4, -1e4), {}
    yield (np.where(x > 1, np.inf, x), 0.5, 1e4, -1e4), {}


replace_non_finite = pointwise(
    "replace_non_finite",
    "x nan high low",
    "where(isnan(x), nan, where(isinf(x), where(x > 0, high, low), x))",
    dx="where(isfinite(x), dy, 0)",
    promotes="x",
    samples=_not_numbers,
)


def nan_to_num(
    x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """x with numbers for NaN and the infinities: the largest of the scalar type unless said."""
    scalar_type = ScalarType.of(x)
    if not scalar_type.is_float:
        return x
    largest = float(finfo(scalar_type.dtype).max)
    high = largest if posinf is None else float(posinf)
    low = -largest if neginf is None else float(neginf)
    return replace_non_finite(x, float(nan), high, low)
