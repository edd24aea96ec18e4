"""Root mean square normalisation: features divided by their root mean square, their mean left
where it is (Zhang and Sennrich, 2019).

Shapes: x (..., F), y the same; weight (F,), F being the last `axes` axes.
"""

from __future__ import annotations

from ...backends import CUDA, CUPY, NUMPY
from ...op import Op
from .layer_norm import feature_view
from .standardise import (
    check_affine,
    dweight_rule,
    dx_rule,
    standardised,
    standardised_parts,
    statistics_shape,
)

rms_norm = Op("rms_norm", "x weight?", saves="mean scale", floats=True)
rms_norm.kernels_from(CUDA, ".cuda_rows")


def _view(x, axes):
    return feature_view("rms_norm", x, axes, centre=False)


@rms_norm.outlined_by
def rms_norm_outline(x, weight, *, axes=1, epsilon=1e-6):
    view = _view(x, axes)
    check_affine("rms_norm", x, weight, None, x.shape[-axes:])
    saved = x.like(shape=statistics_shape(view), scalar_type=x.scalar_type.accumulator)
    return x.like(), saved, saved


@rms_norm.kernel(NUMPY, CUPY)
def rms_norm_arrays(x, weight, *, axes, epsilon):
    return standardised(x, weight, None, _view(x, axes), epsilon)[:3]


@rms_norm.gradient("x")
def rms_norm_dx(y, x, weight, *, mean, scale, axes, epsilon):
    return dx_rule(x, mean, scale, weight, _view(x, axes))


@rms_norm.gradient("weight")
def rms_norm_dweight(y, x, weight, *, mean, scale, axes, epsilon):
    return dweight_rule(x, mean, scale, weight, _view(x, axes))


@rms_norm.composed_by
def rms_norm_parts(x, weight=None, *, axes, epsilon):
    return standardised_parts(x, weight, None, _view(x, axes), epsilon)[0]


@rms_norm.sampled_by
def rms_norm_samples(rng):
    yield (rng.normal(size=(3, 5)), None), {}
    yield (rng.normal(size=(3, 5)) + 2, rng.normal(size=5)), {"epsilon": 1e-3}
    yield (rng.normal(size=(2, 3, 4)), rng.normal(size=(3, 4))), {"axes": 2}
