"""The product over axes, whose gradient is right where there are zeros."""

from functools import partial
from math import prod as size_of

import numpy as np

from ...backends import CUPY, NUMPY, namespace
from ...op import Op
from ...scalar_type import ScalarType
from ..declare import REQUIRED, alike, asked
from ..elementwise import add, multiply
from ..index import index
from ..shape import concat, permute_dims, reshape
from . import WIDE, axes_in, kept_shape, sum, wide_outline

prod = Op("prod", "x")
prod_dx = Op("prod_dx", "dy x")


prod.outlined_by(partial(wide_outline, "prod"))


@prod.kernel(NUMPY, CUPY)
def prod_arrays(x, *, axis, keepdims):
    wide = WIDE[ScalarType.of(x).kind]
    dtype = x.dtype if wide is None else wide.dtype
    return x.prod(axis=axes_in(x, axis), keepdims=keepdims, dtype=dtype)


@prod.gradient("x")
def prod_gradient(y, x, *, axis, keepdims):
    kept = kept_shape(x.shape, axis)
    return lambda dy: prod_dx(reshape(dy, shape=kept), x, axis=axis)


@prod.composed_by
def prod_parts(x, *, axis, keepdims):
    """Products of halves, of halves of them, and so on."""
    axes = axes_in(x, axis)
    shape = tuple(size for i, size in enumerate(x.shape) if i not in axes)
    order = (*(i for i in range(x.ndim) if i not in axes), *axes)
    length = size_of(x.shape[i] for i in axes)
    y = reshape(permute_dims(x, axes=order), shape=(*shape, length))
    while length > 1:
        half = length // 2
        parts = [index(y, key=(Ellipsis, slice(at, at + half))) for at in (0, half)]
        odd = [index(y, key=(Ellipsis, slice(2 * half, None)))] if length % 2 else []
        y = concat(multiply(*parts), *odd, axis=-1)
        length = half + length % 2
    y = sum(y, axis=-1) if length else add(sum(y, axis=-1), 1)
    return reshape(y, shape=kept_shape(x.shape, axis)) if keepdims else y


alike(prod_dx, "x", axis=REQUIRED)


@prod_dx.kernel(NUMPY, CUPY)
def prod_dx_arrays(dy, x, *, axis):
    """dy times the product of all others: of those before and those after, so that zeros are
    numbers like any other."""
    xp = namespace(x)
    axes = axes_in(x, axis)
    ends = tuple(range(x.ndim - len(axes), x.ndim))
    moved = xp.moveaxis(x, axes, ends)
    flat = moved.reshape(*moved.shape[: ends[0]] if ends else (), -1)
    return dy * xp.moveaxis(products_of_others(flat).reshape(moved.shape), ends, axes)


def products_of_others(x):
    """For each along the last axis the product of those before and of those after it."""
    xp = namespace(x)
    before, after = xp.ones_like(x), xp.ones_like(x)
    before[..., 1:] = xp.cumprod(x[..., :-1], axis=-1)
    after[..., :-1] = xp.cumprod(x[..., :0:-1], axis=-1)[..., ::-1]
    return before * after


@prod.sampled_by
def prod_samples(rng):
    x = rng.normal(size=(2, 3, 4))
    yield (x,), {}
    yield (x,), {"axis": (0, -1), "keepdims": True}
    yield (np.where(np.abs(x) < 0.3, 0.0, x),), {"axis": 1}
    yield (np.array([0.0, 2.0, 0.0, 3.0]),), {}
    yield (rng.normal(size=()),), {}
    yield (np.zeros((0, 3)),), {"axis": 0}


asked(prod_dx, prod, keepdims=True)
