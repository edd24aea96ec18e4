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
        i
        for i, each in enumerate(inputs)
        if not halves and each is not None and each.scalar_type.is_half
    ]
    wide = F32.dtype
    single = dtypes[0] if len(dtypes) == 1 else None

    def run(*arrays: Any, **settings: Any) -> Any:
        if widened:
            widths = list(arrays)
            for i in widened:
                if hasattr(widths[i], "astype"):
                    widths[i] = widths[i].astype(wide)
            arrays = tuple(widths)
        before = hush()
        try:
            y = kernel(*arrays, **settings)
            if single is not None:
                if type(y) is np.ndarray and y.dtype is single:
                    return y
                return _exact(y, single)
            if not dtypes:
                return None
            if not isinstance(y, tuple | list) or len(y) != len(dtypes):
                return y  # which the plan refuses
            return tuple(_exact(each, dtype) for each, dtype in zip(y, dtypes, strict=True))
        finally:
            unhush(before)

    return run


def _exact(y: Any, dtype: np.dtype[Any]) -> Any:
    if isinstance(y, np.generic | bool | int | float):
        return np.asarray(y, dtype)
    return y if getattr(y, "dtype", dtype) == dtype else y.astype(dtype)


try:  # what np.errstate does, at a quarter of its time
    from numpy._core.umath import _extobj_contextvar, _make_extobj

    _SILENT = _make_extobj(all="ignore")

    def hush() -> Any:
        """Turn NumPy's floating point warnings off in this context."""
        return _extobj_contextvar.set(_SILENT)

    unhush = _extobj_contextvar.reset
except ImportError:

    def hush() -> Any:
        """Turn NumPy's floating point warnings off in this context."""
        return np.seterr(all="ignore")

    def unhush(before: Any) -> None:
        np.seterr(**before)
