"""How floats are summed on the host so that no length loses digits."""

from typing import Any

import numpy as np

PLAIN = 256  # numbers that may be added one after the other in f32


def summed(x: Any, axes: tuple[int, ...], *, keepdims: bool = False) -> Any:
    """The sum over axes. NumPy adds pairwise along a contiguous last axis and one by one along
    others, where the error of an f32 sum grows with its length: those are added in f64.
    """
    if x.dtype == np.float32 and _added_one_by_one(x, axes) > PLAIN:
        return x.sum(axis=axes, keepdims=keepdims, dtype=np.float64).astype(np.float32)
    return x.sum(axis=axes, keepdims=keepdims, dtype=x.dtype)


def _added_one_by_one(x: Any, axes: tuple[int, ...]) -> int:
    """How many numbers or pairwise sums are added one after the other."""
    if not isinstance(x, np.ndarray):
        return 0  # CuPy sums in a tree
    count, run = 1, x.itemsize
    for axis in sorted(axes, key=lambda axis: abs(x.strides[axis])):
        if abs(x.strides[axis]) == run:
            run *= x.shape[axis]  # one pairwise run over neighbouring axes
        else:
            count *= x.shape[axis]
    return count
