"""2-d pooling: the largest, or the mean, of each window.

Shapes: x (N, C, H, W), y (N, C, P, Q) with P = (H + 2 * padding - R) // stride + 1. The border
never wins a maximum; a mean counts it, as torch's default does.
"""

from __future__ import annotations

import numpy as np

from ...backends import CUDA, CUPY, NATIVE, NUMPY, REFERENCE
from ...errors import SettingsError, ShapeError
from ...op import Op
from ...outline import Outline
from ...scalar_type import ScalarType
from ..axes import pair

max_pool2 = Op("max_pool2", "x", saves="index")
max_pool2_dx = Op("max_pool2_dx", "dy index", promotes="dy")
max_pool2_pick = Op("max_pool2_pick", "x index", promotes="x")
mean_pool2 = Op("mean_pool2", "x", floats=True)
mean_pool2_dx = Op("mean_pool2_dx", "dy")

for _op in (max_pool2, max_pool2_dx, max_pool2_pick, mean_pool2, mean_pool2_dx):
    for _backend in (NUMPY, CUPY, REFERENCE):
        _op.kernels_from(_backend, ".numpy_kernels")
    _op.kernels_from(NATIVE, ".native_kernels")
    _op.kernels_from(CUDA, ".cuda_kernels")


def _pairs(op, filter, stride, padding):
    filter = pair(op, "filter", filter)
    padding = pair(op, "padding", padding, least=0)
    if any(2 * p > f for p, f in zip(padding, filter, strict=True)):
        raise SettingsError(
            f"{op}: padding is more than half of the filter\n"
            f"  filter   {filter}\n  padding  {padding}"
        )
    stride = filter if stride is None else pair(op, "stride", stride)
    return {"filter": filter, "stride": stride, "padding": padding}


def _pooled(op, x, filter, stride, padding):
    sides = f"\n  x       {x.shape}  N C H W\n  filter  {filter}"
    if x.ndim != 4:
        raise ShapeError(f"{op}: x has 4 axes{sides}")
    size = pooled_size(x, filter, stride, padding)
    if min(size) < 1:
        raise ShapeError(f"{op}: the filter is larger than the padded image{sides}")
    return (*x.shape[:2], *size)


def pooled_size(x, filter, stride, padding):
    """(P, Q): how many windows there are."""
    along = zip(x.shape[2:], filter, stride, padding, strict=True)
    return tuple((n + 2 * p - f) // s + 1 for n, f, s, p in along)


def _settings(op):
    def settings(*, filter, stride=None, padding=0):
        return _pairs(op.name, filter, stride, padding)

    return settings


def _settings_back(op):
    def settings(*, size, filter, stride=None, padding=0):
        return {"size": tuple(size), **_pairs(op.name, filter, stride, padding)}

    return settings


max_pool2_settings = max_pool2.settings_by(_settings(max_pool2))
for _op in (max_pool2_pick, mean_pool2):
    _op.settings_by(_settings(_op))
for _op in (max_pool2_dx, mean_pool2_dx):
    _op.settings_by(_settings_back(_op))


def index_type(filter):
    """What a position within the window fits: a byte up to 254 positions, 255 meaning none."""
    return ScalarType.U8 if filter[0] * filter[1] <= 254 else ScalarType.I32


# -- the largest ---------------------------------------------------------------------


@max_pool2.outlined_by
def max_pool2_outline(x, *, filter, stride, padding):
    shape = _pooled("max_pool2", x, filter, stride, padding)
    return x.like(shape=shape), x.like(shape=shape, scalar_type=index_type(filter))


@max_pool2.gradient("x")
def max_pool2_gradient(y, x, *, index, **settings):
    size = x.shape[2:]
    return lambda dy: max_pool2_dx(dy, index, size=size, **settings)


@max_pool2_dx.outlined_by
def max_pool2_dx_outline(dy, index, *, size, filter, stride, padding):
    return dy.like(shape=(*dy.shape[:2], *size))


@max_pool2_dx.gradient("dy")
def max_pool2_dx_gradient(dx, dy, index, *, size, **settings):
    return lambda ddx: max_pool2_pick(ddx, index, **settings)


@max_pool2_pick.outlined_by
def max_pool2_pick_outline(x, index, *, filter, stride, padding):
    return x.like(shape=index.shape)


@max_pool2_pick.gradient("x")
def max_pool2_pick_gradient(y, x, index, **settings):
    size = x.shape[2:]
    return lambda dy: max_pool2_dx(dy, index, size=size, **settings)


# -- the mean ------------------------------------------------------------------------


@mean_pool2.outlined_by
def mean_pool2_outline(x, *, filter, stride, padding):
    return x.like(shape=_pooled("mean_pool2", x, filter, stride, padding))


@mean_pool2.gradient("x")
def mean_pool2_gradient(y, x, **settings):
    size = x.shape[2:]
    return lambda dy: mean_pool2_dx(dy, size=size, **settings)


@mean_pool2_dx.outlined_by
def mean_pool2_dx_outline(dy, *, size, filter, stride, padding):
    return dy.like(shape=(*dy.shape[:2], *size))


@mean_pool2_dx.gradient("dy")
def mean_pool2_dx_gradient(dx, dy, *, size, **settings):
    return lambda ddx: mean_pool2(ddx, **settings)


# -- samples -------------------------------------------------------------------------

SETTINGS = (
    ((2, 3, 6, 8), {"filter": 2}),
    ((2, 2, 7, 9), {"filter": (3, 2), "stride": (2, 1)}),
    ((1, 2, 8, 7), {"filter": 3, "stride": 2, "padding": 1}),
    ((2, 1, 5, 5), {"filter": 2, "stride": 3, "padding": 1}),
    ((2, 1, 4, 5), {"filter": 3, "stride": 1, "padding": 1}),  # y is like x
    ((0, 1, 4, 4), {"filter": 2}),
)


@max_pool2.sampled_by
@mean_pool2.sampled_by
def pool2_samples(rng):
    for shape, settings in SETTINGS:
        yield (rng.permutation(np.prod(shape)).reshape(shape) * 0.1,), settings


def _backward(rng):
    for shape, settings in SETTINGS:
        stride, padding = settings.get("stride"), settings.get("padding", 0)
        pairs = _pairs("pool2", settings["filter"], stride, padding)
        x = rng.permutation(int(np.prod(shape))).reshape(shape) * 0.1
        y, index = max_pool2.run(max_pool2.plan([Outline.of(x)], pairs), [x])[1]
        yield x, y, index, pairs


@max_pool2_dx.sampled_by
def max_pool2_dx_samples(rng):
    for x, y, index, pairs in _backward(rng):
        yield (rng.normal(size=y.shape), index), {"size": x.shape[2:], **pairs}


@max_pool2_pick.sampled_by
def max_pool2_pick_samples(rng):
    for x, _, index, pairs in _backward(rng):
        yield (x, index), pairs


@mean_pool2_dx.sampled_by
def mean_pool2_dx_samples(rng):
    for x, y, _, pairs in _backward(rng):
        yield (rng.normal(size=y.shape),), {"size": x.shape[2:], **pairs}
