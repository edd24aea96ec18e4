"""Dense layer and relu as one op: y = relu(x @ weight + bias).

Shapes: x (..., I), weight (I, O), bias (O,), y (..., O).
"""

from __future__ import annotations

from ...backends import CUDA, CUPY, NATIVE, NUMPY, namespace
from ...op import Op
from ..declare import asked
from ..elementwise import relu
from ..matmul import matmul
from ..shape import permute_dims, reshape
from . import linear, linear_back_outline, linear_cost, linear_outline, linear_samples

linear_relu = Op("linear_relu", "x weight bias?")
linear_relu_back = Op("linear_relu_back", "dy y x weight", outputs="dx dweight dbias")
linear_relu_dweight = Op("linear_relu_dweight", "dy y x weight", outputs="dweight dbias")

for _op in (linear_relu, linear_relu_back, linear_relu_dweight):
    _op.kernels_from(NATIVE, ".native_kernels")
    _op.kernels_from(CUDA, ".cuda_relu" if _op is linear_relu else ".cuda_back")

linear_relu.outlined_by(linear_outline)
linear_relu.costed_by(linear_cost)
linear_relu.sampled_by(linear_samples)


@linear_relu.composed_by
def linear_relu_parts(x, weight, bias=None):
    return relu(linear(x, weight, bias))


@linear_relu_back.outlined_by
def linear_relu_back_outline(dy, y, x, weight):
    return linear_back_outline(dy, x, weight)


@linear_relu_dweight.outlined_by
def linear_relu_dweight_outline(dy, y, x, weight):
    return linear_back_outline(dy, x, weight)[1:]


@linear_relu.gradient("x", "weight", "bias")
def linear_relu_gradient(y, x, weight, bias, *, needs):
    if needs[0]:
        return lambda dy: linear_relu_back(dy, y, x, weight)
    return lambda dy: (None, *linear_relu_dweight(dy, y, x, weight))


# -- by their parts, with the best kernel of each ----------------------------------------


@linear_relu.kernel(NUMPY, CUPY, halves=True)
def linear_relu_composed(x, weight, bias):
    return relu(linear(x, weight, bias))


@linear_relu_dweight.kernel(NUMPY, CUPY, halves=True)
def linear_relu_dweight_composed(dy, y, x, weight):
    deltas = _rows(_masked(dy, y))
    return matmul(permute_dims(_rows(x)), deltas), deltas.sum(axis=0)


@linear_relu_back.kernel(NUMPY, CUPY, halves=True)
def linear_relu_back_composed(dy, y, x, weight):
    masked = _masked(dy, y)
    deltas = _rows(masked)
    return (
        matmul(masked, permute_dims(weight)),
        matmul(permute_dims(_rows(x)), deltas),
        deltas.sum(axis=0),
    )


def _masked(dy, y):
    return namespace(dy).where(y <= 0, dy.dtype.type(0), dy)


def _rows(x):
    return reshape(x, shape=(x.size // max(x.shape[-1], 1), x.shape[-1]))


asked(linear_relu_back, linear_relu)
asked(linear_relu_dweight, linear_relu)
