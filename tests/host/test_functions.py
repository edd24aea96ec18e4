"""The engine's own functions against float64, and at the ends."""

# ruff: noqa: F821 - kernels have names that `Kernel.of` binds, such as T

import math

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from autograph.backends.host import functions
from autograph.backends.host.jit import kernel
from autograph.backends.host.scalars import f32


@kernel
def apply(task, count: int, x: f32, y: f32):
    for i in range(count):
        y[i] = FUNCTION(x[i])


erf, erfc = np.vectorize(math.erf), np.vectorize(math.erfc)


RANGES = {
    "exp": (np.exp, -103.0, 88.7, 1.5),
    "log": (np.log, 1e-38, 1e38, 1.0),
    "expm1": (np.expm1, -30.0, 88.7, 2.5),
    "log1p": (np.log1p, -0.999, 100.0, 2.5),
    "tanh": (np.tanh, -12.0, 12.0, 3.0),
    "erf": (erf, -5.0, 5.0, 2.0),
    "erfc": (erfc, -5.0, 9.0, 5.0),
}


def run(name, x):
    y = np.empty_like(x)
    apply.of(FUNCTION=getattr(functions, name))(1, x.size, x, y)
    return y


@pytest.mark.parametrize("name", RANGES)
def test_functions_are_right_to_the_stated_units_of_the_last_place(name):
    reference, low, high, limit = RANGES[name]
    x = np.linspace(low, high, 200_001).astype(np.float32)
    if name == "log":
        x = np.exp(np.linspace(-87.0, 87.0, 200_001)).astype(np.float32)
    right = reference(x.astype(np.float64))
    unit = np.spacing(np.abs(right).astype(np.float32)).astype(np.float64)

    assert np.max(np.abs(run(name, x) - right) / np.maximum(unit, 1.4e-45)) <= limit


@pytest.mark.parametrize("name", RANGES)
def test_functions_at_the_ends_are_numpys(name):
    ends = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e38, -1e38, 1e-40, -1e-40, 100.0, -200.0]
    x = np.array(ends, np.float32)
    with np.errstate(all="ignore"):
        right = RANGES[name][0](x.astype(np.float64)).astype(np.float32)

    np.testing.assert_allclose(run(name, x), right, rtol=1e-6, atol=1e-45)
