"""Triangles and diagonals of matrices."""

from typing import Any

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..errors import SettingsError, ShapeError
from ..op import Op
from ..outline import STRIDED, Outline
from .axes import axis_of
from .declare import adjoint
from .reduce import sum

tril = Op("tril", "x")
triu = Op("triu", "x")
diagonal = Op("diagonal", "x", view=True)


def _triangle(op):
    @op.outlined_by
    def outline(x, *, k=0):
        """(..., N, M), with zeros beyond the k-th diagonal."""
        if x.ndim < 2:
            raise ShapeError(f"{op.name}: x is no matrix\n  x  {x.shape}")
        return x.like()

    @op.kernel(NUMPY, CUPY)
    def arrays(x, *, k):
        return getattr(namespace(x), op.name)(x, k)

    @op.gradient("x")
    def rule(y, x, *, k):
        return lambda dy: op(dy, k=k)

    @op.sampled_by
    def samples(rng):
        yield (rng.normal(size=(3, 4)),), {}
        yield (rng.normal(size=(2, 4, 3)),), {"k": 1}
        yield (rng.normal(size=(3, 3)),), {"k": -1}


_triangle(tril)
_triangle(triu)

# -- diagonal --------------------------------------------------------------------------


@diagonal.outlined_by
def diagonal_outline(x, *, offset=0, axis1=0, axis2=1):
    """A view of the diagonal of two axes, as the last axis: (N, M, ...) -> (..., D)."""
    first, second = (axis_of("diagonal", x.ndim, each) for each in (axis1, axis2))
    if x.ndim < 2 or first == second:
        raise SettingsError(
            f"diagonal: axes {axis1} and {axis2} are not two axes of x\n  x  {x.shape}"
        )
    rest = [size for i, size in enumerate(x.shape) if i not in (first, second)]
    rows, columns = x.shape[first] + min(offset, 0), x.shape[second] - max(offset, 0)
    return Outline((*rest, max(0, min(rows, columns))), x.scalar_type, x.device, STRIDED)


@diagonal.kernel(NUMPY, CUPY, halves=True)
def diagonal_arrays(x, *, offset, axis1, axis2):
    y = x.diagonal(offset, axis1, axis2)
    if isinstance(y, np.ndarray) and x.flags.writeable:
        y.flags.writeable = True  # as every other view
    return y


@diagonal.sampled_by
def diagonal_samples(rng):
    yield (rng.normal(size=(3, 4)),), {}
    yield (rng.normal(size=(2, 3, 4)),), {"offset": -1, "axis1": -1, "axis2": 0}
    yield (rng.normal(size=(2, 3)),), {"offset": 2}


diagonal_dx = adjoint(diagonal, "diagonal_dx")


@diagonal_dx.kernel(NUMPY, CUPY, halves=True)
def diagonal_dx_arrays(dy, *, shape, offset, axis1, axis2):
    xp = namespace(dy)
    dx = xp.zeros(shape, dy.dtype)
    along = xp.arange(dy.shape[-1])
    ends = xp.moveaxis(dx, (axis1, axis2), (-2, -1))
    ends[..., along - min(offset, 0), along + max(offset, 0)] = dy
    return dx


def trace(x: Any, *, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of the diagonal."""
    return sum(diagonal(x, offset=offset, axis1=axis1, axis2=axis2), axis=-1)
