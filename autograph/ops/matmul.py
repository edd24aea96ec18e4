"""Matrix products with batches and vectors."""

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..errors import ShapeError
from ..op import Op
from ..outline import CONTIGUOUS, STRIDED, Outline
from .broadcast import sum_to
from .cast import rounded_once
from .shape import permute_dims, reshape

matmul = Op("matmul", "a b")


def refuse_product(op, names, a, b):
    """The error for matrices whose inner sizes differ."""
    return ShapeError(
        f"{op}: {names[1]} takes {b.shape[-2 if b.ndim > 1 else 0] if b.ndim else 'no'} features, "
        f"but {names[0]} has {a.shape[-1] if a.ndim else 'none'}\n"
        f"  {names[0]:<8}{a.shape}\n  {names[1]:<8}{b.shape}"
    )


@matmul.outlined_by
def matmul_outline(a, b):
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise refuse_product("matmul", ("a", "b"), a, b)
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(
            f"matmul: batches do not broadcast\n  a       {a.shape}\n  b       {b.shape}"
        ) from None
    rows = a.shape[-2:-1] if a.ndim > 1 else ()
    columns = b.shape[-1:] if b.ndim > 1 else ()
    return a.like(shape=(*batch, *rows, *columns))


@matmul.kernel(NUMPY, CUPY)
def matmul_arrays(a, b):
    return namespace(a).matmul(a, b)


@matmul.gradient("a")
def matmul_da(y, a, b):
    shape = a.shape
    vector, single = len(shape) == 1, len(b.shape) == 1

    def rule(dy):
        rows = _shaped(dy, _with_axes(dy.shape, vector, single))
        right = reshape(b, shape=(b.shape[0], 1)) if single else b
        return _shaped(_summed(rows, _swapped(right), (1, *shape) if vector else shape), shape)

    return rule


@matmul.gradient("b")
def matmul_db(y, a, b):
    shape = b.shape
    vector, single = len(a.shape) == 1, len(shape) == 1

    def rule(dy):
        columns = _shaped(dy, _with_axes(dy.shape, vector, single))
        left = reshape(a, shape=(1, a.shape[0])) if vector else a
        if len(shape) <= 2 < len(left.shape):  # one product sums over the batch as well
            left, columns = (reshape(x, shape=(-1, x.shape[-1])) for x in (left, columns))
        return _shaped(_summed(_swapped(left), columns, (*shape, 1) if single else shape), shape)

    return rule


def _da_of_matrices(inputs, outputs):
    """The gradient of a, of two matrices: dy @ b.T."""
    if len(inputs[0].shape) != 2 or len(inputs[1].shape) != 2:
        return None
    product = matmul.bound([outputs[0], _transposed(inputs[1])])
    return lambda dy, b: product(dy, b.T), [2]


def _db_of_matrices(inputs, outputs):
    """The gradient of b, of two matrices: a.T @ dy."""
    if len(inputs[0].shape) != 2 or len(inputs[1].shape) != 2:
        return None
    product = matmul.bound([_transposed(inputs[0]), outputs[0]], checked=1)
    return lambda dy, a: product(a.T, dy), [1]


matmul_da.bound, matmul_db.bound = _da_of_matrices, _db_of_matrices  # type: ignore[attr-defined]


def _transposed(x):
    """The outline of x.T, of a matrix x in C order."""
    shape = x.shape[::-1]
    flat = 1 in shape or 0 in shape
    return Outline(shape, x.scalar_type, x.device, CONTIGUOUS if flat else STRIDED)


def _summed(a, b, shape):
    """a @ b summed to a shape."""
    batch = ()
    if len(a.shape) > 2 or len(b.shape) > 2:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if (*batch, a.shape[-2], b.shape[-1]) == shape:
        return matmul(a, b)
    return rounded_once(lambda a, b: sum_to(matmul(a, b), shape=shape), a, b)


def _shaped(x, shape):
    """x in a shape, itself if it has that."""
    return x if x.shape == shape else reshape(x, shape=shape)


def _with_axes(shape, vector, single):
    """The shape of a product of matrices whose axes of one matmul left out."""
    shape = (*shape, 1) if single else shape
    return (*shape[:-1], 1, shape[-1]) if vector else shape


def _swapped(x):
    if len(x.shape) == 2:
        return x.T  # a view of an array; of a tensor recorded
    axes = list(range(len(x.shape)))
    axes[-2:] = axes[-1], axes[-2]
    return permute_dims(x, axes=tuple(axes))


@matmul.costed_by
def matmul_cost(a, b):
    return matmul_outline(a, b).size * a.shape[-1]


@matmul.sampled_by
def matmul_samples(rng):
    def normal(*shape):
        return rng.normal(size=shape)

    yield (normal(2, 3), normal(3, 4)), {}
    yield (normal(3), normal(3)), {}
    yield (normal(3), normal(2, 3, 4)), {}
    yield (normal(2, 2, 3), normal(3)), {}
    yield (normal(5, 1, 2, 3), normal(4, 3, 2)), {}
    yield (normal(2, 0), normal(0, 3)), {}
