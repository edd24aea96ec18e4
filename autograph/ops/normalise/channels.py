"""Batch normalisation with what follows it: something added, as a shortcut is, and the relu.

Shapes: x, plus and y (N, C, ...); weight, bias and the running statistics (C,).
"""

import numpy as np

from ...backends import CUDA, CUPY, NUMPY
from ...errors import ShapeError
from ...op import Op
from ...outline import Outline
from ..declare import alike, asked
from ..elementwise import add, relu
from .batch_norm import batch_norm, batch_norm_back, batch_norm_outline, through

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


def _declare(op, copies):
    """y, or y twice: for the next layer and for what goes around it, whose gradients are added
    where they are needed."""

    @op.outlined_by
    def outline(
        x, weight, bias, running_mean, running_variance, plus, *, momentum=0.1, epsilon=1e-5
    ):
        if plus is not None and plus.shape != x.shape:
            raise ShapeError(
                f"batch_norm_relu: plus has another shape than x\n"
                f"  x     {x.shape}\n  plus  {plus.shape}"
            )
        given = x, weight, bias, running_mean, running_variance
        y, *saved = batch_norm_outline(*given, momentum=momentum, epsilon=epsilon)
        return *[y] * copies, *saved

    @op.composed_by
    def parts(x, weight, bias, running_mean=None, running_variance=None, plus=None, **settings):
        y = batch_norm(x, weight, bias, running_mean, running_variance, **settings)
        y = relu(y if plus is None else add(y, plus))
        return y if copies == 1 else (y, y)

    @op.kernel(NUMPY, CUPY, halves=True)
    def arrays(*inputs, **settings):
        *given, plus = inputs
        outlines = [None if each is None else Outline.of(each) for each in given]
        y, *saved = batch_norm.run(batch_norm.plan(outlines, settings), given)[1]
        return *[relu(y if plus is None else add(y, plus))] * copies, *saved

    @op.gradient("x", "weight", "bias", "plus")
    def rule(own, x, weight, bias, *rest, mean, scale, needs, **settings):
        y, given = own if copies == 1 else own[0], (x, mean, scale, weight, bias)
        has_plus = rest[2] is not None
        y = y if has_plus else None  # what is kept

        def back(slopes):
            dy, second = (slopes, None) if copies == 1 else slopes
            dy, second = (second, None) if dy is None else (dy, second)
            if has_plus:
                return batch_norm_plus_back(dy, y, *given, second)
            return *batch_norm_back(dy, *given, second, rectified=True), None

        return back


_declare(batch_norm_relu, 1)
_declare(batch_norm_relu_pair, 2)

# -- gradients -------------------------------------------------------------------------


alike(batch_norm_plus_back, "x weight bias x")


@batch_norm_plus_back.kernel(NUMPY, CUPY, halves=True)
def batch_norm_plus_back_arrays(dy, y, x, mean, scale, weight, bias, second):
    """`second` is added to dy."""
    dplus = through(dy if second is None else add(dy, second), y)
    return (*batch_norm_back(dplus, x, mean, scale, weight, bias), dplus)


# -- samples ---------------------------------------------------------------------------


@batch_norm_relu.sampled_by
@batch_norm_relu_pair.sampled_by
def batch_norm_relu_samples(rng):
    large = 2, 8, 3, 2
    for shape, has_plus in (((4, 3), False), ((3, 2, 4), True), (large, True), (large, False)):
        affine = rng.normal(size=(2, shape[1]))
        running = rng.uniform(size=(2, shape[1])).astype(np.float32)
        plus = rng.normal(size=shape) if has_plus else None
        yield (rng.normal(size=shape) + 1, *affine, *running, plus), {}


asked(batch_norm_back, batch_norm, batch_norm_relu, batch_norm_relu_pair)
asked(batch_norm_plus_back, batch_norm_relu_pair)
