"""Embedding: a row of a table for each index.

Shapes: x (...) of integers, weight (V, E), y (..., E). The row `padding` stays as it is: it
gets no gradient.
"""

import numpy as np

from ..backends import CUDA, CUPY, NUMPY, namespace
from ..errors import IndexRangeError, ScalarTypeError, ShapeError
from ..op import Op
from .comparison import not_equal
from .declare import asked
from .elementwise import multiply
from .shape import reshape
from .take import added_rows

embedding = Op("embedding", "x weight", promotes="weight")
embedding_dweight = Op("embedding_dweight", "dy x", promotes="dy")
for _op in (embedding, embedding_dweight):
    _op.kernels_from(CUDA, ".cuda_embedding")


@embedding.outlined_by
def embedding_outline(x, weight, *, padding=None):
    if x.scalar_type.is_float or x.scalar_type.kind == "bool":
        raise ScalarTypeError(
            f"embedding: x holds indices, and is {x.scalar_type}\n  write  x.cast('i64')"
        )
    if weight.ndim != 2:
        raise ShapeError(f"embedding: weight has 2 axes\n  weight  {weight.shape}  V E")
    if padding is not None and not 0 <= padding < weight.shape[0]:
        raise IndexRangeError(
            f"embedding: padding {padding} is no row\n  weight  {weight.shape}  V E"
        )
    return weight.like(shape=(*x.shape, weight.shape[1]))


@embedding.kernel(NUMPY, CUPY, halves=True)
def embedding_arrays(x, weight, *, padding):
    if isinstance(x, np.ndarray) and x.size:  # on a device, looking would wait for it
        wrong = (x < 0) | (x >= len(weight))
        if wrong.any():
            place = tuple(map(int, np.argwhere(wrong)[0]))
            raise IndexRangeError(
                f"embedding: x{list(place)} = {x[place]} is out of range\n"
                f"  weight has {len(weight)} rows: write 0 to {len(weight) - 1}"
            )
    return namespace(weight).take(weight, x, axis=0)


@embedding.gradient("weight")
def embedding_gradient(y, x, weight, *, padding):
    rows = weight.shape[0]
    return lambda dy: embedding_dweight(dy, x, rows=rows, padding=padding)


@embedding.sampled_by
def embedding_samples(rng):
    weight = rng.normal(size=(5, 3))
    yield (np.array([[0, 4, 0], [1, 2, 0]]), weight), {}
    yield (np.array([1, 2, 1], np.uint8), weight), {}
    yield (np.array([1, 2, 1]), weight), {"padding": 1}
    yield (np.array(3), weight), {}
    yield (np.zeros((0, 2), np.int64), weight), {}


# -- the gradient: rows of dy gathered under their index ---------------------------------


@embedding_dweight.outlined_by
def embedding_dweight_outline(dy, x, *, rows, padding):
    return dy.like(shape=(rows, dy.shape[-1]))


@embedding_dweight.kernel(NUMPY, CUPY)
def embedding_dweight_arrays(dy, x, *, rows, padding):
    dweight = added_rows(rows, x.reshape(-1), dy.reshape(-1, dy.shape[-1]))
    if padding is not None:
        dweight[padding] = 0
    return dweight


@embedding_dweight.gradient("dy")
def embedding_dweight_ddy(dweight, dy, x, *, rows, padding):
    def rule(ddweight):
        ddy = embedding(x, ddweight, padding=padding)
        return ddy if padding is None else multiply(ddy, reshape(kept, shape=(*x.shape, 1)))

    kept = None if padding is None else not_equal(x, padding)
    return rule


asked(embedding_dweight, embedding)
