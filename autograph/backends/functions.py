"""The functions of the expression language, in NumPy's and CuPy's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from ..errors import DivisionError, ScalarTypeError
from .error_function import erf, erfc

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
}


@cache
def functions_of(module: Any) -> Mapping[str, Callable[..., Any]]:
    """Each function of the language by name, taken from numpy or cupy."""
    from ..expression import FUNCTIONS

    own: dict[str, Callable[..., Any]] = {
        "rsqrt": lambda x: 1 / module.sqrt(x),
        "round": lambda x: x if _is_integer(x) else module.rint(x),
        "power": _power_of(module),
    }
    if module is np:
        own |= {
            "erf": erf,
            "erfc": erfc,
            "floor_divide": _refusing_zero("floor_divide", np.floor_divide),
            "remainder": _refusing_zero("remainder", np.remainder),
            "fmod": _refusing_zero("fmod", np.fmod),
        }
    else:
        own |= {
            "erf": _cupy_function("erf"),
            "erfc": _cupy_function("erfc"),
            "where": lambda c, a, b: module.where(module.asarray(c), a, b),  # also of one number
        }
    return {
        name: own.get(name) or getattr(module, _OTHER_NAMES.get(name, name)) for name in FUNCTIONS
    }


def _is_integer(x: Any) -> bool:
    return isinstance(x, int) or getattr(getattr(x, "dtype", None), "kind", "f") in "biu"


def _power_of(module: Any) -> Callable[[Any, Any], Any]:
    """x**y; of integers to a negative power 0, but for 1 and -1, as in PyTorch."""

    def power(a: Any, b: Any) -> Any:
        if not (_is_integer(a) and _is_integer(b)):
            if isinstance(b, int | float) and hasattr(a, "shape"):
                return a**b  # NumPy squares where b is 2, and so on
            return module.power(a, b)
        if isinstance(b, int):
            if b < 0:
                raise ScalarTypeError(
                    "power: an integer has no negative power\n  write  x.cast('f32') ** -1"
                )
            return module.power(a, b)
        whole = module.power(a, module.maximum(b, 0))
        inverse = module.where(a == -1, 1 - 2 * (b % 2), module.where(a == 1, 1, 0))
        return module.where(b < 0, inverse.astype(whole.dtype), whole)

    return power


def _refusing_zero(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which refuses to divide integers by zero."""

    def divide(a: Any, b: Any) -> Any:
        if _is_integer(a) and _is_integer(b) and not np.all(b):
            raise DivisionError(
                f"{name}: an integer is divided by zero\n"
                f"  write  x.cast('f32') for a division that answers infinity or NaN"
            )
        return function(a, b)

    return divide


def _cupy_function(name: str) -> Callable[[Any], Any]:
    return lambda x: _cupy_kernel(name)(x)


@cache
def _cupy_kernel(name: str) -> Any:
    import cupy

    return cupy.ElementwiseKernel("T x", "T y", f"y = {name}(x)", f"autograph_{name}")
