"""What normalisations share: x seen in another shape, standardised over some axes of it.

A `View` says the shape, the axes, and how weight and bias lie in it. Means and variances are
taken in two passes, in f32 for halves.
"""

from math import prod
from typing import NamedTuple

import numpy as np

from ...backends import CUDA, CUPY, NATIVE, NUMPY, namespace
from ...errors import ShapeError
from ...op import Op
from ..broadcast import sum_to
from ..elementwise import add, divide, multiply, square, subtract
from ..reduce import mean as mean_of
from ..shape import reshape
from ..summation import summed
from ..transcendental import sqrt

standardise_dx = Op("standardise_dx", "dy x mean scale weight?", promotes="dy x weight")
standardise_dweight = Op("standardise_dweight", "dy x mean scale", promotes="dy x")
standardise_back = Op(
    "standardise_back",
    "dy x mean scale weight",
    outputs="dx dweight dbias",
    promotes="dy x weight",
)
for _op in (standardise_dx, standardise_dweight, standardise_back):
    _op.kernels_from(NATIVE, ".native_kernels")
    _op.kernels_from(CUDA, ".cuda_rows")


class View(NamedTuple):
    """How a normalisation sees x."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]  # standardised over
    weight: tuple[int, ...]  # the shape of weight and bias
    centre: bool = True  # whether the mean is taken out


def check_affine(op, x, weight, bias, shape):
    """Refuse a weight or bias of another shape."""
    for name, each in (("weight", weight), ("bias", bias)):
        if each is not None and each.shape != shape:
            raise ShapeError(
                f"{op}: {name} has another shape than what it scales\n"
                f"  x       {x.shape}\n  {name:<8}{each.shape}\n  wanted  {shape}"
            )


def statistics_shape(view):
    """The shape of means and scales, which broadcast against the view."""
    return tuple(1 if i in view.axes else size for i, size in enumerate(view.shape))


def _mean(x, view):
    count = prod(view.shape[axis] for axis in view.axes)
    return summed(x, view.axes, keepdims=True) / x.dtype.type(count)


def _middle(x, view):
    """The mean, on the host by an f64 sum: what it is off by, all of z is off by as well."""
    if not isinstance(x, np.ndarray):
        return _mean(x, view)
    return x.mean(axis=view.axes, keepdims=True, dtype=np.float64).astype(x.dtype)


# -- forward ---------------------------------------------------------------------------


def standardised(x, weight, bias, view, epsilon):
    """(y, mean, scale, variance); mean, scale and variance as `statistics_shape`."""
    xp = namespace(x)
    seen = x.reshape(view.shape)
    if view.centre:
        mean = _middle(seen, view)
        y = seen - mean
    else:
        mean, y = xp.zeros(statistics_shape(view), x.dtype), seen.copy()
    variance = _mean(y * y, view)
    scale = 1 / xp.sqrt(variance + epsilon)
    y *= scale
    if weight is not None:
        y *= weight.reshape(view.weight)
    if bias is not None:
        y += bias.reshape(view.weight)
    return y.reshape(x.shape), mean, scale, variance


def standardised_parts(x, weight, bias, view, epsilon):
    """(y, mean, variance) of tensors, by ops that can be differentiated again."""
    seen = reshape(x, shape=view.shape)
    mean = mean_of(seen, axis=view.axes, keepdims=True)
    centred = subtract(seen, mean) if view.centre else seen
    variance = mean_of(square(centred), axis=view.axes, keepdims=True)
    y = divide(centred, sqrt(add(variance, epsilon)))
    if weight is not None:
        y = multiply(y, reshape(weight, shape=view.weight))
    if bias is not None:
        y = add(y, reshape(bias, shape=view.weight))
    return reshape(y, shape=x.shape), mean, variance


# -- gradients -------------------------------------------------------------------------


def gradients(x, mean, scale, weight, bias, view, needs=(True, True, True)):
    """The function from dy to the gradients of x, weight and bias, those that are needed."""
    (needs_dx, needs_dweight, needs_dbias), after = needs, None if bias is None else bias.shape
    if not (needs_dx or needs_dweight):
        x = mean = scale = weight = None  # the graph keeps them for nothing

    def rule(dy):
        dx = dweight = dbias = None
        if needs_dx:
            dx = standardise_dx(dy, x, mean, scale, weight, view=view)
        if needs_dweight:
            dweight = standardise_dweight(dy, x, mean, scale, view=view)
            dweight = reshape(dweight, shape=weight.shape)
        if needs_dbias:
            dbias = sum_to(reshape(dy, shape=view.shape), shape=view.weight)
            dbias = reshape(dbias, shape=after)
        return dx, dweight, dbias

    return rule


def _check_left(op, dy, x, mean, scale, weight, view):
    """Refuse what no normalisation leaves for its gradient."""
    saved = statistics_shape(view)
    fits = (
        dy.shape == x.shape
        and x.size == prod(view.shape)
        and all(each.shape == saved and each.scalar_type.is_float for each in (mean, scale))
        and (weight is None or weight.size == prod(view.weight))
    )
    if not fits:
        raise ShapeError(
            f"{op}: the inputs are of no normalisation\n  dy      {dy}\n  x       {x}\n"
            f"  mean    {mean}\n  scale   {scale}\n  weight  {weight}\n  seen    {view}"
        )


@standardise_dx.outlined_by
def standardise_dx_outline(dy, x, mean, scale, weight, *, view):
    _check_left("standardise_dx", dy, x, mean, scale, weight, view)
    return x.like()


@standardise_back.outlined_by
def standardise_back_outline(dy, x, mean, scale, weight, *, view):
    _check_left("standardise_back", dy, x, mean, scale, weight, view)
    return x.like(), weight.like(), weight.like()


@standardise_dx.kernel(NUMPY, CUPY)
def standardise_dx_arrays(dy, x, mean, scale, weight, *, view):
    """g = dy * weight;  dx = scale * (g - mean(g) - z * mean(g * z)), z being standardised x."""
    z = (x.reshape(view.shape) - mean) * scale
    g = dy.reshape(view.shape)
    g = g.copy() if weight is None else g * weight.reshape(view.weight)
    along = _mean(g * z, view)
    if view.centre:
        g -= _mean(g, view)
    z *= along
    g -= z
    g *= scale
    return g.reshape(x.shape)


@standardise_dweight.outlined_by
def standardise_dweight_outline(dy, x, mean, scale, *, view):
    _check_left("standardise_dweight", dy, x, mean, scale, None, view)
    return x.like(shape=view.weight)


@standardise_dweight.kernel(NUMPY, CUPY)
def standardise_dweight_arrays(dy, x, mean, scale, *, view):
    z = (x.reshape(view.shape) - mean) * scale
    z *= dy.reshape(view.shape)
    axes = tuple(i for i, size in enumerate(view.weight) if size == 1 and view.shape[i] != 1)
    return summed(z, axes, keepdims=True)


@standardise_back.kernel(NUMPY, CUPY, halves=True)
def standardise_back_arrays(dy, x, mean, scale, weight, *, view):
    """All three gradients, where weight and bias have the same shape."""
    return gradients(x, mean, scale, weight, weight, view)(dy)


# -- what normalisations of samples are made of ------------------------------------------


def outlines(op, x, weight, bias, view, shape):
    """Those of y, mean and scale; `shape` is that of weight and bias."""
    check_affine(op, x, weight, bias, shape)
    saved = x.like(statistics_shape(view), x.scalar_type.accumulator)
    return x.like(), saved, saved


def by_view(op, view_of):
    """Give a normalisation its kernel, gradients and parts, by what of x and its settings says how
    it sees x."""

    def arrays(x, weight, bias=None, *, epsilon, **settings):
        return standardised(x, weight, bias, view_of(x, **settings), epsilon)[:3]

    def parts(x, weight=None, bias=None, *, epsilon, **settings):
        return standardised_parts(x, weight, bias, view_of(x, **settings), epsilon)[0]

    def rule(y, x, weight, bias=None, *, mean, scale, needs, epsilon, **settings):
        view = view_of(x, **settings)
        if needs == (True, True, True) and len(view.shape) == 2:
            return lambda dy: standardise_back(dy, x, mean, scale, weight, view=view)
        count = len(needs)
        found = gradients(x, mean, scale, weight, bias, view, (*needs, False)[:3])
        return lambda dy: found(dy)[:count]

    op.kernel(NUMPY, CUPY)(arrays)
    op.composed_by(parts)
    op.gradient(*op.inputs)(rule)
