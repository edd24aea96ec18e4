"""Dense layers with few outputs on a CUDA device: one launch forward, two back, the same bits every
run. Those of bf16 run on tensor cores."""

from math import prod
from pathlib import Path

from ...backends import CUDA
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import NULL, Kernel, aligned, divide_up, number
from ...scalar_type import BF16
from . import linear, linear_back, linear_dweight

_SOURCE, _BF16 = (Path(__file__).with_name(f"{name}.cu") for name in ("few", "few_bf16"))
_FEW = 16  # outputs; half of them in f64
_WORTH = 2**16  # numbers of x from which this is faster
_BLOCKS = 256  # on the way back, about: with the shapes it orders the sums
_SHARES = 64  # of the rows on the way back, at most


def _takes(x, outputs):
    size, inputs = x.scalar_type.dtype.itemsize, x.shape[-1] if x.ndim else 0
    fits = x.scalar_type.is_float and inputs * size % 32 == 0
    return fits and 0 < outputs <= _FEW * 4 // max(size, 4) and x.size >= _WORTH


def _takes_forward(x, weight, bias):
    return _takes(x, weight.shape[1]) and x.is_contiguous and weight.is_contiguous


@linear.kernel(CUDA, when=_takes_forward, made=True)
def linear_few_cuda(inputs, outputs):
    from cupy import empty

    x, _, bias = inputs
    shape, dtype, (n, i) = outputs[0].shape, x.scalar_type.dtype, _rows(x)
    source, constants = _constants(x, shape[-1], has_bias=bias is not None)
    rows, launch = 4, {}
    if source is _BF16:
        rows, ahead = 8, 1
        most = 8 if shape[-1] <= 10 else 4  # 80 KiB of shared memory, which all devices have
        while ahead < most and ahead * 512 < i:  # inputs of a block at once
            ahead *= 2
        constants["ahead"] = ahead
        launch = {"threads": 512, "shared": 1024 * ahead * shape[-1]}
    kernel = Kernel(source, "linear_few", constants, **launch)
    blocks, sizes = divide_up(n, rows), _sizes(n, i)

    def run(x, weight, bias):
        y = empty(shape, dtype)
        bias = NULL if bias is None else bias
        kernel(blocks, aligned(x), aligned(weight), bias, y, *sizes)
        return y

    return run


@linear_back.kernel(CUDA, when=lambda dy, x, weight: _takes(x, weight.shape[1]), made=True)
def linear_few_back_cuda(inputs, outputs):
    return _back(inputs[1], outputs[1].shape[1], True)


@linear_dweight.kernel(CUDA, when=lambda dy, x: _takes(x, dy.shape[-1]), made=True)
def linear_few_dweight_cuda(inputs, outputs):
    run = _back(inputs[1], outputs[0].shape[1], False)
    return lambda dy, x: run(dy, x, x)[1:]  # the weight is not used


def _back(x, o, has_dx):
    from cupy import empty

    (n, i), shape, dtype = _rows(x), x.shape, x.scalar_type.dtype
    source, constants = _constants(x, o, has_dx=has_dx)
    pack = 2 if dtype.itemsize == 8 else 4
    deep, width, threads = (16, 64, 128) if source is _BF16 else (8, 32 * pack, 256)
    pieces = divide_up(i, width)
    shares = min(divide_up(_BLOCKS, pieces), divide_up(n, 4 * deep), _SHARES)
    rows = divide_up(divide_up(n, shares), deep) * deep
    shares, wide = divide_up(n, rows), x.scalar_type.accumulator.dtype
    back = Kernel(source, "linear_few_back", {**constants, "pack": pack}, threads=threads)
    total = Kernel(_SOURCE, "linear_few_sums", {"Scalar": constants["Scalar"]})
    blocks, adding = (pieces, shares), divide_up((i + 1) * o, 256)
    sizes, rest = _sizes(n, i, rows), _sizes(shares, (i + 1) * o, i * o)

    def run(dy, x, weight):
        dx = empty(shape, dtype) if has_dx else NULL
        partial = empty((shares, i + 1, o), wide)
        dweight, dbias = empty((i, o), dtype), empty(o, dtype)
        back(blocks, aligned(dy), aligned(x), aligned(weight), dx, partial, *sizes)
        total(adding, partial, dweight, dbias, *rest)
        return dx, dweight, dbias

    return run


def _rows(x):
    return prod(x.shape[:-1]), x.shape[-1]


def _sizes(*sizes):
    return [number(each) for each in sizes]


def _constants(x, o, **flags):
    """The source of kernels, and what they are made with."""
    given = {"has_bias": False, "has_dx": False, **flags}
    dtype = x.scalar_type.dtype
    return _BF16 if x.scalar_type is BF16 else _SOURCE, {"Scalar": c_type(dtype), "O": o, **given}
