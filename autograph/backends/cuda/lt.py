"""Products of matrices by cublasLt, as their operands lie in memory and as `precision` says."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from math import prod
from typing import Any

import numpy as np

from ..precision import current_precision
from . import stream
from .arrange import arranged
from .cublas import COMPUTE_F32, COMPUTE_F64, COMPUTE_TF32, TYPES, Product
from .launch import Kernel, divide_up

_SMALL = 2**22  # multiply-adds of an f32 product up to which our own kernel is as fast
_TURNED = 512  # sizes of a TF32 product from which copies of its operands pay
_LONG = 1024  # rows of x^T from which its copy does beside one of dy
_ALIGNED = 256  # bytes; the library counts on memory that begins between blocks of so many

_SPLIT = """#include "scalar.cuh"
// x = high + low to 16 bits of mantissa; what is not finite is high alone
template <class Spec>
__global__ void split(const float* __restrict__ x, bf16* __restrict__ high, bf16* __restrict__ low,
                      int64 size) {
    const int64 at = (int64(blockIdx.x) * blockDim.x + threadIdx.x) * 4;
    if (at >= size) return;
    const int left = int(min(int64(4), size - at));
    const auto values = load_part<4>(x + at, left);
    Pack<bf16, 4> above, below;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        above[i] = narrow<bf16>(values[i]);
        const float rest = values[i] - widen(above[i]);
        below[i] = narrow<bf16>(rest - rest == 0 ? rest : 0.0f);
    }
    store_part<4>(high + at, above, left);
    store_part<4>(low + at, below, left);
}
"""


def is_faster(m: int, k: int, n: int, dtype: np.dtype[Any]) -> bool:
    """Whether a product is for this library: large ones, and halves, which it multiplies in
    tensor cores unless few of them do not fill an access."""
    if dtype.itemsize == 2:
        return k > 32 or k % 8 == 0
    return m * k * n > _SMALL


def matmul(a: Any, b: Any, bias: Any = None, *, relu: bool = False) -> Any:
    """(..., M, K) @ (..., K, N) + bias of CuPy arrays; None where the library has no such product.

    float32 is multiplied as `precision` says.
    """
    import cupy

    a, b = (each if each.data.ptr % _ALIGNED == 0 else arranged(each) for each in (a, b))
    if bias is not None and bias.data.ptr % _ALIGNED:
        bias = arranged(bias)
    name = current_precision() if a.dtype == np.float32 else "strict"
    if name == "tf32":
        a, b = _turned(a, b)
    device = stream.current_device()
    epilogue = " ".join(["bias"] * (bias is not None) + ["relu"] * relu) or "none"
    lies = device, a.shape, a.strides, b.shape, b.strides, a.dtype, epilogue, name
    products, shape = _fitting(*lies)
    if not products:
        if relu or (a.flags.c_contiguous and b.flags.c_contiguous):
            return None
        return matmul(arranged(a), arranged(b), bias)
    y = cupy.empty(shape, a.dtype)
    pointer = 0 if bias is None else bias.data.ptr
    # row by row, y = a b is column by column the transposed: y' = b' a'
    if name == "high":
        high, low = zip(_halves(a), _halves(b), strict=True)
        for product, left, right in zip(products, (low[0], high[0], high[0]),
                                        (high[1], low[1], high[1]), strict=True):  # fmt: skip
            product(right.data.ptr, left.data.ptr, y.data.ptr, pointer)
    else:
        products[0](b.data.ptr, a.data.ptr, y.data.ptr, pointer)
    return y


def adding(y: Any, a: Any, b: Any, *, moves: bool = False) -> Callable[..., None] | None:
    """What adds a b to y (M, N) in place; with `moves` it is called with two floats on the device,
    and y becomes factors[0] * a b + factors[1] * y. None where the library has no such product in
    the `precision` of this thread."""
    name = current_precision() if a.dtype == np.float32 else "strict"
    if name == "high" or y.data.ptr % _ALIGNED:
        return None
    a, b = (each if each.data.ptr % _ALIGNED == 0 else arranged(each) for each in (a, b))
    if name == "tf32":
        a, b = _turned(a, b)
    lies = a.shape, a.strides, b.shape, b.strides, a.dtype, "none", name
    products, _ = _fitting(stream.current_device(), *lies, "moves" if moves else "adds")
    if not products:
        return None

    def add(factors: Any = None) -> None:  # it keeps copies of operands until it has run
        there = None if factors is None else factors.data.ptr
        products[0](b.data.ptr, a.data.ptr, y.data.ptr, factors=there)

    return add


def pays_to_turn(a: tuple[int, ...], b: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether copies of operands (M, K) and (K, N) pay that run along K, the axis of the sums."""
    if current_precision() != "tf32" or dtype != np.float32:
        return False
    return len(a) == len(b) == 2 and min(*a, *b) >= _TURNED


def _turned(a: Any, b: Any) -> tuple[Any, Any]:
    """The operands of a TF32 product, turned where that pays: along another axis than that of the
    sums, tensor cores take 16-bit floats alone.

    Of an x W that is W, which is too large for a copy to pay; of dy W^T nothing. Of x^T dy both
    are, or a long x, where dy is a view of what has been turned.
    """
    if not pays_to_turn(a.shape, b.shape, a.dtype) or a.strides[0] != 4 or 4 not in b.strides:
        return a, b
    if b.strides[0] != 4:
        return arranged(a), arranged(b.T).T
    return arranged(a) if a.shape[0] >= _LONG else a, b


def _halves(x: Any) -> tuple[Any, Any]:
    """Float32 as the sum of two bfloat16, which lie as it does (or contiguous)."""
    import cupy
    import ml_dtypes

    turned = x.ndim == 2 and not x.flags.c_contiguous and x.T.flags.c_contiguous
    whole = x.T if turned else x if x.flags.c_contiguous else arranged(x)
    high, low = (cupy.empty(whole.shape, ml_dtypes.bfloat16) for _ in range(2))
    size = np.int64(whole.size)
    _splitting()(divide_up(whole.size, 1024), whole, high, low, size)
    return (high.T, low.T) if turned else (high, low)


@cache
def _splitting() -> Kernel:
    return Kernel(_SPLIT, "split", {})


@cache
def _fitting(
    device: int,
    a_shape: tuple[int, ...],
    a_strides: tuple[int, ...],
    b_shape: tuple[int, ...],
    b_strides: tuple[int, ...],
    dtype: np.dtype[Any],
    epilogue: str,
    precision: str,
    into: str = "",
) -> tuple[tuple[Product, ...], tuple[int, ...]]:
    """The products for operands that lie like this, none where there are none; and the shape. They
    write, or go `into` what is there: one "adds", or "moves"."""
    lead = np.broadcast_shapes(a_shape[:-2], b_shape[:-2])
    m, k, n = a_shape[-2], a_shape[-1], b_shape[-1]
    shape = (*lead, m, n)
    if len(b_shape) == 2 and len(a_shape) > 2 and a_strides == _steps(a_shape, dtype.itemsize):
        m, lead = prod(a_shape[:-1]), ()  # rows of one large matrix
        a_shape, a_strides = (m, k), (k * dtype.itemsize, dtype.itemsize)
    left = _operand(a_shape, a_strides, dtype.itemsize, lead)
    right = _operand(b_shape, b_strides, dtype.itemsize, lead)
    fits = left is not None and right is not None and dtype.name in TYPES and m and n and k
    if not fits or (dtype.name == "float64" and epilogue != "none"):  # none takes doubles
        return (), shape
    products = _products(
        device, m, n, k, left, right, prod(lead), dtype.name, epilogue, precision, into
    )
    return (products if products[-1].algorithms else ()), shape


@cache
def _products(
    device: int,
    m: int,
    n: int,
    k: int,
    a: tuple[bool, int, int],
    b: tuple[bool, int, int],
    batch: int,
    scalar_type: str,
    epilogue: str,
    precision: str,
    into: str,
) -> tuple[Product, ...]:
    kind, compute = TYPES[scalar_type], COMPUTE_F32
    if scalar_type == "float64":
        compute = COMPUTE_F64
    elif precision == "tf32":
        compute = COMPUTE_TF32
    made = partial(Product, n, m, k, b, a, compute=compute, batch=batch)
    if precision != "high":
        keep = 1.0 if into == "adds" else 0.0
        return (made(scalar_type=kind, epilogue=epilogue, keep=keep, moves=into == "moves"),)
    halves = partial(made, scalar_type=TYPES["bfloat16"], result_type=kind)
    return halves(), halves(keep=1.0), halves(keep=1.0, epilogue=epilogue)  # the small ones first


def _steps(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """The strides of a contiguous array."""
    return tuple(prod(shape[i + 1 :]) * size for i in range(len(shape)))


def _operand(
    shape: tuple[int, ...], strides: tuple[int, ...], size: int, lead: tuple[int, ...]
) -> tuple[bool, int, int] | None:
    """(whether it is stored transposed, its leading stride, its batch stride), if it fits."""
    row, column = (step // size for step in strides[-2:])
    rows, columns = shape[-2:]
    if (column == 1 or columns == 1) and row >= columns:
        layout = False, row
    elif (row == 1 or rows == 1) and column >= rows:
        layout = True, column
    else:
        return None
    if prod(lead) == 1 or len(shape) == 2:
        return (*layout, 0)
    if shape[:-2] == lead and strides == _steps(shape, size):
        return (*layout, rows * columns)
    return None
