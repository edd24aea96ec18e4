"""The functions of the expression language, in NumPy's and CuPy's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from math import erf
from typing import Any

import numpy as np

_OTHER_NAMES = {
    "abs": "absolute",
    "divide": "true_divide",
    "bitwise_not": "invert",
    "shift_left": "left_shift",
    "shift_right": "right_shift",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "atan2": "arctan2",
    "asinh": "arcsinh",
    "acosh": "arccosh",
    "atanh": "arctanh",
    "round": "rint",
}
_erf = np.frompyfunc(erf, 1, 1)


@cache
def functions_of(module: Any) -> Mapping[str, Callable[..., Any]]:
    """Each function of the language by name, taken from numpy or cupy."""
    from ..expression import FUNCTIONS

    own = {"rsqrt": _rsqrt, "erf": _erf_of(module)}
    return {
        name: own.get(name) or getattr(module, _OTHER_NAMES.get(name, name)) for name in FUNCTIONS
    }


def _rsqrt(x: Any) -> Any:
    return 1 / x**0.5


def _erf_of(module: Any) -> Callable[[Any], Any]:
    if module is np:
        return lambda x: np.asarray(_erf(x), np.result_type(x, np.float32))
    return lambda x: _cupy_erf()(x)


@cache
def _cupy_erf() -> Any:
    import cupy

    return cupy.ElementwiseKernel("T x", "T y", "y = erf(x)", "autograph_erf")
