"""Broadcasting and its inverse, each the gradient of the other."""

import numpy as np

from ..backends import CUDA, CUPY, NATIVE, NUMPY, namespace
from ..errors import ShapeError
from ..op import Op
from .summation import summed

broadcast_to = Op("broadcast_to", "x", view=True)
sum_to = Op("sum_to", "x")
sum_to.kernels_from(CUDA, ".reduce.cuda_kernels")
sum_to.kernels_from(NATIVE, ".reduce.native_kernels")


@broadcast_to.outlined_by
def broadcast_to_outline(x, *, shape):
    try:
        fits = np.broadcast_shapes(x.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"broadcast_to: the shape does not fit\n  x      {x.shape}\n  shape  {shape}"
        )
    return x.like(shape=tuple(shape))


@broadcast_to.kernel(NUMPY, CUPY, halves=True)
def broadcast_to_arrays(x, *, shape):
    return namespace(x).broadcast_to(x, shape)


@broadcast_to.gradient("x")
def broadcast_to_dx(y, x, *, shape):
    before = x.shape
    return lambda dy: sum_to(dy, shape=before)


@broadcast_to.sampled_by
def broadcast_to_samples(rng):
    yield (rng.normal(size=(3, 1)),), {"shape": (2, 3, 4)}
    yield (rng.normal(size=()),), {"shape": (2,)}
    yield (rng.normal(size=(1, 2)),), {"shape": (0, 2)}


@sum_to.outlined_by
def sum_to_outline(x, *, shape):
    broadcast_to_outline(x.like(shape=shape), shape=x.shape)
    return x.like(shape=shape)


def stretched(full, shape):
    """The axes that broadcasting `shape` to `full` made or stretched."""
    extra = len(full) - len(shape)
    inner = [i + extra for i, n in enumerate(shape) if n == 1 and full[i + extra] != 1]
    return (*range(extra), *inner)


@sum_to.kernel(NUMPY, CUPY)
def sum_to_arrays(x, *, shape):
    axes = stretched(x.shape, shape)
    return summed(x, axes).reshape(shape) if axes else x.copy()


@sum_to.gradient("x")
def sum_to_dx(y, x, *, shape):
    before = x.shape
    return lambda dy: broadcast_to(dy, shape=before)


@sum_to.sampled_by
def sum_to_samples(rng):
    yield (rng.normal(size=(2, 3, 4)),), {"shape": (3, 1)}
    yield (rng.normal(size=(2, 3)),), {"shape": ()}
    yield (rng.normal(size=(0, 3)),), {"shape": (1, 3)}
