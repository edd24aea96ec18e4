"""Casts between scalar types, plain and scaled."""

import numpy as np

from ..backends import CUDA, CUPY, NATIVE, NUMPY, namespace
from ..op import Op
from ..scalar_type import F32, ScalarType

cast = Op("cast", "x", view=True)
cast.kernels_from(NATIVE, ".native_cast_kernels")
cast.kernels_from(CUDA, ".cuda_cast")
scaled_cast = Op("scaled_cast", "x")


@cast.outlined_by
def cast_outline(x, *, scalar_type):
    return x.like(scalar_type=ScalarType(scalar_type))


@cast.kernel(NUMPY, CUPY, halves=True)
def cast_arrays(x, *, scalar_type):
    dtype = ScalarType(scalar_type).dtype
    if x.dtype.kind == "V" or dtype.kind == "V":  # bf16 converts through f32 alone
        x = x if x.dtype == dtype else x.astype(np.float32)
    return x if x.dtype == dtype else x.astype(dtype)


@cast.gradient("x")
def cast_dx(y, x, *, scalar_type):
    before = ScalarType.of(x)
    return lambda dy: cast(dy, scalar_type=before)


@cast.sampled_by
def cast_samples(rng):
    yield (rng.normal(size=(2, 3)),), {"scalar_type": "f64"}


@scaled_cast.outlined_by
def scaled_cast_outline(x, *, scalar_type, scale):
    return x.like(scalar_type=ScalarType(scalar_type))


@scaled_cast.kernel(NUMPY, CUPY, halves=True)
def scaled_cast_arrays(x, *, scalar_type, scale):
    """x * scale, multiplied in the accumulator of the new type: bytes to [0, 1] in one pass."""
    wanted = ScalarType(scalar_type)
    wide = wanted.accumulator.dtype if wanted.is_float else np.dtype(np.float64)
    product = namespace(x).multiply(x, wide.type(scale), dtype=wide)
    return product if product.dtype == wanted.dtype else product.astype(wanted.dtype)


@scaled_cast.gradient("x")
def scaled_cast_dx(y, x, *, scalar_type, scale):
    before = ScalarType.of(x)
    return lambda dy: scaled_cast(dy, scalar_type=before, scale=scale)


@scaled_cast.sampled_by
def scaled_cast_samples(rng):
    yield (rng.normal(size=(2, 3)),), {"scalar_type": "f64", "scale": 0.5}


def rounded_once(compute, *arrays):
    """compute(*arrays), of several ops; where the first is a half in f32, rounded at its end."""
    before = ScalarType.of(arrays[0])
    if not before.is_half:
        return compute(*arrays)
    y = compute(*(cast(each, scalar_type=F32) for each in arrays))
    return cast(y, scalar_type=before)
