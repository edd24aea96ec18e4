"""A step of SGD on a CUDA device as one product of cublasLt, which adds to the weight in place."""

from functools import cache
from pathlib import Path

import numpy as np
from cupy import empty

from ...backends import CUDA
from ...backends.cuda import lt
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import Kernel, aligned, divide_up
from ...scalar_type import BF16, F64, I64
from .product import sgd_product_update, sgd_product_update_arrays

_SOURCE = Path(__file__).with_name("update.cu")


def _takes(w, x, dy, step, rate, **settings):
    kinds = {each.scalar_type for each in (w, x, dy)}
    return (
        len(kinds) == 1
        and w.scalar_type.is_float
        and w.scalar_type is not F64
        and w.is_contiguous
        and step.scalar_type is I64
        and rate.scalar_type is F64
        and w.size * x.size > 0
        and lt.is_faster(w.shape[0], x.shape[0], w.shape[1], w.scalar_type.dtype)
    )


@sgd_product_update.kernel(CUDA, when=_takes, strided=True, halves=True, made=True)
def sgd_product_update_cuda(inputs, outputs, *, maximize):
    scales = inputs[0].scalar_type is BF16  # an f16 may be lost in rate * x

    def run(w, x, dy, step, rate):
        if scales and x.flags.c_contiguous and dy.flags.c_contiguous:
            # the library adds halves faster where it need not look its factors up
            scaled, scale = scaling(x if x.size <= dy.size else dy, maximize)
            add = lt.adding(w, *((scaled.T, dy) if x.size <= dy.size else (x.T, scaled)))
            if add is not None:
                scale(rate, step)
                add()
                return
        add = lt.adding(w, x.T, dy, moves=True)
        if add is not None:
            add(factors(rate, step, maximize))
            return
        sgd_product_update_arrays(w, x, dy, step, rate, maximize=maximize)

    return run


def scaling(x, maximize):
    """Room for rate * x, downhill, and what computes it and counts the step."""
    scaled, dtype = empty(x.shape, x.dtype), x.dtype
    pack = 16 // dtype.itemsize if x.size % (16 // dtype.itemsize) == 0 else 1
    kernel = _kernel("sgd_scaled", Scalar=c_type(dtype), pack=pack, maximizes=maximize)
    blocks, size = divide_up(x.size, 256 * pack), np.int64(x.size)
    return scaled, lambda rate, step: kernel(blocks, aligned(x), rate, step, scaled, size)


def factors(rate, step, maximize):
    """Of a product and of the weight that it is added to; the step is counted."""
    found = empty(2, np.float32)
    _kernel("sgd_factors", maximizes=maximize)((1,), rate, step, found)
    return found


@cache
def _kernel(name, **constants):
    return Kernel(_SOURCE, name, constants, threads=256 if "pack" in constants else 1)
