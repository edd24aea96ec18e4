"""Kernels written in NumPy's language, which NumPy and CuPy both run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..outline import Outline
from ..scalar_type import F32


def namespace(array: Any) -> Any:
    """The module whose functions take this array: numpy or cupy."""
    return np if isinstance(array, np.ndarray | np.generic) else sys.modules["cupy"]


def adapt_arrays(
    kernel: Callable[..., Any],
    inputs: Sequence[Outline | None],
    outputs: Sequence[Outline],
    halves: bool,
) -> Callable[..., Any]:
    """A kernel over arrays made exact about types: halves computed in f32 and rounded once,
    scalars that NumPy returns made arrays again, floating point warnings left to the values.
    """
    dtypes = [outline.scalar_type.dtype for outline in outputs]
    widened = [
        i for i, each in enumerate(inputs)
        if not halves and each is not None and each.scalar_type.is_half
    ]
    wide = F32.dtype

    def exact(y: Any, dtype: np.dtype[Any]) -> Any:
        if isinstance(y, np.generic | bool | int | float):
            return np.asarray(y, dtype)
        return y if y.dtype == dtype else y.astype(dtype)

    def run(*arrays: Any, **settings: Any) -> Any:
        if widened:
            widths = list(arrays)
            for i in widened:
                if hasattr(widths[i], "astype"):
                    widths[i] = widths[i].astype(wide)
            arrays = tuple(widths)
        with np.errstate(all="ignore"):
            y = kernel(*arrays, **settings)
            if not dtypes:
                return None
            if len(dtypes) == 1:
                return exact(y, dtypes[0])
            return tuple(exact(each, dtype) for each, dtype in zip(y, dtypes, strict=True))

    return run
