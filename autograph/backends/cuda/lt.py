"""cublasLt through ctypes: products of matrices on raw pointers, in a stream that may be recording.

The workspace is our own, so that a recording asks for no memory, and the algorithm is the
library's first answer (but see `tuning`), so that it is the same in every run. Some of its relus
hide NaN, which is tried out before one is used.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from ctypes import byref, c_float, c_int, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from functools import cache, partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import KernelError
from ..precision import current_precision
from . import stream
from .arrange import arranged
from .launch import Kernel, divide_up
from .tuning import fastest, tunes

_SMALL = 2**22  # multiply-adds of an f32 product up to which our own kernel is as fast
WORKSPACE = 32 << 20  # bytes; what NVIDIA recommends for Hopper
_TRIED = 8  # algorithms, where they are tried out
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

# A scalar type of ours: CUDA's number for it
TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}

# cublasComputeType_t
_COMPUTE_F32, _COMPUTE_F64, _COMPUTE_TF32 = 68, 70, 77
# cublasLtMatmulDescAttributes_t
_POINTER_MODE, _TRANSPOSE_A, _TRANSPOSE_B = 2, 3, 4
_EPILOGUE, _BIAS_POINTER, _BIAS_TYPE = 7, 8, 26
_ON_DEVICE = 1  # cublasLtPointerMode_t
_EPILOGUES = {"none": 1, "relu": 2, "bias": 4, "bias relu": 6}  # cublasLtEpilogue_t
# cublasLtMatrixLayoutAttribute_t
_BATCH_COUNT, _BATCH_STRIDE = 5, 6
_PREFERENCE_WORKSPACE = 1  # cublasLtMatmulPreferenceAttributes_t


class _Heuristic(ctypes.Structure):
    _fields_ = [
        ("algorithm", c_uint64 * 8),
        ("workspace", c_size_t),
        ("state", c_int),
        ("waves", c_float),
        ("reserved", c_int * 4),
    ]


@cache
def _library() -> ctypes.CDLL:
    names = ["libcublasLt.so.13", "libcublasLt.so.12"]
    nvidia = importlib.util.find_spec("nvidia")
    for folder in (nvidia.submodule_search_locations or []) if nvidia else []:
        names = [*map(str, Path(folder).rglob("libcublasLt.so.1*")), *names]
    for name in (*names, "/usr/local/cuda/lib64/libcublasLt.so"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.cublasLtGetVersion.restype = c_size_t
        library.cublasLtMatmul.argtypes = [c_void_p] * 14 + [c_size_t, c_void_p]
        return library
    raise KernelError(
        "cublasLt: the library cannot be found\n"
        "  for CUDA 13  pip install nvidia-cublas\n  for CUDA 12  pip install nvidia-cublas-cu12"
    )


def _call(name: str, *arguments: Any) -> None:
    status = getattr(_library(), name)(*arguments)
    if status:
        raise KernelError(f"cublasLt: {name}: status {status}")


@cache
def _handle(device: int) -> tuple[c_void_p, Any]:
    """The handle of the current device, and its workspace."""
    import cupy

    handle = c_void_p()
    _call("cublasLtCreate", byref(handle))
    return handle, cupy.cuda.Memory(WORKSPACE)  # its own allocation: never back to a pool


class Product:
    """One product, column by column as cublasLt sees it: d (m, n) = scale * op(a) op(b) + keep * c.

    `a` and `b` are (transposed, leading stride, batch stride). With `moves` both factors are read
    on the device, where a launch is told.
    """

    def __init__(
        self,
        m: int,
        n: int,
        k: int,
        a: tuple[bool, int, int],
        b: tuple[bool, int, int],
        *,
        scalar_type: int,
        compute: int,
        result_type: int | None = None,
        batch: int = 1,
        epilogue: str = "none",
        scale: float = 1.0,
        keep: float = 0.0,
        moves: bool = False,
    ) -> None:
        from cupy.cuda.device import get_device_id

        self.handle, self.workspace = _handle(get_device_id())
        wide = compute == _COMPUTE_F64
        result_type = scalar_type if result_type is None else result_type
        self.descriptor = c_void_p()
        _call("cublasLtMatmulDescCreate", byref(self.descriptor), compute, 1 if wide else 0)
        self._describe(_TRANSPOSE_A, c_int32(a[0]))
        self._describe(_TRANSPOSE_B, c_int32(b[0]))
        self._describe(_EPILOGUE, c_int32(_EPILOGUES[epilogue]))
        self.has_bias = "bias" in epilogue
        if self.has_bias:
            self._describe(_BIAS_TYPE, c_int32(result_type))
        self.a = _layout(scalar_type, *((k, m) if a[0] else (m, k)), a[1], batch, a[2])
        self.b = _layout(scalar_type, *((n, k) if b[0] else (k, n)), b[1], batch, b[2])
        self.d = _layout(result_type, m, n, m, batch, m * n)
        factor = ctypes.c_double if wide else c_float
        self._factors = factor(scale), factor(keep)
        self.scale, self.keep = (ctypes.addressof(each) for each in self._factors)
        self.key = f"{m} {n} {k} {a} {b} {scalar_type} {compute} {result_type} {batch} {epilogue}"
        self.adds = moves or keep != 0
        if moves:
            self._describe(_POINTER_MODE, c_int32(_ON_DEVICE))
        if self.adds:
            self.key += " moves" if moves else f" keep {keep}"
        self.nbytes = m * n * batch * _dtype(result_type).itemsize  # of d
        self._choose(f"{m} x {n} x {k}")
        if "relu" in epilogue:
            given, found = (_dtype(each) for each in (scalar_type, result_type))
            a_size = a[1] * (m if a[0] else k) + a[2] * (batch - 1)
            b_size = b[1] * (k if b[0] else n) + b[2] * (batch - 1)
            self._keep_honest(a_size, b_size, batch * m * n, m, given, found)

    def _describe(self, attribute: int, value: Any) -> None:
        _call(
            "cublasLtMatmulDescSetAttribute", self.descriptor, attribute, byref(value),
            c_size_t(ctypes.sizeof(value)),
        )  # fmt: skip

    def _choose(self, sizes: str) -> None:
        wanted = _TRIED if tunes() else 1
        preference, found, count = c_void_p(), (_Heuristic * wanted)(), c_int()
        _call("cublasLtMatmulPreferenceCreate", byref(preference))
        _call(
            "cublasLtMatmulPreferenceSetAttribute", preference, _PREFERENCE_WORKSPACE,
            byref(c_size_t(WORKSPACE)), c_size_t(8),
        )  # fmt: skip
        _call(
            "cublasLtMatmulAlgoGetHeuristic", self.handle, self.descriptor, self.a, self.b,
            self.d, self.d, preference, wanted, byref(found), byref(count),
        )  # fmt: skip
        _call("cublasLtMatmulPreferenceDestroy", preference)
        if not count.value:
            raise KernelError(f"cublasLt: there is no algorithm for a product of {sizes}")
        self.found = found
        self.algorithms = [ctypes.addressof(found[i]) for i in range(count.value)]
        self.rooms = {ctypes.addressof(each): each.workspace for each in found}

    def _keep_honest(
        self, a_size: int, b_size: int, size: int, width: int, given: np.dtype[Any],
        found: np.dtype[Any],
    ) -> None:  # fmt: skip
        """Keep the algorithms whose relu lets NaN through; none where the first does not."""
        import cupy

        a, b = cupy.empty(a_size, given), cupy.empty(b_size, given)
        d, bias = cupy.empty(size, found), cupy.empty(width, found)
        here, honest = stream.current_stream(), []
        for each, bits in ((a, 0), (b, 0xFF), (bias, 0)):  # all ones is NaN in every type
            each.data.memset_async(bits, each.nbytes, here)
        if self.has_bias:
            self._describe(_BIAS_POINTER, c_uint64(bias.data.ptr))
        for algorithm in self.algorithms:
            d.data.memset_async(0, d.nbytes, here)
            self._run(a.data.ptr, b.data.ptr, d.data.ptr, None, algorithm)
            if np.isnan(d[-1:].get()).all():
                honest.append(algorithm)
            elif not honest:
                break
        self.algorithms = honest

    def __call__(
        self, a: int, b: int, d: int, bias: int = 0, c: int | None = None,
        factors: int | None = None,
    ) -> None:  # fmt: skip
        """Launch on the current stream; arguments are pointers, `factors` that of scale and keep
        where it moves."""
        if self.has_bias:
            self._describe(_BIAS_POINTER, c_uint64(bias))
        if len(self.algorithms) > 1:
            import cupy

            place = cupy.empty(self.nbytes, np.uint8) if self.adds else None
            there = d if place is None else place.data.ptr  # what is tried adds to nothing
            tried = [partial(self._run, a, b, there, c, each, factors) for each in self.algorithms]
            at = fastest(f"cublasLt {_version()} {self.key}", stream.current_device(), tried)
            self.algorithms = self.algorithms[at : at + 1]
        self._run(a, b, d, c, self.algorithms[0], factors)

    def _run(
        self, a: int, b: int, d: int, c: int | None, algorithm: int, factors: int | None = None
    ) -> None:
        size = self.rooms[algorithm]
        place = stream.counter(stream.current_device(), size)
        if place is None:
            place, size = self.workspace.ptr, WORKSPACE
        scale, keep = (self.scale, self.keep) if factors is None else (factors, factors + 4)
        status = _library().cublasLtMatmul(
            self.handle, self.descriptor, scale, a, self.a, b, self.b, keep,
            d if c is None else c, self.d, d, self.d, algorithm, place, size,
            stream.current_stream().ptr,
        )  # fmt: skip
        if status:
            raise KernelError(f"cublasLt: cublasLtMatmul: status {status}")


def _dtype(kind: int) -> np.dtype[Any]:
    """The type that CUDA has this number for."""
    return next(np.dtype(name) for name, number in TYPES.items() if number == kind)


@cache
def _version() -> int:
    return int(_library().cublasLtGetVersion())


def _layout(kind: int, rows: int, columns: int, leading: int, batch: int, step: int) -> c_void_p:
    layout = c_void_p()
    _call(
        "cublasLtMatrixLayoutCreate", byref(layout), kind, c_uint64(rows), c_uint64(columns),
        c_int64(leading),
    )  # fmt: skip
    if batch > 1:
        for attribute, value in ((_BATCH_COUNT, c_int32(batch)), (_BATCH_STRIDE, c_int64(step))):
            _call(
                "cublasLtMatrixLayoutSetAttribute", layout, attribute, byref(value),
                c_size_t(ctypes.sizeof(value)),
            )  # fmt: skip
    return layout


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
    kind, compute = TYPES[scalar_type], _COMPUTE_F32
    if scalar_type == "float64":
        compute = _COMPUTE_F64
    elif precision == "tf32":
        compute = _COMPUTE_TF32
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
