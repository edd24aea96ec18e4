"""2-d pooling: the largest, or the mean, of each window.

Shapes: x (N, C, H, W), y (N, C, P, Q) with P = (H + 2 * padding - R) // stride + 1. The border
never wins a maximum; a mean counts it, as torch's default does.
"""

import numpy as np

from ...backends import CUDA, CUPY, NATIVE, NUMPY, REFERENCE
from ...errors import SettingsError, ShapeError
from ...op import Op
from ...scalar_type import ScalarType
from ..axes import pair
from ..declare import REQUIRED, asked, taking

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


def _settings(op, *first):
    """Settings of windows, and before them sizes by these names."""

    @op.settings_by
    @taking(**dict.fromkeys(first, REQUIRED))
    def settings(*, filter, stride=None, padding=0, **sizes):
        filter = pair(op.name, "filter", filter)
        padding = pair(op.name, "padding", padding, least=0)
        if any(2 * p > f for p, f in zip(padding, filter, strict=True)):
            raise SettingsError(
                f"{op.name}: padding is more than half of the filter\n"
                f"  filter   {filter}\n  padding  {padding}"
            )
        stride = filter if stride is None else pair(op.name, "stride", stride)
        found = {name: pair(op.name, name, size, least=0) for name, size in sizes.items()}
        return {**found, "filter": filter, "stride": stride, "padding": padding}

    return settings


max_pool2_settings = _settings(max_pool2)
for _op in (max_pool2_pick, mean_pool2):
    _settings(_op)
for _op in (max_pool2_dx, mean_pool2_dx):
    _settings(_op, "size")


def _pooled(op, x, filter, stride, padding):
    sides = f"\n  x       {x.shape}  N C H W\n  filter  {filter}"
    if x.ndim != 4:
        raise ShapeError(f"{op}: x has 4 axes{sides}")
    size = pooled_size(x, filter, stride, padding)
    if min(*size, *x.shape[2:]) < 1:
        raise ShapeError(f"{op}: the filter is larger than the padded image{sides}")
    return (*x.shape[:2], *size)


def pooled_size(x, filter, stride, padding):
    """(P, Q): how many windows there are."""
    along = zip(x.shape[2:], filter, stride, padding, strict=True)
    return tuple((n + 2 * p - f) // s + 1 for n, f, s, p in along)


def index_type(filter):
    """What a position within the window fits: a byte up to 254 positions, 255 meaning none."""
    return ScalarType.U8 if filter[0] * filter[1] <= 254 else ScalarType.I32


# -- the largest ---------------------------------------------------------------------


@max_pool2.outlined_by
def max_pool2_outline(x, *, filter, stride, padding):
    shape = _pooled("max_pool2", x, filter, stride, padding)
    return x.like(shape=shape), x.like(shape=shape, scalar_type=index_type(filter))


@max_pool2.gradient("x")
@max_pool2_pick.gradient("x")
def max_pool2_gradient(y, x, index, **settings):
    size = x.shape[2:]
    return lambda dy: max_pool2_dx(dy, index, size=size, **settings)


@max_pool2_dx.outlined_by
@mean_pool2_dx.outlined_by
def pool2_dx_outline(dy, *index, size, **settings):
    return dy.like(shape=(*dy.shape[:2], *size))


@max_pool2_dx.gradient("dy")
def max_pool2_dx_gradient(dx, dy, index, *, size, **settings):
    return lambda ddx: max_pool2_pick(ddx, index, **settings)


@max_pool2_pick.outlined_by
def max_pool2_pick_outline(x, index, *, filter, stride, padding):
    _, wanted = max_pool2_outline(x, filter=filter, stride=stride, padding=padding)
    if (index.shape, index.scalar_type) != (wanted.shape, wanted.scalar_type):
        raise ShapeError(
            f"max_pool2_pick: index is of no max_pool2 of x\n"
            f"  x      {x.shape}\n  index  {index.scalar_type} {index.shape}"
        )
    return x.like(shape=index.shape)


# -- the mean ------------------------------------------------------------------------


@mean_pool2.outlined_by
def mean_pool2_outline(x, *, filter, stride, padding):
    return x.like(shape=_pooled("mean_pool2", x, filter, stride, padding))


@mean_pool2.gradient("x")
def mean_pool2_gradient(y, x, **settings):
    size = x.shape[2:]
    return lambda dy: mean_pool2_dx(dy, size=size, **settings)


@mean_pool2_dx.gradient("dy")
def mean_pool2_dx_gradient(dx, dy, *, size, **settings):
    return lambda ddx: mean_pool2(ddx, **settings)


# -- samples -------------------------------------------------------------------------


@max_pool2.sampled_by
@mean_pool2.sampled_by
def pool2_samples(rng):
    for shape, settings in (
        ((2, 3, 6, 8), {"filter": 2}),
        ((2, 2, 7, 9), {"filter": (3, 2), "stride": (2, 1)}),
        ((1, 2, 8, 7), {"filter": 3, "stride": 2, "padding": 1}),
        ((2, 1, 5, 5), {"filter": 2, "stride": 3, "padding": 1}),
        ((2, 1, 4, 5), {"filter": 3, "stride": 1, "padding": 1}),  # y is like x
        ((0, 1, 4, 4), {"filter": 2}),
    ):
        yield (rng.permutation(np.prod(shape)).reshape(shape) * 0.1,), settings


asked(max_pool2_dx, max_pool2)
asked(max_pool2_pick, max_pool2_dx)
asked(mean_pool2_dx, mean_pool2)
