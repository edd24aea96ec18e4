"""Activations: pointwise ops that bend a layer's output.

Where a letter beside x shapes the curve (`slope`, `alpha`, `beta`, `low`, `high`), it is data: a
number, or a tensor that has a gradient of its own.
"""

from typing import Any

import numpy as np

from .pointwise import pointwise
from .shape import reshape


def _kinks_at(*kinks, numbers=()):
    """x a little away from every kink, then the op's other inputs."""

    def samples(rng):
        for shape in ((3, 4), (), (0, 2), (2, 3, 1, 5)):
            x = rng.normal(size=shape) * 3
            for kink in kinks:
                x += np.where(np.abs(x - kink) < 0.05, 0.1, 0.0)
            yield (x, *numbers), {}
        if numbers:
            others = [np.asarray(each) + rng.uniform(0.0, 0.2, size=(3, 1)) for each in numbers]
            yield (rng.normal(size=(2, 3, 4)) + 10.0, *others), {}

    return samples


# -- Rectifiers --------------------------------------------------------------------------

leaky_relu = pointwise(
    "leaky_relu",
    "x slope",
    "where(x > 0, x, slope * x)",
    dx="where(x > 0, dy, slope * dy)",
    dslope="where(x > 0, 0, dy * x)",
    floats=True,
    samples=_kinks_at(0.0, numbers=(0.01,)),
)


def prelu(x: Any, slope: Any) -> Any:
    """`leaky_relu` with a slope (C,) for each channel of (N, C, ...), or (1,) for all (He and
    others, 2015)."""
    return leaky_relu(x, reshape(slope, shape=(-1, *[1] * (len(x.shape) - 2))))


relu6 = pointwise(
    "relu6",
    "x",
    "where(x <= 0, 0, where(x >= 6, 6, x))",
    dx="where((x > 0) & (x < 6), dy, 0)",
    samples=_kinks_at(0.0, 6.0),
)
hardtanh = pointwise(
    "hardtanh",
    "x low high",
    "where(x <= low, low, where(x >= high, high, x))",
    dx="where((x > low) & (x < high), dy, 0)",
    dlow="where(x <= low, dy, 0)",
    dhigh="where((x > low) & (x >= high), dy, 0)",
    samples=_kinks_at(-1.0, 1.0, numbers=(-1.0, 1.0)),
)
hardsigmoid = pointwise(
    "hardsigmoid",
    "x",
    "where(x <= -3, 0, where(x >= 3, 1, x / 6 + 0.5))",
    dx="where((x > -3) & (x < 3), dy / 6, 0)",
    floats=True,
    samples=_kinks_at(-3.0, 3.0),
)
hardswish = pointwise(
    "hardswish",
    "x",
    "where(x >= 3, x, x * maximum(x + 3, 0) / 6)",
    dx="where(x <= -3, 0, where(x >= 3, dy, dy * (x / 3 + 0.5)))",
    floats=True,
    samples=_kinks_at(-3.0, 3.0),
)

# -- Exponential -------------------------------------------------------------------------
# exp of the negative half alone, so that nothing overflows and no 0 * inf comes of it

elu = pointwise(
    "elu",
    "x alpha",
    "where(x > 0, x, alpha * expm1(minimum(x, 0)))",
    dx="where(x > 0, dy, dy * alpha * exp(minimum(x, 0)))",
    dalpha="where(x > 0, 0, dy * expm1(minimum(x, 0)))",
    floats=True,
    samples=_kinks_at(0.0, numbers=(1.3,)),
)
celu = pointwise(
    "celu",
    "x alpha",
    "where(x > 0, x, alpha * expm1(s))",
    dx="where(x > 0, dy, dy * exp(s))",
    dalpha="where(x > 0, 0, dy * (expm1(s) - s * exp(s)))",
    s="minimum(x, 0) / alpha",
    floats=True,
    samples=_kinks_at(0.0, numbers=(1.3,)),
)
selu = pointwise(  # Klambauer, Unterthiner, Mayr and Hochreiter, 2017
    "selu",
    "x",
    "where(x > 0, 1.0507009873554805 * x, 1.7580993408473766 * expm1(minimum(x, 0)))",
    dx="dy * where(x > 0, 1.0507009873554805, 1.7580993408473766 * exp(minimum(x, 0)))",
    floats=True,
    samples=_kinks_at(0.0),
)

# -- Smooth ------------------------------------------------------------------------------

silu = pointwise(
    "silu",
    "x",
    "x * s",
    dx="dy * s * (1 + x * (1 - s))",
    e="exp(-abs(x))",
    s="where(x >= 0, 1 / (1 + e), e / (1 + e))",
    floats=True,
)
softplus = pointwise(
    "softplus",
    "x beta",
    "maximum(x, 0) + log1p(e) / beta",
    dx="dy * s",
    dbeta="dy * (where(x > 0, x * (s - 1), x * s) - log1p(e) / beta) / beta",
    e="exp(-abs(beta * x))",
    s="where(x >= 0, 1 / (1 + e), e / (1 + e))",
    floats=True,
    samples=_kinks_at(0.0, numbers=(1.5,)),
)
mish = pointwise(  # Misra, 2019
    "mish",
    "x",
    "x * t",
    dx="dy * (t + x * s * (1 - t * t))",
    e="exp(-abs(x))",
    s="where(x >= 0, 1 / (1 + e), e / (1 + e))",
    t="tanh(maximum(x, 0) + log1p(e))",
    floats=True,
)
softsign = pointwise(
    "softsign", "x", "x / (1 + abs(x))", dx="dy / (1 + abs(x)) / (1 + abs(x))", floats=True
)
gelu = pointwise(  # Hendrycks and Gimpel, 2016
    "gelu",
    "x",
    "x * c",
    dx="dy * (c + x * 0.3989422804014327 * exp(-0.5 * x * x))",
    c="0.5 * erfc(-0.7071067811865476 * x)",
    floats=True,
)
gelu_tanh = pointwise(
    "gelu_tanh",
    "x",
    "0.5 * x * (1 + t)",
    dx="dy * 0.5 * (1 + t + x * (1 - t * t) * (a + 3 * b * x * x))",
    a="0.7978845608028654",
    b="0.035677408136300125",
    t="tanh(a * x + b * x * x * x)",
    floats=True,
)
