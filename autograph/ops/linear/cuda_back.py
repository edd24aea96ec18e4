"""The gradients of dense layers on a CUDA device in one launch, where that is faster than products
of a library with launches around them."""

from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from ...backends import CUDA
from ...backends.cuda import lt
from ...backends.cuda.columns import COLUMN_THREADS, adding_threads, column_blocks, has_whole_tiles
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import NULL, Kernel, aligned, divide_up, number
from ...backends.cuda.tile import is_thin, tile_of
from ...later import Later, may_wait
from ..elementwise import relu
from ..matmul import matmul
from ..reduce.cuda_kernels import reduce_cuda
from ..shape import permute_dims
from . import linear_back, linear_dweight
from .cuda_kernels import product_cuda
from .cuda_relu import SUMS, sum_constants
from .gelu import gelu_tanh_dx, linear_gelu_tanh_back
from .relu import linear_relu_back, linear_relu_dweight

_SOURCE = Path(__file__).with_name("back.cu")
_AHEAD = 4  # tiles that a block has in shared memory where it turns them
masked: Any = relu.gradient_of("x")[0]  # of dy and y


def _is_faster(x, outputs, relu):
    """Whether one launch is: it sums the rows in one block, and multiplies without tensor cores."""
    rows, work = prod(x.shape[:-1]), x.size * outputs
    if x.scalar_type.is_half:
        return rows <= 128 and 0 < work <= (2**24 if relu else 2**22)
    return x.scalar_type.is_float and rows <= 512 and 0 < work <= 2**24


def _takes_relu(dy, y, x, weight):
    return _is_faster(x, weight.shape[1], True)


@linear_back.kernel(CUDA, when=lambda dy, x, w: _is_faster(x, w.shape[1], False), made=True)
def linear_back_cuda(inputs, outputs):
    run = _made(inputs[1], inputs[2], outputs, False)
    return lambda dy, x, weight: run(dy, NULL, x, weight)


@linear_dweight.kernel(CUDA, when=lambda dy, x: _is_faster(x, dy.shape[-1], False), made=True)
def linear_dweight_cuda(inputs, outputs):
    run = _made(inputs[1], None, outputs, False)
    return lambda dy, x: run(dy, NULL, x, NULL)


@linear_relu_back.kernel(CUDA, when=_takes_relu, made=True)
def linear_relu_back_cuda(inputs, outputs):
    return _made(inputs[2], inputs[3], outputs, True)


@linear_relu_dweight.kernel(CUDA, when=_takes_relu, made=True)
def linear_relu_dweight_cuda(inputs, outputs):
    return _made(inputs[2], None, outputs, True)


# -- large ones: products of a library, and one launch for relu and dbias ---------------------


def _is_large(x, outputs):
    return (
        x.scalar_type.is_float
        and x.size * outputs > 0
        and lt.is_faster(prod(x.shape[:-1]), x.shape[-1], outputs, x.scalar_type.dtype)
    )


def _matrix(x):
    return x.reshape(-1, x.shape[-1])


@linear_dweight.kernel(CUDA, when=lambda dy, x: _is_large(x, dy.shape[-1]))
def linear_dweight_large(dy, x):
    return _gradients(dy, None, x)


@linear_back.kernel(CUDA, when=lambda dy, x, weight: _is_large(x, weight.shape[1]))
def linear_back_large(dy, x, weight):
    return _gradients(dy, None, x, weight)


@linear_relu_dweight.kernel(CUDA, when=lambda dy, y, x, weight: _is_large(x, weight.shape[1]))
def linear_relu_dweight_large(dy, y, x, weight):
    return _gradients(dy, y, x)


@linear_relu_back.kernel(CUDA, when=lambda dy, y, x, weight: _is_large(x, weight.shape[1]))
def linear_relu_back_large(dy, y, x, weight):
    return _gradients(dy, y, x, weight)


@linear_gelu_tanh_back.kernel(CUDA, when=lambda dy, before, x, w: _is_large(x, w.shape[1]))
def linear_gelu_tanh_back_large(dy, before, x, weight):
    return _gradients(dy, before, x, weight, "gelu")


def _gradients(dy, seen, x, weight=None, behind="relu"):
    """dx, where the weight is given, dweight and dbias; `seen` and `behind` as of `column_sums`."""
    rows, dy, has_dx, changes = _matrix(x), _matrix(dy), weight is not None, seen is not None
    seen = _matrix(seen) if changes else None
    fits = lt.pays_to_turn(rows.shape[::-1], dy.shape, dy.dtype)
    if fits and has_whole_tiles(dy.shape, dy.dtype):
        dy, dbias, turned = turned_sums(dy, seen, behind, has_dx=has_dx)
    else:
        dy, dbias = column_sums(dy, seen, behind)
        turned = dy
    dx = (product_cuda(dy, weight.T).reshape(x.shape),) if has_dx else ()
    return *dx, _dweight(rows, turned, new=changes or turned is not dy), dbias


def _dweight(x, dy, *, new):
    """The gradient of the weight; it may wait where dy is new, and nobody else's."""
    if new and may_wait(x, dy):
        return Later(lambda x, dy: matmul(permute_dims(x), dy), x, dy)
    return product_cuda(x.T, dy)


def column_sums(dy, seen=None, behind="relu"):
    """dy (N, O) and the sums of its columns; with what a relu has answered, or a gelu was given, of
    the gradient before that."""
    from cupy import empty

    pack, (rows, width), changes = 16 // dy.dtype.itemsize, dy.shape, seen is not None
    if width % pack:
        if changes:
            dy = (masked if behind == "relu" else gelu_tanh_dx)(dy, seen)
        return dy, reduce_cuda(dy, "Sum", (0,))
    share, total, blocks, place, sizes = _summing(dy.dtype, rows, width, changes and behind)
    dy, dbias, partial = aligned(dy), empty(width, dy.dtype), empty(*place)
    dx = empty(dy.shape, dy.dtype) if changes else dy
    share(blocks, dy, aligned(seen) if changes else NULL, dx, partial, *sizes)
    total(divide_up(width, 32), partial, dbias, number(blocks[0]), sizes[1])
    return dx, dbias


def turned_sums(dy, seen=None, behind="relu", *, has_dx=True):
    """`column_sums` of whole tiles, and dx once more, of which the copy (O, N) that lies turned is
    contiguous: an operand of x^T dx as TF32 is multiplied fastest. Without has_dx that is all."""
    from cupy import empty

    (rows, width), changes = dy.shape, seen is not None
    extra = {"has_dx": has_dx, "ahead": _AHEAD}
    launches = _summing(dy.dtype, rows, width, changes and behind, *extra.items())
    share, total, blocks, place, sizes = launches
    dy, dbias, partial = aligned(dy), empty(width, dy.dtype), empty(*place)
    dx = dy if not changes else empty(dy.shape, dy.dtype) if has_dx else NULL
    turned = empty((width, rows), dy.dtype)
    share(blocks, dy, aligned(seen) if changes else NULL, dx, turned, partial, *sizes)
    total(divide_up(width, 32), partial, dbias, number(blocks[0]), sizes[1])
    return dx, dbias, turned.T


@cache
def _summing(dtype, rows, width, behind, *turned):
    """The launches; `turned` are the constants of the kernel that turns, if that is it."""
    blocks, partial, pack = column_blocks(rows, width, dtype)
    adders = adding_threads(blocks[0])
    constants = {**sum_constants(dtype, behind), "adders": adders}
    name = "column_shares_turned" if turned else "column_shares"
    share = Kernel(SUMS, name, {**constants, **dict(turned)}, threads=COLUMN_THREADS)
    total = Kernel(SUMS, "column_sums", constants, threads=adders)
    return share, total, blocks, partial, (number(rows), number(width))


def _made(x, weight, outputs, has_relu):
    """The launch for dy, y, x and weight; without the outline of weight, that without dx."""
    from cupy import empty

    has_dx, shape, dtype = weight is not None, outputs[-2].shape, x.scalar_type.dtype
    n, (i, o) = prod(x.shape[:-1]), shape
    dx_rows, dx_columns = tile_of(n, i)
    rows, columns = tile_of(i + 1, o)
    dx_blocks = divide_up(n, 8 * dx_rows) * divide_up(i, 32 * dx_columns) if has_dx else 0
    blocks = (dx_blocks + divide_up(i + 1, 8 * rows) * divide_up(o, 32 * columns),)
    kernel = Kernel(_SOURCE, "linear_back", {
        "Scalar": c_type(dtype), "has_dx": has_dx, "has_relu": has_relu, "dx_rows": dx_rows,
        "dx_columns": dx_columns, "dx_thin": is_thin(o, dtype.itemsize),
        "rows": rows, "columns": columns, "thin": is_thin(n, dtype.itemsize),
    })  # fmt: skip
    x_shape, width = x.shape, shape[1:]
    sizes = [number(each) for each in (n, i, o, dx_blocks)]

    def run(dy, y, x, weight):
        dx = empty(x_shape, dtype) if has_dx else NULL
        dweight, dbias = empty(shape, dtype), empty(width, dtype)
        kernel(blocks, dy, y, x, weight, dx, dweight, dbias, *sizes)
        return (dx, dweight, dbias) if has_dx else (dweight, dbias)

    return run
