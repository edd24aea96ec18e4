"""Batch normalisation: each channel over the batch (Ioffe and Szegedy, 2015).

Shapes: x (N, C, ...), y the same; weight, bias and the running statistics (C,).

`batch_norm` is for training: it standardises by the batch and lets the running statistics
follow it, running = running + momentum * (batch - running), the variance being the unbiased
one. `batch_norm_fixed` is for inference: it standardises by the running statistics.
"""

from math import prod
from typing import Any

import numpy as np

from ...backends import CUDA, CUPY, NATIVE, NUMPY
from ...errors import ShapeError
from ...op import Op
from ...scalar_type import ScalarType
from ..declare import alike
from ..elementwise import add, multiply, relu
from ..pointwise import pointwise
from ..shape import reshape
from ..transcendental import rsqrt
from ..update.follow import follow
from .standardise import (
    View,
    check_affine,
    gradients,
    outlines,
    standardised,
    standardised_parts,
)  # fmt: skip

batch_norm = Op(
    "batch_norm",
    "x weight? bias? running_mean? running_variance?",
    saves="mean scale",
    writes="running_mean running_variance",
    promotes="x weight bias",
    floats=True,
)
batch_norm_back = Op(
    "batch_norm_back",
    "dy x mean scale weight bias second?",
    outputs="dx dweight dbias",
    promotes="dy x weight bias second",
)
batch_norm.kernels_from(NATIVE, ".native_kernels")
for _op in (batch_norm, batch_norm_back):
    _op.kernels_from(CUDA, ".cuda_channels")


def _channel_samples(rng):
    yield (rng.normal(size=(2, 3, 4)), *[rng.normal(size=(3, 1)) for _ in range(3)]), {}
    yield (rng.normal(size=(2, 3)), rng.normal(size=3), rng.normal(size=3), 0.0), {}


through: Any = relu.gradient_of("x")[0]  # of dy and y
scale_shift = pointwise(
    "scale_shift", "x mean scale shift", "(x - mean) * scale + shift", samples=_channel_samples
)


def channel_view(x):
    n, c, *size = x.shape
    return View((n, c, prod(size)), (0, 2), (1, c, 1))


@batch_norm.outlined_by
def batch_norm_outline(
    x, weight, bias, running_mean, running_variance, *, momentum=0.1, epsilon=1e-5
):
    if x.ndim < 2:
        raise ShapeError(f"batch_norm: x has at least 2 axes\n  x  {x.shape}  N C ...")
    found = outlines("batch_norm", x, weight, bias, channel_view(x), x.shape[1:2])
    check_affine("batch_norm", x, running_mean, running_variance, x.shape[1:2])
    return found


@batch_norm.kernel(NUMPY, CUPY, halves=True)
def batch_norm_arrays(x, weight, bias, running_mean, running_variance, *, momentum, epsilon):
    count = x.size // x.shape[1]
    if count < 2:
        raise ShapeError(
            f"batch_norm: a channel needs more than one value to train on\n"
            f"  x  {x.shape}  N C ...\n"
            f"  give a larger batch, or infer: with training(False)"
        )
    dtype = ScalarType.of(x).accumulator.dtype
    x, weight, bias = (
        None if each is None else each.astype(dtype, copy=False) for each in (x, weight, bias)
    )
    y, mean, scale, variance = standardised(x, weight, bias, channel_view(x), epsilon)
    for running, batch in (
        (running_mean, mean),
        (running_variance, variance * (count / (count - 1))),
    ):
        if running is not None:
            wide = running.astype(ScalarType.of(running).accumulator.dtype, copy=False)
            running[...] = wide + momentum * (batch.reshape(-1) - wide)
    return y, mean, scale


@batch_norm.gradient("x", "weight", "bias")
def batch_norm_gradient(y, x, weight, bias, *_, mean, scale, needs, **settings):
    if all(needs):
        return lambda dy: batch_norm_back(dy, x, mean, scale, weight, bias)
    return gradients(x, mean, scale, weight, bias, channel_view(x), needs)


alike(batch_norm_back, "x weight bias", rectified=False)


@batch_norm_back.kernel(NUMPY, CUPY, halves=True)
def batch_norm_back_arrays(dy, x, mean, scale, weight, bias, second, *, rectified):
    """`rectified`: dy is of the relu of what batch_norm answered; `second` is added to it."""
    if second is not None:
        dy = add(dy, second)
    if rectified:
        dy = through(dy, _standardised(x, mean, scale, weight, bias))
    return gradients(x, mean, scale, weight, bias, channel_view(x))(dy)


def _standardised(x, mean, scale, weight, bias):
    """What batch_norm answered."""
    channels = (1, -1, *[1] * (x.ndim - 2))
    wide = mean.dtype
    slope, shift = (each.astype(wide).reshape(channels) for each in (weight, bias))
    z = (x.astype(wide) - mean.reshape(channels)) * scale.reshape(channels)
    return (z * slope + shift).astype(x.dtype)


@batch_norm.composed_by
def batch_norm_parts(
    x, weight=None, bias=None, running_mean=None, running_variance=None, *, momentum, epsilon
):
    y, mean, variance = standardised_parts(x, weight, bias, channel_view(x), epsilon)
    count = prod(x.shape) // x.shape[1]
    if running_mean is not None:
        follow(running_mean, _value(reshape(mean, shape=-1)), momentum)
    if running_variance is not None:
        unbiased = multiply(reshape(variance, shape=-1), count / (count - 1))
        follow(running_variance, _value(unbiased), momentum)
    return y


def _value(x):
    """x without its graph, which what follows it is no part of."""
    return x.detach() if hasattr(x, "detach") else x


@batch_norm.sampled_by
def batch_norm_samples(rng):
    def channels(count):
        return rng.normal(size=count)

    yield (rng.normal(size=(4, 3)), None, None, None, None), {}
    yield (
        (rng.normal(size=(3, 2, 4)), channels(2), channels(2), channels(2), channels(2) ** 2),
        {},
    )
    yield (
        (rng.normal(size=(2, 3, 2, 3)) + 2, channels(3), None, channels(3), np.ones(3)),
        {"momentum": 0.5, "epsilon": 1e-3},
    )


def batch_norm_fixed(
    x: Any, mean: Any, variance: Any, weight: Any = None, bias: Any = None, *, epsilon: float = 1e-5
) -> Any:
    """x standardised by a mean and a variance (C,) that are given."""
    check_affine("batch_norm_fixed", x, weight, bias, tuple(x.shape[1:2]))
    channels = (-1, *[1] * (len(x.shape) - 2))
    scale = rsqrt(add(variance, epsilon))
    scale = scale if weight is None else multiply(scale, weight)
    shift = 0.0 if bias is None else reshape(bias, shape=channels)
    return scale_shift(x, reshape(mean, shape=channels), reshape(scale, shape=channels), shift)
