"""Linear algebra of matrices (..., N, M): NumPy's and CuPy's routines under our gradients."""

from functools import partial
from typing import Any

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..errors import NumericError, SettingsError, ShapeError
from ..op import Op
from .arrange import moveaxis
from .axes import axis_of
from .broadcast import sum_to
from .elementwise import abs as absolute
from .elementwise import add, multiply, negative
from .matmul import matmul
from .reduce import max, min, sum
from .reduce.product import products_of_others
from .shape import reshape
from .statistics import norm
from .svd import svdvals, swapped
from .triangle import tril

solve = Op("solve", "a b", floats=True)
inv = Op("inv", "x", floats=True)
det = Op("det", "x", floats=True)
cofactor = Op("cofactor", "x", floats=True)
cholesky = Op("cholesky", "x", floats=True)


def refuse_oblong(op, x):
    """x; refused where its matrices are not square."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"{op}: the matrices are not square\n  x  {x.shape}")
    return x


def _trying(op, function, *arrays, because):
    """NumPy's answer, or why there is none."""
    try:
        return function(*arrays)
    except np.linalg.LinAlgError:
        raise NumericError(f"{op}: {because}\n  x  {arrays[0].shape}") from None


def well_conditioned(rng, *shape):
    """A sample far from singular."""
    return rng.normal(size=shape) + 3 * np.eye(shape[-1])


# -- solve, inv, det -------------------------------------------------------------------


@solve.outlined_by
def solve_outline(a, b):
    """x with a @ x = b: a (..., N, N), b (N,) or (..., N, K)."""
    refuse_oblong("solve", a)
    rows = b.shape[0] if b.ndim == 1 else b.shape[-2] if b.ndim else None
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        batch = None
    if rows != a.shape[-1] or batch is None:
        raise ShapeError(f"solve: b does not fit a\n  a  {a.shape}\n  b  {b.shape}")
    return a.like(shape=(*batch, *(b.shape if b.ndim == 1 else b.shape[-2:])))


@solve.kernel(NUMPY, CUPY)
def solve_arrays(a, b):
    xp, vector = namespace(a), b.ndim == 1 and a.ndim > 2
    b = b[:, None] if vector else b
    if xp is not np and b.ndim > 1:  # CuPy broadcasts no batch
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = (xp.broadcast_to(each, (*batch, *each.shape[-2:])) for each in (a, b))
    x = _trying("solve", xp.linalg.solve, a, b, because="a is singular")
    return x[..., 0] if vector else x


@solve.gradient("a")
def solve_da(x, a, b):
    shape, vector = a.shape, len(b.shape) == 1

    def rule(dy):
        columns = [reshape(each, shape=(*each.shape, 1)) if vector else each for each in (dy, x)]
        db = solve(swapped(a), columns[0])
        return sum_to(negative(matmul(db, swapped(columns[1]))), shape=shape)

    return rule


@solve.gradient("b")
def solve_db(x, a, b):
    shape, vector = b.shape, len(b.shape) == 1

    def rule(dy):
        if not vector:
            return sum_to(solve(swapped(a), dy), shape=shape)
        db = solve(swapped(a), reshape(dy, shape=(*dy.shape, 1)))
        return sum_to(reshape(db, shape=db.shape[:-1]), shape=shape)

    return rule


@solve.sampled_by
def solve_samples(rng):
    a = well_conditioned(rng, 2, 3, 3)
    yield (a, rng.normal(size=(2, 3, 4))), {}
    yield (a[0], rng.normal(size=3)), {}
    yield (a, rng.normal(size=3)), {}
    yield (a[0], rng.normal(size=(5, 3, 1))), {}


def _inverse_outline(op, x):
    return refuse_oblong(op, x).like()


inv.outlined_by(partial(_inverse_outline, "inv"))


@inv.kernel(NUMPY, CUPY)
def inv_arrays(x):
    """The matrix that gives the identity with x."""
    return _trying("inv", namespace(x).linalg.inv, x, because="x is singular")


@inv.gradient("x")
def inv_dx(y, x):
    return lambda dy: negative(matmul(matmul(swapped(y), dy), swapped(y)))


@det.outlined_by
def det_outline(x):
    """The determinant: (..., N, N) -> (...)."""
    return refuse_oblong("det", x).like(shape=x.shape[:-2])


@det.kernel(NUMPY, CUPY)
def det_arrays(x):
    return namespace(x).linalg.det(x)


@det.gradient("x")
def det_dx(y, x):
    return lambda dy: multiply(reshape(dy, shape=(*dy.shape, 1, 1)), cofactor(x))


cofactor.outlined_by(partial(_inverse_outline, "cofactor"))


@cofactor.kernel(NUMPY, CUPY)
def cofactor_arrays(x):
    """The gradient of the determinant, det(x) * inv(x).T where that exists: from the singular
    values, so that singular matrices have one too; NaN where a matrix is not finite."""
    xp = namespace(x)
    sound = xp.isfinite(x).all(axis=(-2, -1), keepdims=True)
    u, s, vt = xp.linalg.svd(xp.where(sound, x, 0))
    turn = xp.linalg.det(u) * xp.linalg.det(vt)
    scale = products_of_others(s) * turn[..., None]
    return xp.where(sound, (u * scale[..., None, :]) @ vt, xp.nan)


@cofactor.composed_by
def cofactor_parts(x):
    size = det(x)
    return multiply(reshape(size, shape=(*size.shape, 1, 1)), swapped(inv(x)))


@inv.sampled_by
@det.sampled_by
def square_samples(rng):
    yield (well_conditioned(rng, 3, 3),), {}
    yield (well_conditioned(rng, 2, 1, 4, 4),), {}
    yield (np.array([[2.0]]),), {}


@cofactor.sampled_by
def cofactor_samples(rng):
    yield from square_samples(rng)
    yield (np.array([[1.0, 2.0], [2.0, 4.0]]),), {}


# -- cholesky --------------------------------------------------------------------------


@cholesky.outlined_by
def cholesky_outline(x, *, upper=False):
    """The lower triangle l with l @ l.T = x (or the upper one): x is taken to be symmetric,
    (x + x.T) / 2."""
    return refuse_oblong("cholesky", x).like()


@cholesky.kernel(NUMPY, CUPY)
def cholesky_arrays(x, *, upper):
    even = (x + x.swapaxes(-1, -2)) / 2
    y = _trying(
        "cholesky", namespace(x).linalg.cholesky, even,
        because="x is not positive definite; add a small multiple of the identity",
    )  # fmt: skip
    return y.swapaxes(-1, -2).copy() if upper else y


@cholesky.gradient("x")
def cholesky_dx(y, x, *, upper):
    """I. Murray, Differentiation of the Cholesky decomposition, 2016."""

    def rule(dy):
        lower, slope = (swapped(y), swapped(dy)) if upper else (y, dy)
        inner = matmul(swapped(lower), slope)
        half = multiply(add(tril(inner), tril(inner, k=-1)), 0.5)
        turned = swapped(lower)
        once = solve(turned, swapped(solve(turned, swapped(half))))
        return multiply(add(once, swapped(once)), 0.5)

    return rule


@cholesky.sampled_by
def cholesky_samples(rng):
    for shape in ((3, 3), (2, 4, 4), (1, 1)):
        a = well_conditioned(rng, *shape)
        yield (a @ a.swapaxes(-1, -2),), {}
        yield (a @ a.swapaxes(-1, -2),), {"upper": True}


# -- norms -----------------------------------------------------------------------------


def matrix_norm(
    x: Any, *, ord: str | float = "fro", axis: tuple[int, int] = (-2, -1), keepdims: bool = False
) -> Any:
    """The norm of matrices: "fro" (of all elements), "nuc" (the sum of singular values), 2 and
    -2 (the largest and the smallest), 1 and -1 (the largest and smallest sum of a column's
    absolute values), infinity and -infinity (of a row's)."""
    first, second = (axis_of("matrix_norm", len(x.shape), each) for each in axis)
    if ord == "fro":
        return norm(x, axis=(first, second), keepdims=keepdims)
    x = moveaxis(x, (first, second), (-2, -1))
    infinity = float("inf")
    if ord in ("nuc", 2, -2):
        values = svdvals(x)
        y = (sum if ord == "nuc" else max if ord == 2 else min)(values, axis=-1)
    elif ord in (1, -1, infinity, -infinity):
        sums = sum(absolute(x), axis=-2 if ord in (1, -1) else -1)
        y = (max if ord in (1, infinity) else min)(sums, axis=-1)
    else:
        raise SettingsError(
            f"matrix_norm: there is no norm {ord!r}\n"
            f'  write one of  "fro", "nuc", 1, -1, 2, -2, infinity, -infinity'
        )
    rest = iter(y.shape)
    kept = tuple(1 if i in (first, second) else next(rest) for i in range(len(x.shape)))
    return reshape(y, shape=kept) if keepdims else y
