"""Decompositions of matrices (..., N, M) beside the singular values, and what is made of them."""

from typing import Any

import numpy as np
from ml_dtypes import finfo

from ..backends import CUPY, NUMPY, namespace
from ..errors import SettingsError, ShapeError
from ..op import Op
from ..scalar_type import ScalarType
from .arrange import roll
from .axes import axis_of
from .broadcast import broadcast_to
from .cast import cast
from .comparison import greater
from .elementwise import add, divide, multiply, negative, subtract, where
from .index import index
from .linalg import inv, refuse_oblong, solve, well_conditioned
from .matmul import matmul
from .reduce import max, sum
from .shape import concat, reshape
from .svd import finite, identity, svdvals, swapped
from .triangle import tril

eigh = Op("eigh", "x", outputs="values vectors", floats=True)
qr = Op("qr", "x", outputs="q r", floats=True)
slogdet = Op("slogdet", "x", outputs="sign logarithm", floats=True)
pinv = Op("pinv", "x", floats=True)


# -- eigenvalues of symmetric matrices -------------------------------------------------------


@eigh.outlined_by
def eigh_outline(x):
    """x = vectors @ diag(values) @ vectors.T, the smallest value first: x (..., N, N) is taken to
    be symmetric, (x + x.T) / 2."""
    return refuse_oblong("eigh", x).like(shape=x.shape[:-1]), x.like()


@eigh.kernel(NUMPY, CUPY)
def eigh_arrays(x):
    x = finite("eigh", x) / 2
    return tuple(namespace(x).linalg.eigh(x + x.swapaxes(-1, -2)))


@eigh.gradient("x")
def eigh_dx(y, x):
    """M. Giles, Collected matrix derivative results, 2008. Of the vectors it is defined where no
    two values are equal."""

    def rule(dy):
        (values, vectors), (dvalues, dvectors) = y, dy
        same = identity(x, x.shape[-1])
        columns, rows = (reshape(values, shape=(*values.shape[:-1], *at)) for at in _SIDES)
        inner = multiply(same, 0)
        if dvalues is not None:
            inner = multiply(same, reshape(dvalues, shape=(*dvalues.shape, 1)))
        if dvectors is not None:
            share = where(same, 0, divide(1, where(same, 1, subtract(columns, rows))))
            inner = add(inner, multiply(share, matmul(swapped(vectors), dvectors)))
        dx = matmul(matmul(vectors, inner), swapped(vectors))
        return multiply(add(dx, swapped(dx)), 0.5)

    return rule


_SIDES = (1, -1), (-1, 1)  # a row of values, a column of them


@eigh.sampled_by
def eigh_samples(rng):
    for shape in ((3, 3), (2, 4, 4), (1, 1)):
        q, _ = np.linalg.qr(rng.normal(size=shape))
        yield ((q * np.arange(1.0, shape[-1] + 1)) @ q.swapaxes(-1, -2),), {}


# -- orthogonal and triangular --------------------------------------------------------------


@qr.outlined_by
def qr_outline(x, *, mode="reduced"):
    """x = q @ r, q with columns at right angles, r an upper triangle: (..., N, M) ->
    (..., N, K), (..., K, M), K the smaller of N and M; or N with the mode "complete"."""
    if x.ndim < 2 or mode not in ("reduced", "complete"):
        raise SettingsError(
            f"qr: a matrix is wanted, and a mode\n  x     {x.shape}\n  mode  {mode!r}\n"
            f'  write  mode="reduced"  or  mode="complete"'
        )
    *batch, n, m = x.shape
    k = n if mode == "complete" or n < m else m
    return x.like(shape=(*batch, n, k)), x.like(shape=(*batch, k, m))


@qr.kernel(NUMPY, CUPY)
def qr_arrays(x, *, mode):
    return tuple(namespace(x).linalg.qr(x, mode=mode))


@qr.gradient("x")
def qr_dx(y, x, *, mode):
    """Walter, Lehmann and Lamour, On evaluating higher-order derivatives of the QR decomposition
    of tall matrices, 2012; what is wide is tall in front, and the rest a product."""
    n, m = x.shape[-2:]
    if mode == "complete" and n > m:
        raise SettingsError('qr: of a tall matrix only mode="reduced" has a gradient')

    def rule(dy):
        (q, r), (dq, dr) = y, dy
        dq, dr = (multiply(a, 0) if b is None else b for a, b in ((q, dq), (r, dr)))
        if m <= n:
            return _tall_dx(q, r, dq, dr)
        (r, _), (front, rest) = _parted(r, n), _parted(dr, n)
        behind = _parted(x, n)[1]
        dq = add(dq, matmul(behind, swapped(rest)))
        return concat(_tall_dx(q, r, dq, front), matmul(q, rest), axis=-1)

    return rule


def _tall_dx(q, r, dq, dr):
    inner = subtract(matmul(r, swapped(dr)), matmul(swapped(dq), q))
    even = add(tril(inner), swapped(tril(inner, k=-1)))
    return swapped(solve(r, swapped(add(dq, matmul(q, even)))))


def _parted(x, at):
    """The columns before and from `at` on."""
    before, after = slice(None, at), slice(at, None)
    return index(x, key=(..., before)), index(x, key=(..., after))


@qr.sampled_by
def qr_samples(rng):
    for shape in ((3, 3), (2, 4, 2), (2, 5)):
        yield (rng.normal(size=shape) + 2 * np.eye(*shape[-2:]),), {}
    yield (rng.normal(size=(2, 3)),), {"mode": "complete"}


# -- the logarithm of the determinant -------------------------------------------------------


@slogdet.outlined_by
def slogdet_outline(x):
    """The sign of the determinant, and the logarithm of its size: (..., N, N) -> (...), (...)."""
    refuse_oblong("slogdet", x)
    return x.like(shape=x.shape[:-2]), x.like(shape=x.shape[:-2])


@slogdet.kernel(NUMPY, CUPY)
def slogdet_arrays(x):
    return tuple(namespace(x).linalg.slogdet(x))


@slogdet.gradient("x")
def slogdet_dx(y, x):
    def rule(dy):
        if dy[1] is None:
            return multiply(x, 0)
        return multiply(reshape(dy[1], shape=(*dy[1].shape, 1, 1)), swapped(inv(x)))

    return rule


@slogdet.sampled_by
def slogdet_samples(rng):
    yield (well_conditioned(rng, 3, 3),), {}
    yield (-well_conditioned(rng, 2, 1, 3, 3),), {}


# -- the inverse of any matrix ---------------------------------------------------------------


def _least(shape, scalar_type, rtol):
    """The share of the largest singular value below which another counts as 0."""
    rows, columns = shape[-2:]
    longer = rows if rows > columns else columns
    return longer * float(finfo(scalar_type.dtype).eps) if rtol is None else rtol


@pinv.outlined_by
def pinv_outline(x, *, rtol=None):
    """The inverse of Moore and Penrose: (..., N, M) -> (..., M, N). Singular values up to `rtol`
    of the largest count as 0."""
    if x.ndim < 2:
        raise ShapeError(f"pinv: x is no matrix\n  x  {x.shape}")
    return x.like(shape=(*x.shape[:-2], x.shape[-1], x.shape[-2]))


@pinv.kernel(NUMPY, CUPY)
def pinv_arrays(x, *, rtol):
    xp = namespace(x)
    u, s, vt = xp.linalg.svd(finite("pinv", x), full_matrices=False)
    used = s > s[..., :1] * _least(x.shape, ScalarType.of(x), rtol)  # the first is the largest
    s = xp.where(used, 1 / xp.where(used, s, 1), 0).astype(x.dtype)
    return (vt.swapaxes(-1, -2) * s[..., None, :]) @ u.swapaxes(-1, -2)


@pinv.gradient("x")
def pinv_dx(y, x, *, rtol):
    """G. Golub and V. Pereyra, 1973: dx = -(y dy y).T + (1 - x y) dy.T y y.T + y.T y dy.T
    (1 - y x)."""

    def rule(dy):
        yt, dyt = swapped(y), swapped(dy)
        inner = negative(matmul(matmul(yt, dy), yt))
        left, right = matmul(matmul(dyt, y), yt), matmul(matmul(yt, y), dyt)
        left = subtract(left, matmul(matmul(x, y), left))
        right = subtract(right, matmul(right, matmul(y, x)))
        return add(inner, add(left, right))

    return rule


@pinv.sampled_by
def pinv_samples(rng):
    for shape in ((3, 3), (2, 4, 2), (2, 5)):
        yield (rng.normal(size=shape) + 2 * np.eye(*shape[-2:]),), {}


def matrix_rank(x: Any, *, rtol: float | None = None) -> Any:
    """How many singular values are more than `rtol` of the largest: (..., N, M) -> (...)."""
    values = svdvals(x)
    share = _least(x.shape, ScalarType.of(values), rtol)
    least = multiply(max(values, axis=-1, keepdims=True), share)
    return sum(greater(values, least), axis=-1)


# -- products --------------------------------------------------------------------------------


def matrix_power(x: Any, n: int) -> Any:
    """x @ x @ ..., n times; of the inverse where n is negative: (..., N, N) the same."""
    refuse_oblong("matrix_power", x)
    if n == 0:
        one = cast(identity(x, x.shape[-1]), scalar_type=ScalarType.of(x))
        one = type(x)(one, device=x.device) if hasattr(x, "outline") else one
        return broadcast_to(one, shape=tuple(x.shape))
    if n < 0:
        x, n = inv(x), -n
    half = x if n == 1 else matrix_power(matmul(x, x), n // 2)
    return matmul(half, x) if n % 2 and n > 1 else half


def cross(a: Any, b: Any, *, axis: int = -1) -> Any:
    """The vectors at right angles to those of a and b along an axis of size 3."""
    sizes = [x.shape[axis_of("cross", len(x.shape), axis)] if x.shape else 0 for x in (a, b)]
    if sizes != [3, 3]:
        raise ShapeError(
            f"cross: vectors of 3 are wanted\n  a     {a.shape}\n  b     {b.shape}\n  axis  {axis}"
        )
    (a1, a2), (b1, b2) = ([roll(x, -by, axis=axis) for by in (1, 2)] for x in (a, b))
    return subtract(multiply(a1, b2), multiply(a2, b1))
