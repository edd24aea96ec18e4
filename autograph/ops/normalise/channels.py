"""Batch normalisation with what follows it: something added, as a shortcut is, and the relu.

Shapes: x, plus and y (N, C, ...); weight, bias and the running statistics (C,).
"""

from __future__ import annotations

import numpy as np

from ...backends import CUDA, CUPY, NUMPY
from ...errors import ShapeError
from ...op import Op
from ...outline import Outline
from ..elementwise import add, relu
from .batch_norm import (
    batch_norm,
    batch_norm_back,
    batch_norm_outline,
    statistics_of,
    through,
)

batch_norm_relu = Op(
    "batch_norm_relu",
    "x weight bias running_mean? running_variance? plus?",
    saves="mean scale",
    writes="running_mean running_variance",
    promotes="x weight bias plus",
    floats=True,
)
batch_norm_relu_pair = Op(
    "batch_norm_relu_pair",
    "x weight bias running_mean? running_variance? plus?",
    outputs="y beside",
    saves="mean scale",
    writes="running_mean running_variance",
    promotes="x weight bias plus",
    floats=True,
)
batch_norm_plus_back = Op(
    "batch_norm_plus_back",
    "dy y x mean scale weight bias second?",
    outputs="dx dweight dbias dplus",
    promotes="dy y x weight bias second",
)
for _op in (batch_norm_relu, batch_norm_relu_pair, batch_norm_plus_back):
    _op.kernels_from(CUDA, ".cuda_channels")


@batch_norm_relu.outlined_by
def batch_norm_relu_outline(
    x, weight, bias, running_mean, running_variance, plus, *, momentum=0.1, epsilon=1e-5
):
    if plus is not None and plus.shape != x.shape:
        raise ShapeError(
            f"batch_norm_relu: plus has another shape than x\n"
            f"  x     {x.shape}\n  plus  {plus.shape}"
        )
    return batch_norm_outline(
        x, weight, bias, running_mean, running_variance, momentum=momentum, epsilon=epsilon
    )


@batch_norm_relu.composed_by
def batch_norm_relu_parts(
    x, weight, bias, running_mean=None, running_variance=None, plus=None, **settings
):
    y = batch_norm(x, weight, bias, running_mean, running_variance, **settings)
    return relu(y if plus is None else add(y, plus))


@batch_norm_relu.kernel(NUMPY, CUPY, halves=True)
def batch_norm_relu_arrays(x, weight, bias, running_mean, running_variance, plus, **settings):
    given = [x, weight, bias, running_mean, running_variance]
    outlines = [None if each is None else Outline.of(each) for each in given]
    y, mean, scale = batch_norm.run(batch_norm.plan(outlines, settings), given)[1]
    return relu(y if plus is None else add(y, plus)), mean, scale


@batch_norm_relu.gradient("x", "weight", "bias", "plus")
def batch_norm_relu_gradient(y, x, weight, bias, *rest, mean, scale, needs, **settings):
    if rest[2] is None:
        given = x, mean, scale, weight, bias
        return lambda dy: (*batch_norm_back(dy, *given, rectified=True), None)
    return lambda dy: batch_norm_plus_back(dy, y, x, mean, scale, weight, bias)


# -- its output twice: one for the next layer, one for what goes around it -------------------


@batch_norm_relu_pair.outlined_by
def batch_norm_relu_pair_outline(
    x, weight, bias, running_mean, running_variance, plus, *, momentum=0.1, epsilon=1e-5
):
    """y and the same y: their gradients are added where they are needed."""
    y, *saved = batch_norm_relu_outline(
        x, weight, bias, running_mean, running_variance, plus, momentum=momentum, epsilon=epsilon
    )
    return y, y, *saved


@batch_norm_relu_pair.composed_by
def batch_norm_relu_pair_parts(*inputs, **settings):
    y = batch_norm_relu_parts(*inputs, **settings)
    return y, y


@batch_norm_relu_pair.kernel(NUMPY, CUPY, halves=True)
def batch_norm_relu_pair_arrays(*inputs, **settings):
    y, *saved = batch_norm_relu_arrays(*inputs, **settings)
    return y, y, *saved


@batch_norm_relu_pair.gradient("x", "weight", "bias", "plus")
def batch_norm_relu_pair_gradient(own, x, weight, bias, *rest, mean, scale, needs, **settings):
    y, given = own[0], (x, mean, scale, weight, bias)

    def rule(slopes):
        dy, second = slopes if slopes[0] is not None else reversed(slopes)
        if rest[2] is None:
            return (*batch_norm_back(dy, *given, second, rectified=True), None)
        return batch_norm_plus_back(dy, y, *given, second)

    return rule


# -- gradients -------------------------------------------------------------------------


@batch_norm_plus_back.outlined_by
def batch_norm_plus_back_outline(dy, y, x, mean, scale, weight, bias, second):
    """`second` is added to dy."""
    return x.like(), weight.like(), bias.like(), x.like()


@batch_norm_plus_back.kernel(NUMPY, CUPY, halves=True)
def batch_norm_plus_back_arrays(dy, y, x, mean, scale, weight, bias, second):
    dplus = through(dy if second is None else add(dy, second), y)
    return (*batch_norm_back(dplus, x, mean, scale, weight, bias), dplus)


# -- samples ---------------------------------------------------------------------------


def _given(rng, shape):
    c = shape[1]
    affine = rng.normal(size=c), rng.normal(size=c)
    return rng.normal(size=shape) + 1, *affine


@batch_norm_relu.sampled_by
@batch_norm_relu_pair.sampled_by
def batch_norm_relu_samples(rng):
    for shape, has_plus in (((4, 3), False), ((3, 2, 4), True), ((2, 8, 3, 2), True)):
        c, plus = shape[1], rng.normal(size=shape) if has_plus else None
        running = [rng.uniform(size=c).astype(np.float32) for _ in range(2)]
        yield (*_given(rng, shape), *running, plus), {}


@batch_norm_plus_back.sampled_by
def batch_norm_plus_back_samples(rng):
    for shape in ((4, 3), (2, 8, 3, 2)):
        x, weight, bias = _given(rng, shape)
        dy, y, second = (rng.normal(size=shape) for _ in range(3))
        second = second if len(shape) == 4 else None
        yield (dy, y, x, *statistics_of(x), weight, bias, second), {}
