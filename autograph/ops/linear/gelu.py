"""Dense layer and its gelu (by tanh) as one op: y = gelu_tanh(x @ weight + bias).

Shapes: x (..., I), weight (I, O), bias (O,), y (..., O); `before`, what gelu was given, is saved.
"""

from typing import Any

from ...backends import CUDA, CUPY, NUMPY
from ...op import Op
from ..activations import gelu_tanh
from ..declare import asked
from . import linear, linear_back, linear_cost, linear_dweight, linear_outline, linear_samples

linear_gelu_tanh = Op("linear_gelu_tanh", "x weight bias", saves="before")
linear_gelu_tanh_back = Op(
    "linear_gelu_tanh_back", "dy before x weight", outputs="dx dweight dbias"
)
linear_gelu_tanh.kernels_from(CUDA, ".cuda_relu")
linear_gelu_tanh_back.kernels_from(CUDA, ".cuda_back")

linear_gelu_tanh.costed_by(linear_cost)
gelu_tanh_dx: Any = gelu_tanh.gradient_of("x")[0]  # of dy and x


@linear_gelu_tanh.outlined_by
def linear_gelu_tanh_outline(x, weight, bias):
    y = linear_outline(x, weight, bias)
    return y, y


@linear_gelu_tanh.composed_by
def linear_gelu_tanh_parts(x, weight, bias):
    return gelu_tanh(linear(x, weight, bias))


@linear_gelu_tanh.kernel(NUMPY, CUPY, halves=True)
def linear_gelu_tanh_arrays(x, weight, bias):
    before = linear(x, weight, bias)
    return gelu_tanh(before), before


@linear_gelu_tanh.gradient("x", "weight", "bias")
def linear_gelu_tanh_gradient(y, x, weight, bias, *, before, needs):
    if needs[0]:
        return lambda dy: linear_gelu_tanh_back(dy, before, x, weight)
    return lambda dy: (None, *linear_dweight(gelu_tanh_dx(dy, before), x))


@linear_gelu_tanh_back.outlined_by
def linear_gelu_tanh_back_outline(dy, before, x, weight):
    return x.like(), weight.like(), weight.like(shape=weight.shape[1:])


@linear_gelu_tanh_back.kernel(NUMPY, CUPY, halves=True)
def linear_gelu_tanh_back_arrays(dy, before, x, weight):
    return linear_back(gelu_tanh_dx(dy, before), x, weight)


@linear_gelu_tanh.sampled_by
def linear_gelu_tanh_samples(rng):
    for (x, weight, bias), _ in linear_samples(rng):
        yield (x, weight, rng.normal(size=weight.shape[1]) if bias is None else bias), {}


asked(linear_gelu_tanh_back, linear_gelu_tanh)
