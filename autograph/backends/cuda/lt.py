"""cublasLt through ctypes: products of matrices on raw pointers, in a stream that may be recording.

The workspace is our own, so that a recording asks for no memory, and the algorithm is the
library's first answer, so that it is the same in every run.
"""

from __future__ import annotations

import ctypes
import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, c_float, c_int, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import KernelError, SettingsError
from . import stream

_SMALL = 2**22  # multiply-adds of an f32 product up to which our own kernel is as fast
WORKSPACE = 32 << 20  # bytes; what NVIDIA recommends for Hopper

# A scalar type of ours: CUDA's number for it
TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}

# cublasComputeType_t
_COMPUTE_F32, _COMPUTE_F64, _COMPUTE_TF32 = 68, 70, 77
# cublasLtMatmulDescAttributes_t
_TRANSPOSE_A, _TRANSPOSE_B, _EPILOGUE, _BIAS_POINTER, _BIAS_TYPE = 3, 4, 7, 8, 26
# cublasLtEpilogue_t
EPILOGUES = {"none": 1, "bias": 4, "relu": 2, "relu_bias": 6}
# cublasLtMatrixLayoutAttribute_t
_BATCH_COUNT, _BATCH_STRIDE = 5, 6
_PREFERENCE_WORKSPACE = 1  # cublasLtMatmulPreferenceAttributes_t

PRECISIONS = ("strict", "tf32")


class _Precision(threading.local):
    name = "strict"


_precision = _Precision()


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Within the block, in this thread, float32 products are computed like this.

    "strict" (the default) multiplies in float32, "tf32" in the tensor cores' 10-bit mantissas.
    """
    if name not in PRECISIONS:
        raise SettingsError(
            f"precision: there is no precision {name!r}\n  write one of  {', '.join(PRECISIONS)}"
        )
    before, _precision.name = _precision.name, name
    try:
        yield
    finally:
        _precision.name = before


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
    """One product, column by column as cublasLt sees it: d (m, n) = scale * op(a) op(b) + c.

    `a` and `b` are (transposed, leading stride, batch stride).
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
    ) -> None:
        from cupy.cuda.device import get_device_id

        self.handle, self.workspace = _handle(get_device_id())
        wide = compute == _COMPUTE_F64
        result_type = scalar_type if result_type is None else result_type
        self.descriptor = c_void_p()
        _call("cublasLtMatmulDescCreate", byref(self.descriptor), compute, 1 if wide else 0)
        self._describe(_TRANSPOSE_A, c_int32(a[0]))
        self._describe(_TRANSPOSE_B, c_int32(b[0]))
        self._describe(_EPILOGUE, c_int32(EPILOGUES[epilogue]))
        self.has_bias = "bias" in epilogue
        if self.has_bias:
            self._describe(_BIAS_TYPE, c_int32(scalar_type))
        self.a = _layout(scalar_type, *((k, m) if a[0] else (m, k)), a[1], batch, a[2])
        self.b = _layout(scalar_type, *((n, k) if b[0] else (k, n)), b[1], batch, b[2])
        self.d = _layout(result_type, m, n, m, batch, m * n)
        factor = ctypes.c_double if wide else c_float
        self._factors = factor(scale), factor(keep)
        self.scale, self.keep = (ctypes.addressof(each) for each in self._factors)
        self._choose(f"{m} x {n} x {k}")

    def _describe(self, attribute: int, value: Any) -> None:
        _call(
            "cublasLtMatmulDescSetAttribute", self.descriptor, attribute, byref(value),
            c_size_t(ctypes.sizeof(value)),
        )  # fmt: skip

    def _choose(self, sizes: str) -> None:
        preference, found, count = c_void_p(), _Heuristic(), c_int()
        _call("cublasLtMatmulPreferenceCreate", byref(preference))
        _call(
            "cublasLtMatmulPreferenceSetAttribute", preference, _PREFERENCE_WORKSPACE,
            byref(c_size_t(WORKSPACE)), c_size_t(8),
        )  # fmt: skip
        _call(
            "cublasLtMatmulAlgoGetHeuristic", self.handle, self.descriptor, self.a, self.b,
            self.d, self.d, preference, 1, byref(found), byref(count),
        )  # fmt: skip
        _call("cublasLtMatmulPreferenceDestroy", preference)
        if not count.value:
            raise KernelError(f"cublasLt: there is no algorithm for a product of {sizes}")
        self.found = found
        self.algorithm = ctypes.addressof(found)

    def __call__(self, a: int, b: int, d: int, bias: int = 0, c: int | None = None) -> None:
        """Launch on the current stream; arguments are pointers."""
        from cupy.cuda import get_current_stream

        if self.has_bias:
            self._describe(_BIAS_POINTER, c_uint64(bias))
        status = _library().cublasLtMatmul(
            self.handle, self.descriptor, self.scale, a, self.a, b, self.b, self.keep,
            d if c is None else c, self.d, d, self.d, self.algorithm, self.workspace.ptr,
            WORKSPACE, get_current_stream().ptr,
        )  # fmt: skip
        if status:
            raise KernelError(f"cublasLt: cublasLtMatmul: status {status}")


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
    tensor cores."""
    return dtype.itemsize == 2 or m * k * n > _SMALL


def matmul(a: Any, b: Any, bias: Any = None) -> Any:
    """(..., M, K) @ (..., K, N) + bias of CuPy arrays; None where it does not fit: strides, or
    memory that begins between blocks of 256 bytes, which the library counts on."""
    import cupy

    pointer = 0 if bias is None else bias.data.ptr
    if (a.data.ptr | b.data.ptr | pointer) % 256:
        return None
    product, shape = _fitting(
        stream.current_device(), a.shape, a.strides, b.shape, b.strides, a.dtype, bias is not None,
        _precision.name,
    )  # fmt: skip
    if product is None:
        return None
    y = cupy.empty(shape, a.dtype)
    # row by row, y = a b is column by column the transposed: y' = b' a'
    product(b.data.ptr, a.data.ptr, y.data.ptr, pointer)
    return y


@cache
def _fitting(
    device: int,
    a_shape: tuple[int, ...],
    a_strides: tuple[int, ...],
    b_shape: tuple[int, ...],
    b_strides: tuple[int, ...],
    dtype: np.dtype[Any],
    has_bias: bool,
    precision: str,
) -> tuple[Product | None, tuple[int, ...]]:
    """The product for operands that lie like this, None where there is none; and its shape."""
    lead = np.broadcast_shapes(a_shape[:-2], b_shape[:-2])
    left = _operand(a_shape, a_strides, dtype.itemsize, lead)
    right = _operand(b_shape, b_strides, dtype.itemsize, lead)
    m, k, n = a_shape[-2], a_shape[-1], b_shape[-1]
    shape = (*lead, m, n)
    fits = left is not None and right is not None and dtype.name in TYPES and m and n and k
    if not fits or (dtype.name == "float64" and has_bias):  # no epilogue takes doubles
        return None, shape
    product = _product(
        device, m, n, k, left, right, prod(lead), dtype.name, has_bias, precision
    )
    return product, shape


@cache
def _product(
    device: int,
    m: int,
    n: int,
    k: int,
    a: tuple[bool, int, int],
    b: tuple[bool, int, int],
    batch: int,
    scalar_type: str,
    has_bias: bool,
    precision: str,
) -> Product:
    compute = _COMPUTE_F64 if scalar_type == "float64" else _COMPUTE_F32
    if scalar_type == "float32" and precision == "tf32":
        compute = _COMPUTE_TF32
    return Product(
        n, m, k, b, a, scalar_type=TYPES[scalar_type], compute=compute, batch=batch,
        epilogue="bias" if has_bias else "none",
    )  # fmt: skip


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
    steps = [prod(shape[i + 1 :]) * size for i in range(len(shape))]
    if shape[:-2] == lead and list(strides) == steps:
        return (*layout, rows * columns)
    return None
