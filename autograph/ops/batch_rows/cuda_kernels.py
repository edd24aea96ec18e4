"""Rows by index on a CUDA device: batches of a data set that lives there."""

from functools import cache
from math import prod
from pathlib import Path

import cupy
import numpy as np

from ...backends import CUDA
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import Kernel, divide_up
from ...backends.cuda.words import words
from ...scalar_type import ScalarType
from . import gather_rows

_SOURCE = Path(__file__).with_name("gather.cu")


def _takes(x, indices, *, scalar_type, scale):
    wanted = x.scalar_type if scalar_type is None else ScalarType(scalar_type)
    return indices.scalar_type.kind in ("signed", "unsigned") and (scale is None or wanted.is_float)


@gather_rows.kernel(CUDA, when=_takes)
def gather_rows_cuda(x, indices, *, scalar_type, scale):
    dtype = None if scalar_type is None else ScalarType(scalar_type).dtype
    return gather_cuda(x, indices, dtype=dtype, scale=scale)


def gather_cuda(x, index, *, dtype=None, scale=None, shift=0.0):
    """x[index] along the first axis, times `scale` plus `shift`, as `dtype`.

    With a scale `dtype` is a float; without, values are only converted.
    """
    dtype = x.dtype if dtype is None else np.dtype(dtype)
    row_size = prod(x.shape[1:])
    kernel, blocks, sizes = _gather(
        len(x), index.size, row_size, x.dtype, dtype, index.dtype, scale is not None,
        x.data.ptr % 16 == 0,
    )  # fmt: skip
    y = cupy.empty((*index.shape, *x.shape[1:]), dtype)
    kernel(blocks, x, index, y, words().fault, *sizes, float(scale or 0.0), float(shift))
    return y


@cache
def _gather(rows, wanted, row_size, source, dtype, index, scales, aligned):
    pack = 16 // max(source.itemsize, dtype.itemsize)
    while pack > 1 and (row_size % pack or not aligned):
        pack //= 2
    kernel = Kernel(_SOURCE, "gather", {
        "Source": c_type(source), "Scalar": c_type(dtype), "Index": c_type(index),
        "pack": pack, "scales": scales,
    })  # fmt: skip
    blocks = (divide_up(row_size, 256 * pack), max(1, min(wanted, 65535)))
    return kernel, blocks, (np.int64(rows), np.int64(wanted), np.int64(row_size))
