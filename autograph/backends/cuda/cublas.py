"""One product of matrices by cublasLt through ctypes, on raw pointers, in a stream that may be
recording.

The workspace is our own, so that a recording asks for no memory, and the algorithm is the
library's first answer (but see `tuning`), so that it is the same in every run. Some of its relus
hide NaN, which is tried out before one is used.
"""

from __future__ import annotations

import ctypes
import importlib.util
from ctypes import byref, c_float, c_int, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import KernelError
from . import stream
from .tuning import fastest, tunes

WORKSPACE = 32 << 20  # bytes; what NVIDIA recommends for Hopper
_TRIED = 8  # algorithms, where they are tried out

# A scalar type of ours: CUDA's number for it
TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}

# cublasComputeType_t
COMPUTE_F32, COMPUTE_F64, COMPUTE_TF32 = 68, 70, 77
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
        wide = compute == COMPUTE_F64
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
