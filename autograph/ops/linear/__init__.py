"""The affine map of dense layers: y = x @ weight + bias, over the last axis of x.

Shapes: x (..., I), weight (I, O), bias (O,), y (..., O).
"""

from __future__ import annotations

from ...backends import CUDA, CUPY, NATIVE, NUMPY, namespace
from ...errors import ShapeError
from ...op import Op
from ..broadcast import sum_to
from ..matmul import matmul, refuse_product
from ..shape import permute_dims, reshape

linear = Op("linear", "x weight bias?")
linear.kernels_from(NATIVE, ".native_kernels")
matmul.kernels_from(NATIVE, ".native_kernels")
linear.kernels_from(CUDA, ".cuda_kernels")
matmul.kernels_from(CUDA, ".cuda_kernels")


@linear.outlined_by
def linear_outline(x, weight, bias):
    if x.ndim == 0 or weight.ndim != 2 or x.shape[-1] != weight.shape[0]:
        raise refuse_product("linear", ("x", "weight"), x, weight)
    if bias is not None and bias.shape != weight.shape[1:]:
        raise ShapeError(
            f"linear: bias does not fit the outputs of weight\n"
            f"  weight  {weight.shape}  inputs outputs\n  bias    {bias.shape}"
        )
    return x.like(shape=(*x.shape[:-1], weight.shape[1]))


@linear.kernel(NUMPY, CUPY)
def linear_arrays(x, weight, bias):
    y = namespace(x).matmul(x, weight)
    if bias is not None:
        y += bias
    return y


@linear.gradient("x")
def linear_dx(y, x, weight, bias):
    return lambda dy: matmul(dy, permute_dims(weight, axes=(1, 0)))


@linear.gradient("weight")
def linear_dweight(y, x, weight, bias):
    inputs, outputs = weight.shape

    def rule(dy):
        rows = reshape(x, shape=(-1, inputs)) if x.size else reshape(x, shape=(0, inputs))
        deltas = reshape(dy, shape=(rows.shape[0], outputs))
        return matmul(permute_dims(rows, axes=(1, 0)), deltas)

    return rule


@linear.gradient("bias")
def linear_dbias(y, x, weight, bias):
    shape = bias.shape
    return lambda dy: sum_to(dy, shape=shape)


@linear.costed_by
def linear_cost(x, weight, bias):
    return x.size * weight.shape[1]


@linear.sampled_by
def linear_samples(rng):
    weight, bias = rng.normal(size=(3, 4)), rng.normal(size=4)
    yield (rng.normal(size=(2, 3)), weight, None), {}
    yield (rng.normal(size=(2, 3)), weight, bias), {}
    yield (rng.normal(size=(2, 5, 3)), weight, bias), {}
    yield (rng.normal(size=(3,)), weight, bias), {}
    yield (rng.normal(size=(0, 3)), weight, bias), {}
