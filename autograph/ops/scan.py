"""Scans along an axis: running sums, products, maxima and minima."""

from functools import partial

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..errors import SettingsError
from ..op import Op
from ..scalar_type import I64
from .axes import axis_of
from .declare import REQUIRED, alike, asked
from .elementwise import multiply
from .index import index
from .reduce import WIDE
from .scatter import take_along_axis_dx
from .shape import concat

cumsum = Op("cumsum", "x")
cumprod = Op("cumprod", "x")
cumprod_dx = Op("cumprod_dx", "dy x")
cummax = Op("cummax", "x", outputs="values indices")
cummin = Op("cummin", "x", outputs="values indices")


def _axis(op, x, axis):
    if axis is None and x.ndim > 1:
        raise SettingsError(
            f"{op}: along which axis?\n  x  {x.shape}\n"
            f"  write  {op}(x, axis=0), or reshape it first"
        )
    return axis_of(op, x.ndim, 0 if axis is None else axis)


def _along(axis, part):
    return (slice(None),) * axis + (part,)


def _outline(op, x, *, axis=None):
    _axis(op, x, axis)
    return x.like(scalar_type=WIDE[x.scalar_type.kind])


def _samples(rng):
    x = rng.normal(size=(3, 4, 2))
    for axis in (0, 1, -1):
        yield (x,), {"axis": axis}
    yield (rng.normal(size=5),), {}
    yield (rng.normal(size=()),), {"axis": 0}
    yield (rng.normal(size=(3, 0)),), {"axis": 0}
    yield (rng.normal(size=1),), {}


# -- cumsum ----------------------------------------------------------------------------


@cumsum.outlined_by
def cumsum_outline(x, *, axis=None, reverse=False):
    """y[i] = x[0] + ... + x[i]; from the other end with `reverse`."""
    return _outline("cumsum", x, axis=axis)


@cumsum.kernel(NUMPY, CUPY)
def cumsum_arrays(x, *, axis, reverse):
    """Summed in f64: one after the other, f32 would lose digits with the length."""
    if x.ndim == 0:
        return x.copy()
    at = _axis("cumsum", x, axis)
    dtype = {"f": "float64", "u": "uint64"}.get(x.dtype.kind, "int64")
    x = namespace(x).flip(x, at) if reverse else x
    y = x.cumsum(axis=at, dtype=dtype)
    return namespace(x).flip(y, at) if reverse else y


@cumsum.gradient("x")
def cumsum_dx(y, x, *, axis, reverse):
    return lambda dy: cumsum(dy, axis=axis, reverse=not reverse)


@cumsum.sampled_by
def cumsum_samples(rng):
    for arrays, settings in _samples(rng):
        yield arrays, settings
        yield arrays, settings | {"reverse": True}


# -- cumprod ---------------------------------------------------------------------------


cumprod.outlined_by(partial(_outline, "cumprod"))


@cumprod.kernel(NUMPY, CUPY)
def cumprod_arrays(x, *, axis):
    """y[i] = x[0] * ... * x[i]."""
    if x.ndim == 0:
        return x.copy()
    dtype = {"f": "float64", "u": "uint64"}.get(x.dtype.kind, "int64")
    return x.cumprod(axis=_axis("cumprod", x, axis), dtype=dtype)


@cumprod.gradient("x")
def cumprod_gradient(y, x, *, axis):
    return lambda dy: cumprod_dx(dy, x, axis=axis)


@cumprod.composed_by
def cumprod_parts(x, *, axis):
    """Products of 2 neighbours, of 4, of 8, ..."""
    at = _axis("cumprod", x, axis)
    step = 1
    while x.ndim and step < x.shape[at]:
        early = index(x, key=_along(at, slice(0, step)))
        late = index(x, key=_along(at, slice(step, None)))
        x = concat(early, multiply(late, index(x, key=_along(at, slice(0, -step)))), axis=at)
        step *= 2
    return x


alike(cumprod_dx, "x", axis=REQUIRED)


@cumprod_dx.kernel(NUMPY, CUPY)
def cumprod_dx_arrays(dy, x, *, axis):
    """x[0] * ... * x[i-1] * r[i], where r[i] = dy[i] + x[i+1] * r[i+1]: nothing is divided, so
    that zeros are numbers like any other. r is found in log2(n) steps over the whole array."""
    if x.ndim == 0:
        return dy.copy()
    xp, at = namespace(x), _axis("cumprod", x, axis)
    factor = xp.moveaxis(x, at, 0).astype("float64")
    before = xp.ones_like(factor)
    before[1:] = factor[:-1].cumprod(axis=0)
    rest = xp.moveaxis(dy, at, 0).astype("float64")
    factor[:-1] = factor[1:].copy()
    factor[-1:] = 0
    step = 1
    while step < len(rest):
        rest = xp.concatenate([rest[:-step] + factor[:-step] * rest[step:], rest[-step:]])
        factor = xp.concatenate([factor[:-step] * factor[step:], factor[-step:]])
        step *= 2
    return xp.moveaxis(before * rest, 0, at)


@cumprod.sampled_by
def cumprod_samples(rng):
    yield from _samples(rng)
    yield (np.array([2.0, 0.0, 3.0, 0.0, 4.0]),), {}


asked(cumprod_dx, cumprod)

# -- cummax and cummin -----------------------------------------------------------------


def _running(xp, larger, x):
    """The extreme so far along the first axis."""
    if xp is np:
        return larger.accumulate(x, axis=0)
    step = 1
    while step < len(x):
        x = xp.concatenate([x[:step], larger(x[step:], x[:-step])])
        step *= 2
    return x


def _extreme(op, larger):
    @op.outlined_by
    def outline(x, *, axis=None):
        """The extreme of x[0], ..., x[i], and where the last of equal ones is; NaN stays."""
        _axis(op.name, x, axis)
        return x.like(), x.like(scalar_type=I64)

    @op.kernel(NUMPY, CUPY)
    def arrays(x, *, axis):
        xp = namespace(x)
        if x.ndim == 0:
            return x.copy(), xp.zeros((), "int64")
        at = _axis(op.name, x, axis)
        moved = xp.moveaxis(x, at, 0)
        values = _running(xp, getattr(xp, larger), moved)
        hit = (moved == values) | (moved != moved)
        places = xp.arange(len(moved)).reshape(-1, *[1] * (x.ndim - 1))
        indices = _running(xp, xp.maximum, xp.where(hit, places, 0))
        return xp.moveaxis(values, 0, at), xp.moveaxis(indices, 0, at)

    @op.gradient("x")
    def rule(y, x, *, axis):
        shape, indices = x.shape, y[1]
        if not shape:
            return lambda dy: dy[0]
        at = _axis(op.name, x, axis)
        return lambda dy: take_along_axis_dx(dy[0], indices, shape=shape, axis=at)

    op.sampled_by(_samples)


_extreme(cummax, "maximum")
_extreme(cummin, "minimum")
