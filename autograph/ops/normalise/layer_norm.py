"""Layer normalisation: each sample over its own features (Ba, Kiros and Hinton, 2016).

Shapes: x (..., F), y the same; weight and bias (F,), F being the last `axes` axes.
"""

from __future__ import annotations

from math import prod

from ...backends import CUDA, CUPY, NATIVE, NUMPY
from ...errors import SettingsError
from ...op import Op
from .standardise import (
    View,
    check_affine,
    dbias_rule,
    dweight_rule,
    dx_rule,
    standardise_back,
    standardised,
    standardised_parts,
    statistics_shape,
)

layer_norm = Op("layer_norm", "x weight? bias?", saves="mean scale", floats=True)
layer_norm.kernels_from(NATIVE, ".native_kernels")
layer_norm.kernels_from(CUDA, ".cuda_rows")


def feature_view(op, x, axes, centre=True):
    """(rows, features): the last `axes` axes of x as one."""
    if not 0 < axes <= len(x.shape):
        raise SettingsError(
            f"{op}: axes is {axes!r}\n  x  {x.shape}\n"
            f"  write 1 to {len(x.shape)}: how many at the end"
        )
    features = prod(x.shape[-axes:])
    return View((prod(x.shape[:-axes]), features), (1,), (1, features), centre)


@layer_norm.outlined_by
def layer_norm_outline(x, weight, bias, *, axes=1, epsilon=1e-5):
    view = feature_view("layer_norm", x, axes)
    check_affine("layer_norm", x, weight, bias, x.shape[-axes:])
    saved = x.like(shape=statistics_shape(view), scalar_type=x.scalar_type.accumulator)
    return x.like(), saved, saved


@layer_norm.kernel(NUMPY, CUPY)
def layer_norm_arrays(x, weight, bias, *, axes, epsilon):
    view = feature_view("layer_norm", x, axes)
    return standardised(x, weight, bias, view, epsilon)[:3]


@layer_norm.gradient("x", "weight", "bias")
def layer_norm_gradient(y, x, weight, bias, *, mean, scale, axes, epsilon, needs):
    view, (needs_dx, needs_dweight, needs_dbias) = feature_view("layer_norm", x, axes), needs
    if all(needs):
        return lambda dy: standardise_back(dy, x, mean, scale, weight, view=view)

    def rule(dy):
        return (
            dx_rule(x, mean, scale, weight, view)(dy) if needs_dx else None,
            dweight_rule(x, mean, scale, weight, view)(dy) if needs_dweight else None,
            dbias_rule(bias, view)(dy) if needs_dbias else None,
        )

    return rule


@layer_norm.composed_by
def layer_norm_parts(x, weight=None, bias=None, *, axes, epsilon):
    view = feature_view("layer_norm", x, axes)
    return standardised_parts(x, weight, bias, view, epsilon)[0]


@layer_norm.sampled_by
def layer_norm_samples(rng):
    yield (rng.normal(size=(3, 5)), None, None), {}
    yield (rng.normal(size=(3, 5)) + 2, rng.normal(size=5), rng.normal(size=5)), {}
    yield (rng.normal(size=(2, 3, 4)), rng.normal(size=(3, 4)), None), {"axes": 2, "epsilon": 1e-3}
    yield (rng.normal(size=(2, 3, 4)), rng.normal(size=4), rng.normal(size=4)), {}
    yield (rng.normal(size=(0, 3)), rng.normal(size=3), None), {}
