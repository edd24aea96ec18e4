"""The affine map of dense layers: y = x @ weight + bias, over the last axis of x.

Shapes: x (..., I), weight (I, O), bias (O,), y (..., O).
"""

from ...backends import CUDA, CUPY, NATIVE, NUMPY, namespace
from ...errors import ShapeError
from ...op import Op
from ..broadcast import sum_to
from ..declare import asked
from ..matmul import matmul, refuse_product
from ..shape import permute_dims, reshape

linear = Op("linear", "x weight bias?")
linear_back = Op("linear_back", "dy x weight", outputs="dx dweight dbias")
linear_dweight = Op("linear_dweight", "dy x", outputs="dweight dbias")
linear.kernels_from(NATIVE, ".native_kernels")
linear_back.kernels_from(NATIVE, ".native_kernels")
matmul.kernels_from(NATIVE, ".native_kernels")
linear.kernels_from(CUDA, ".cuda_kernels")
matmul.kernels_from(CUDA, ".cuda_kernels")
linear_back.kernels_from(CUDA, ".cuda_back")
linear_dweight.kernels_from(CUDA, ".cuda_back")


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


# -- gradients: of weight and bias together, where both are wanted with that of x ------------


@linear_back.outlined_by
def linear_back_outline(dy, x, weight):
    y = linear_outline(x, weight, None)
    if dy.shape != y.shape:
        raise ShapeError(f"linear: the gradient is not like y\n  dy  {dy.shape}\n  y   {y.shape}")
    return x.like(), weight.like(), weight.like(shape=weight.shape[1:])


@linear_dweight.outlined_by
def linear_dweight_outline(dy, x):
    (inputs, outputs) = x.shape[-1], dy.shape[-1]
    return x.like(shape=(inputs, outputs)), x.like(shape=(outputs,))


@linear.gradient("x", "weight", "bias")
def linear_gradient(y, x, weight, bias, *, needs):
    if needs == (True, True, True):
        return lambda dy: linear_back(dy, x, weight)
    if needs == (False, True, True):
        return lambda dy: (None, *linear_dweight(dy, x))
    needs_dx, needs_dweight, needs_dbias = needs
    x, weight = x if needs_dweight else None, weight if needs_dx else None  # what is kept

    def rule(dy):
        return (
            _dx(dy, weight) if needs_dx else None,
            _dweight(dy, x) if needs_dweight else None,
            _dbias(dy) if needs_dbias else None,
        )

    return rule


def _dx(dy, weight):
    return matmul(dy, permute_dims(weight, axes=(1, 0)))


def _dweight(dy, x):
    return matmul(permute_dims(_rows(x), axes=(1, 0)), _rows(dy))


def _dbias(dy):
    return sum_to(dy, shape=dy.shape[-1:])


def _rows(x):
    return reshape(x, shape=(x.size // max(x.shape[-1], 1), x.shape[-1]))


@linear_back.composed_by
@linear_back.kernel(NUMPY, CUPY, halves=True)
def linear_back_parts(dy, x, weight):
    return _dx(dy, weight), _dweight(dy, x), _dbias(dy)


@linear_dweight.composed_by
@linear_dweight.kernel(NUMPY, CUPY, halves=True)
def linear_dweight_parts(dy, x):
    return _dweight(dy, x), _dbias(dy)


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


asked(linear_back, linear)
asked(linear_dweight, linear)
