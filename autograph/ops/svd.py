"""Singular values and vectors of matrices (..., N, M)."""

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..device import Device
from ..errors import NumericError, SettingsError, ShapeError
from ..op import Op
from .arrange import swapaxes
from .elementwise import add, divide, multiply, subtract, where
from .matmul import matmul
from .shape import reshape

svd = Op("svd", "x", outputs="u s vt", floats=True)
svdvals = Op("svdvals", "x", floats=True)


@svd.outlined_by
def svd_outline(x, *, full=False):
    """x = u @ diag(s) @ vt: (..., N, M) -> (..., N, K), (..., K), (..., K, M), K the smaller
    of N and M; the largest singular value first. With `full` u and vt are square."""
    if x.ndim < 2:
        raise ShapeError(f"svd: x is no matrix\n  x  {x.shape}")
    *batch, rows, columns = x.shape
    least = rows if rows < columns else columns
    high, wide = (rows, columns) if full else (least, least)
    shapes = (*batch, rows, high), (*batch, least), (*batch, wide, columns)
    return tuple(x.like(shape=shape) for shape in shapes)


@svd.kernel(NUMPY, CUPY)
def svd_arrays(x, *, full):
    return tuple(namespace(x).linalg.svd(finite("svd", x), full_matrices=full))


def finite(op, x):
    """x; refused on the host where it holds NaN or infinity, of which LAPACK may never end."""
    if isinstance(x, np.ndarray) and not np.isfinite(x).all():
        raise NumericError(f"{op}: x holds NaN or infinity\n  x  {x.shape}")
    return x


@svd.gradient("x")
def svd_dx(y, x, *, full):
    """J. Townsend, Differentiating the singular value decomposition, 2016. Of u and v it is
    defined where no two singular values are equal."""
    if full and x.shape[-1] != x.shape[-2]:
        raise SettingsError(
            "svd: the vectors beyond the singular values have no gradient\n  write  full=False"
        )

    def rule(dy):
        (u, s, vt), (du, ds, dvt) = y, dy
        ut, v = swapped(u), swapped(vt)
        columns, rows = (reshape(s, shape=(*s.shape[:-1], *at)) for at in ((1, -1), (-1, 1)))
        apart = multiply(subtract(columns, rows), add(columns, rows))
        same = identity(x, s.shape[-1])
        share = where(same, 0, divide(1, where(same, 1, apart)))
        inner = (
            multiply(same, 0) if ds is None else multiply(same, reshape(ds, shape=(*ds.shape, 1)))
        )
        if du is not None:
            turn = matmul(ut, du)
            inner = add(inner, multiply(multiply(share, subtract(turn, swapped(turn))), columns))
        if dvt is not None:
            turn = matmul(vt, swapped(dvt))
            inner = add(inner, multiply(rows, multiply(share, subtract(turn, swapped(turn)))))
        dx = matmul(matmul(u, inner), vt)
        if du is not None and x.shape[-2] > s.shape[-1]:
            rest = subtract(du, matmul(u, matmul(ut, du)))
            dx = add(dx, matmul(divide(rest, columns), vt))
        if dvt is not None and x.shape[-1] > s.shape[-1]:
            rest = subtract(dvt, matmul(matmul(dvt, v), vt))
            dx = add(dx, matmul(u, divide(rest, rows)))
        return dx

    return rule


def identity(x, size):
    """The identity as a mask, where x is."""
    same = np.eye(size, dtype=bool)
    return (x.device if hasattr(x, "outline") else Device.of(x)).put(same)


@svdvals.outlined_by
def svdvals_outline(x):
    """The singular values, the largest first: (..., N, M) -> (..., K)."""
    return svd_outline(x)[1]


@svdvals.kernel(NUMPY, CUPY)
def svdvals_arrays(x):
    return namespace(x).linalg.svd(finite("svdvals", x), compute_uv=False)


@svdvals.gradient("x")
def svdvals_dx(y, x):
    def rule(dy):
        u, _, vt = svd(x)
        return matmul(multiply(u, reshape(dy, shape=(*dy.shape[:-1], 1, -1))), vt)

    return rule


@svd.sampled_by
@svdvals.sampled_by
def svd_samples(rng):
    for shape in ((3, 3), (2, 4, 2), (2, 5)):
        u, _, vt = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
        yield ((u * np.arange(u.shape[-1], 0, -1.0)) @ vt,), {}


def swapped(x):
    """The matrices with rows as columns."""
    return swapaxes(x, -1, -2)
