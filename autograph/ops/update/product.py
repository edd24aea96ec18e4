"""A step of plain SGD by a gradient that is a product, dw = x^T dy, which is not written down.

Shapes: w (I, O), x (N, I), dy (N, O).
"""

import numpy as np

from ...backends import CUDA, CUPY, NUMPY
from ...errors import ShapeError
from ...op import Op
from ...scalar_type import F64, I64
from ..matmul import matmul
from ..shape import permute_dims
from . import sgd_update

sgd_product_update = Op(
    "sgd_product_update", "w x dy step rate", writes="w step", outputs="", promotes="w x dy"
)
sgd_product_update.kernels_from(CUDA, ".cuda_product")


@sgd_product_update.outlined_by
def sgd_product_update_outline(w, x, dy, step, rate, *, maximize=False):
    """w = w - rate * (x^T dy), or + with `maximize`."""
    shapes = [each.shape for each in (w, x, dy)]
    if not (
        list(map(len, shapes)) == [2, 2, 2]
        and shapes[0] == (shapes[1][1], shapes[2][1])
        and shapes[1][0] == shapes[2][0]
    ):
        raise ShapeError(
            f"sgd_product_update: w is not like x^T dy\n"
            f"  w   {shapes[0]}\n  x   {shapes[1]}\n  dy  {shapes[2]}"
        )
    return ()


@sgd_product_update.kernel(NUMPY, CUPY, halves=True)
def sgd_product_update_arrays(w, x, dy, step, rate, *, maximize):
    sgd_update(w, matmul(permute_dims(x), dy), step, rate, maximize=maximize)


@sgd_product_update.sampled_by
def sgd_product_update_samples(rng):
    for settings in ({}, {"maximize": True}):
        counters = np.asarray(3, I64.dtype), np.asarray(0.1, F64.dtype)
        x, dy = rng.normal(size=(5, 3)), rng.normal(size=(5, 4))
        yield (rng.normal(size=(3, 4)), x, dy, *counters), settings
