"""Tensors from nothing but a shape: constants, ranges, random numbers."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from ..device import HOST, Device
from ..errors import ScalarTypeError, ShapeError
from ..philox import normals, stream, uniforms
from ..scalar_type import F32, ScalarType
from .tensor import Tensor, _make

Shape = int | tuple[int, ...]
Where = Device | str
Type = ScalarType | str


def zeros(shape: Shape, *, device: Where = HOST, scalar_type: Type = F32) -> Tensor:
    """A tensor of zeros."""
    return full(shape, 0, device=device, scalar_type=scalar_type)


def ones(shape: Shape, *, device: Where = HOST, scalar_type: Type = F32) -> Tensor:
    """A tensor of ones."""
    return full(shape, 1, device=device, scalar_type=scalar_type)


def full(
    shape: Shape, value: float, *, device: Where = HOST, scalar_type: Type | None = None
) -> Tensor:
    """A tensor of one value; f32, i64 or bool by the value unless said."""
    value = value.item() if isinstance(value, np.generic | Tensor) else value
    natural = {bool: "bool", int: "i64", float: "f32"}.get(type(value))
    if natural is None:
        raise ScalarTypeError(f"full: a {type(value).__name__} is no number")
    dtype = ScalarType(scalar_type or natural).dtype
    array = HOST.empty(_shape(shape), dtype)  # which says what was asked for where it cannot
    array[...] = value
    return _make(Device(device).put(array))


def eye(
    rows: int,
    columns: int | None = None,
    k: int = 0,
    *,
    device: Where = HOST,
    scalar_type: Type = F32,
) -> Tensor:
    """Ones on the k-th diagonal, zeros elsewhere."""
    array = np.eye(rows, columns, k).astype(ScalarType(scalar_type).dtype)
    return _make(Device(device).put(array))


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    *,
    device: Where = HOST,
    scalar_type: Type | None = None,
) -> Tensor:
    """start, start + step, ... up to and without stop; i64 of ints and f32 of floats.

    >>> arange(3)
    Tensor(host i64 (3,) [0, 1, 2])
    """
    start, stop = (0, start) if stop is None else (start, stop)
    whole = all(isinstance(each, int | np.integer) for each in (start, stop, step))
    dtype = ScalarType(scalar_type or ("i64" if whole else "f32")).dtype
    return _make(Device(device).put(np.arange(start, stop, step).astype(dtype)))


def random_uniform(
    shape: Shape,
    low: float = 0.0,
    high: float = 1.0,
    *,
    seed: int,
    key: str = "",
    device: Where = HOST,
    scalar_type: Type = F32,
) -> Tensor:
    """Uniform numbers in [low, high), the same for the same (seed, key) on every device."""
    values = uniforms(stream(seed, key), _count(shape)) * (high - low) + low
    made = values.astype(ScalarType(scalar_type).dtype)
    if high > low:  # rounding leads up to it
        last = np.nextafter(made.dtype.type(high), made.dtype.type(low))
        made[made.astype(np.float64) >= high] = last
    return _placed(made, shape, device, scalar_type)


def random_normal(
    shape: Shape,
    mean: float = 0.0,
    deviation: float = 1.0,
    *,
    seed: int,
    key: str = "",
    device: Where = HOST,
    scalar_type: Type = F32,
) -> Tensor:
    """Normal numbers, the same for the same (seed, key) on every device."""
    values = normals(stream(seed, key), _count(shape)) * deviation + mean
    return _placed(values, shape, device, scalar_type)


def _placed(values: np.ndarray[Any, Any], shape: Shape, device: Where, scalar_type: Type) -> Tensor:
    array = values.reshape(_shape(shape)).astype(ScalarType(scalar_type).dtype)
    return _make(Device(device).put(array))


def _shape(shape: Shape) -> tuple[int, ...]:
    given = shape if isinstance(shape, list | tuple) else (shape,)
    try:
        sizes = tuple(map(index, given))
    except TypeError:
        sizes = (-1,)
    if min(sizes, default=0) < 0:
        raise ShapeError(f"shape: {shape!r} is none\n  write sizes from 0 on: (2, 3)")
    return sizes


def _count(shape: Shape) -> int:
    return int(np.prod(_shape(shape), dtype=np.int64))
