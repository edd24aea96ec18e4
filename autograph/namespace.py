"""The array API standard for tensors: its functions, constants and scalar types by its names.

`x.__array_namespace__()` is this module, so that code which is written for the standard takes
tensors. Scalar types are NumPy's dtypes; there are no complex numbers, hence no `fft`. What comes
out is recorded like everything else. See https://data-apis.org/array-api/2024.12.

A function of the standard is a line of the table: its signature there, and what it is of the ops
unless that is the op of its name.
"""

from __future__ import annotations

import builtins
from collections import namedtuple
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import ops
from .device import HOST, Device
from .errors import ScalarTypeError, SettingsError, ShapeError
from .scalar_type import F32, I64, ScalarType, promote_operands
from .tensor import Tensor
from .tensor import creation as _creation
from .tensor import from_dlpack as from_dlpack

VERSIONS = ("2022.12", "2023.12", "2024.12")
__array_api_version__ = VERSIONS[-1]

e, inf, nan, pi, newaxis = np.e, np.inf, np.nan, np.pi, None

# The standard calls these types; `bool` is one of them here, and `builtins.bool` Python's.
bool = np.dtype(np.bool_)
int8, int16, int32, int64 = (np.dtype(f"int{bits}") for bits in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64))
float32, float64 = np.dtype(np.float32), np.dtype(np.float64)

Where = Device | str | None

_TABLE = """
    abs acos acosh asin asinh atan atanh bitwise_invert ceil cos cosh exp expm1 floor isfinite\
 isinf isnan log log10 log1p log2 logical_not negative nonzero reciprocal round sign sin sinh sqrt\
 square tan tanh trunc(x, /)
    add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor copysign\
 divide equal floor_divide greater greater_equal hypot less less_equal logaddexp logical_and\
 logical_or logical_xor matmul maximum minimum multiply nextafter not_equal remainder\
 subtract(x1, x2, /)
    clip(x, /, min=None, max=None): ops.clip(x, min, max)
    positive(x, /): x.copy()
    pow(x1, x2, /): ops.power(x1, x2)
    where(condition, x1, x2, /)

    all any argmax argmin count_nonzero max mean min(x, /, *, axis=None, keepdims=False)
    prod(x, /, *, axis=None, dtype=None, keepdims=False):\
 _typed(ops.prod, x, dtype, axis=axis, keepdims=keepdims)
    sum(x, /, *, axis=None, dtype=None, keepdims=False):\
 _typed(ops.sum, x, dtype, axis=axis, keepdims=keepdims)
    std var(x, /, *, axis=None, correction=0.0, keepdims=False)
    cumulative_prod(x, /, *, axis=None, dtype=None, include_initial=False):\
 _cumulative(ops.cumprod, x, axis, dtype, include_initial, 1)
    cumulative_sum(x, /, *, axis=None, dtype=None, include_initial=False):\
 _cumulative(ops.cumsum, x, axis, dtype, include_initial, 0)

    broadcast_to(x, /, shape)
    expand_dims(x, /, axis=0)
    flip(x, /, *, axis=None)
    matrix_transpose(x, /): ops.swapaxes(x, -1, -2)
    meshgrid(*arrays, indexing="xy"): list(ops.meshgrid(*arrays, indexing=indexing))
    moveaxis(x, source, destination, /)
    permute_dims(x, /, axes)
    repeat(x, repeats, /, *, axis=None): ops.repeat(x, _plain(repeats), axis=axis)
    reshape(x, /, shape, *, copy=None): ops.reshape(x.copy() if copy else x, shape=shape)
    roll(x, /, shift, *, axis=None): ops.roll(x, shift, axis=axis)
    squeeze(x, /, axis)
    stack(arrays, /, *, axis=0)
    tile(x, repetitions, /)
    tril triu(x, /, *, k=0)
    unstack(x, /, *, axis=0): ops.unbind(x, axis=axis)

    argsort(x, /, *, axis=-1, descending=False, stable=True):\
 ops.argsort(x, axis=axis, descending=descending)
    searchsorted(x1, x2, /, *, side="left", sorter=None):\
 ops.searchsorted(x1 if sorter is None else ops.take(x1, sorter), x2, side=side)
    sort(x, /, *, axis=-1, descending=False, stable=True):\
 ops.sort(x, axis=axis, descending=descending)
    take(x, indices, /, *, axis=None): ops.take(x, indices, axis=_only(x) if axis is None else axis)
    take_along_axis(x, indices, /, *, axis=-1)
    unique_values(x, /): ops.unique_all(x)[0]

    empty(shape, *, dtype=None, device=None): zeros(shape, dtype=dtype, device=device)
    eye(n_rows, n_cols=None, /, *, k=0, dtype=None, device=None):\
 _creation.eye(n_rows, n_cols, k, **_at(device, dtype or F32))
    arange(start, /, stop=None, step=1, *, dtype=None, device=None):\
 _creation.arange(start, stop, step, **_at(device, dtype))
    full(shape, fill_value, *, dtype=None, device=None):\
 _creation.full(shape, fill_value, **_at(device, dtype))
    linspace(start, stop, /, num, *, dtype=None, device=None, endpoint=True):\
 Tensor(np.linspace(start, stop, num, endpoint=endpoint), **_at(device, dtype or F32))
    ones(shape, *, dtype=None, device=None): _creation.ones(shape, **_at(device, dtype or F32))
    zeros(shape, *, dtype=None, device=None): _creation.zeros(shape, **_at(device, dtype or F32))
    empty_like(x, /, *, dtype=None, device=None): full_like(x, 0, dtype=dtype, device=device)
    full_like(x, /, fill_value, *, dtype=None, device=None):\
 full(x.shape, fill_value, dtype=dtype or x.dtype, device=device or x.device)
    ones_like(x, /, *, dtype=None, device=None): full_like(x, 1, dtype=dtype, device=device)
    zeros_like(x, /, *, dtype=None, device=None): full_like(x, 0, dtype=dtype, device=device)

    tensordot(x1, x2, /, *, axes=2)
    vecdot(x1, x2, /, *, axis=-1)
"""
_LINALG = """
    det inv svdvals(x, /)
    outer solve(x1, x2, /)
    cholesky(x, /, *, upper=False)
    cross(x1, x2, /, *, axis=-1)
    diagonal(x, /, *, offset=0): ops.diagonal(x, offset=offset, axis1=-2, axis2=-1)
    eigh(x, /): Eigh(*ops.eigh(x))
    eigvalsh(x, /): ops.eigh(x)[0]
    matrix_norm(x, /, *, keepdims=False, ord="fro")
    matrix_power(x, n, /)
    matrix_rank pinv(x, /, *, rtol=None)
    qr(x, /, *, mode="reduced"): QR(*ops.qr(x, mode=mode))
    slogdet(x, /): Slogdet(*ops.slogdet(x))
    svd(x, /, *, full_matrices=True): SVD(*ops.svd(x, full=full_matrices))
    trace(x, /, *, offset=0, dtype=None):\
 _typed(ops.trace, x, dtype, offset=offset, axis1=-2, axis2=-1)
    vector_norm(x, /, *, axis=None, keepdims=False, ord=2):\
 ops.norm(x, ord=ord, axis=axis, keepdims=keepdims)
"""


def asarray(
    obj: Any, /, *, dtype: Any = None, device: Where = None, copy: builtins.bool | None = None
) -> Tensor:
    """A tensor of numbers, nested lists, an array or a tensor; itself where nothing changes."""
    if isinstance(obj, Tensor):
        x = obj
        wanted = x.scalar_type if dtype is None else ScalarType(dtype)
        target = x.device if device is None else Device(device)
        same = wanted is x.scalar_type and target is x.device
        if copy is False and not same:
            raise SettingsError("asarray: another dtype or device wants a copy")
        y = x if wanted is x.scalar_type else x.cast(wanted)
        y = y.to(target)
        return y.copy() if copy and same else y
    if copy is False:
        raise SettingsError("asarray: copy=False is for tensors\n  write  from_dlpack(x)")
    return Tensor(obj, device=device or HOST, scalar_type=dtype)


def astype(x: Tensor, dtype: Any, /, *, copy: builtins.bool = True, device: Where = None) -> Tensor:
    """x in another scalar type."""
    same = ScalarType(dtype) is x.scalar_type
    y = (x.copy() if copy else x) if same else x.cast(dtype)
    return y if device is None else y.to(device)


def can_cast(from_: Any, to: Any, /) -> builtins.bool:
    """Whether promotion leads from one to the other."""
    source = from_.dtype if isinstance(from_, Tensor) else from_
    try:
        return result_type(source, to) == np.dtype(to)
    except ScalarTypeError:
        return False


def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """The dtype that these meet in."""
    plain = (builtins.bool, int, float)
    numbers = [type(each) for each in arrays_and_dtypes if type(each) in plain]
    full = [
        each.scalar_type if isinstance(each, Tensor) else ScalarType(each)
        for each in arrays_and_dtypes
        if type(each) not in plain
    ]
    return promote_operands(full, [*numbers]).dtype


def isdtype(dtype: Any, kind: Any) -> builtins.bool:
    """Whether a dtype is another, or of a kind, or of one of several."""
    if isinstance(kind, tuple):
        return builtins.any(isdtype(dtype, each) for each in kind)
    if not isinstance(kind, str):
        return np.dtype(dtype) == np.dtype(kind)
    own = ScalarType(dtype).kind
    kinds = {
        "bool": ("bool",), "signed integer": ("signed",), "unsigned integer": ("unsigned",),
        "integral": ("signed", "unsigned"), "real floating": ("float",), "complex floating": (),
        "numeric": ("signed", "unsigned", "float"),
    }  # fmt: skip
    if kind not in kinds:
        raise SettingsError(f"isdtype: {kind!r} is no kind\n  kinds  {', '.join(kinds)}")
    return own in kinds[kind]


def finfo(type: Any, /) -> Any:
    """The limits of a float type."""
    import ml_dtypes

    found = ml_dtypes.finfo(type.dtype if isinstance(type, Tensor) else type)
    names = ("eps", "max", "min", "smallest_normal")
    limits = {name: float(getattr(found, name)) for name in names}
    return SimpleNamespace(bits=int(found.bits), dtype=np.dtype(found.dtype), **limits)


def iinfo(type: Any, /) -> Any:
    """The limits of an integer type."""
    found = np.iinfo(type.dtype if isinstance(type, Tensor) else type)
    return SimpleNamespace(
        bits=found.bits, dtype=found.dtype, max=int(found.max), min=int(found.min)
    )


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that these broadcast to."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        told = "\n".join(f"  {each}" for each in shapes)
        raise ShapeError(f"broadcast_shapes: these do not broadcast\n{told}") from None


def broadcast_arrays(*arrays: Tensor) -> list[Tensor]:
    """The arrays in the one shape that they broadcast to."""
    shape = broadcast_shapes(*[each.shape for each in arrays])
    return [ops.broadcast_to(each, shape=shape) for each in arrays]


def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """Arrays one after the other along an axis; with None as one row."""
    if axis is None:
        arrays, axis = [ops.reshape(each, shape=-1) for each in arrays], 0
    return ops.concat(*arrays, axis=axis)


def signbit(x: Tensor, /) -> Tensor:
    """Whether x is below 0, or -0."""
    below = ops.less(x, 0)
    if not x.scalar_type.is_float:
        return below
    return ops.logical_or(below, ops.less(ops.divide(1.0, x), 0))


def isin(x1: Any, x2: Any, /, *, invert: builtins.bool = False) -> Tensor:
    """Whether each element of x1 is among those of x2."""
    x1, x2 = (each if isinstance(each, Tensor) else Tensor(each) for each in (x1, x2))
    same = ops.equal(ops.expand_dims(x1, axis=-1), ops.reshape(x2, shape=-1))
    found = ops.any(same, axis=-1)
    return ops.logical_not(found) if invert else found


def diff(
    x: Tensor, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None
) -> Tensor:
    """The differences of neighbours along an axis, n times."""
    parts = [each for each in (prepend, x, append) if each is not None]
    y = ops.concat(*parts, axis=axis) if len(parts) > 1 else x
    for _ in range(n):
        size = y.shape[axis]
        later, earlier = (
            ops.moveaxis(ops.moveaxis(y, axis, 0)[part], 0, axis)
            for part in (slice(1, None), slice(0, builtins.max(size - 1, 0)))
        )
        y = ops.not_equal(later, earlier) if y.dtype == bool else ops.subtract(later, earlier)
    return y


Unique = namedtuple("Unique", "values indices inverse_indices counts")
UniqueCounts = namedtuple("UniqueCounts", "values counts")
UniqueInverse = namedtuple("UniqueInverse", "values inverse_indices")
Eigh = namedtuple("Eigh", "eigenvalues eigenvectors")
QR = namedtuple("QR", "Q R")
Slogdet = namedtuple("Slogdet", "sign logabsdet")
SVD = namedtuple("SVD", "U S Vh")


def unique_all(x: Tensor, /) -> Unique:
    """The values in order, where each comes first, which of them each element is, how often."""
    values, inverse, counts = ops.unique_all(x)
    order = ops.argsort(ops.reshape(inverse, shape=-1))  # stable: the first comes first
    starts = ops.subtract(ops.cumsum(counts), counts)
    return Unique(values, ops.take(order, starts), ops.reshape(inverse, shape=x.shape), counts)


def unique_counts(x: Tensor, /) -> UniqueCounts:
    """The values in order, and how often each comes."""
    values, _, counts = ops.unique_all(x)
    return UniqueCounts(values, counts)


def unique_inverse(x: Tensor, /) -> UniqueInverse:
    """The values in order, and which of them each element is."""
    values, inverse, _ = ops.unique_all(x)
    return UniqueInverse(values, ops.reshape(inverse, shape=x.shape))


# -- what the table needs ------------------------------------------------------------------


def _at(device: Where, dtype: Any) -> dict[str, Any]:
    return {"device": device or HOST, "scalar_type": dtype}


def _plain(x: Any) -> Any:
    return x.tolist() if isinstance(x, Tensor) else x


def _only(x: Tensor) -> int:
    """The one axis of x, where none is said."""
    if x.ndim != 1:
        raise SettingsError(f"namespace: x has {x.ndim} axes\n  write  axis=...")
    return 0


def _typed(op: Any, x: Tensor, dtype: Any, **settings: Any) -> Tensor:
    """The op computed in a dtype."""
    y = op(x if dtype is None else x.cast(dtype), **settings)
    return y if dtype is None else y.cast(dtype)


def _cumulative(op: Any, x: Tensor, axis: int | None, dtype: Any, first: Any, start: int) -> Tensor:
    axis = _only(x) if axis is None else axis
    y = _typed(op, x, dtype, axis=axis)
    if not first:
        return y
    shape = [*y.shape]
    shape[axis] = 1
    first = _creation.full(tuple(shape), start, **_at(y.device, y.dtype))
    return ops.concat(first, y, axis=axis)


class Info:
    """What `__array_namespace_info__` answers."""

    def capabilities(self) -> dict[str, Any]:
        """Masks and shapes that depend on values are taken."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 32}

    def default_device(self) -> str:
        """Where tensors are made unless said."""
        return HOST.name

    def default_dtypes(self, *, device: Where = None) -> dict[str, Any]:
        """The types that numbers have unless said; complex ones there are none."""
        return {"real floating": F32.dtype, "integral": I64.dtype, "indexing": I64.dtype}

    def devices(self) -> list[str]:
        """Every device that can be used now."""
        return [each.name for each in Device.available()]

    def dtypes(self, *, device: Where = None, kind: Any = None) -> dict[str, Any]:
        """The standard's types by name, of one kind or of several."""
        names = (
            "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
            "float32", "float64",
        )  # fmt: skip
        found = {name: globals()[name] for name in names}
        return {n: each for n, each in found.items() if kind is None or isdtype(each, kind)}


# -- the table made functions ---------------------------------------------------------------


def _defined(table: str) -> dict[str, Any]:
    """The functions of a table. Where a line does not say what they are of the ops, each is the op
    of its name, given what stands before the / by its place and the rest by name."""
    found: dict[str, Any] = {}
    for line in filter(None, map(str.strip, table.splitlines())):
        head, _, told = line.partition("): ")
        names, _, signature = head.rstrip(")").partition("(")
        placed, _, named = signature.partition("/")
        words = [each.partition("=")[0].strip() for each in named.split(",")]
        given = placed + ", ".join(f"{each}={each}" for each in words if each not in ("", "*"))
        for name in names.split():
            expression = told.strip() or f"ops.{name}({given.rstrip(', ')})"
            exec(f"def {name}({signature}):\n    return {expression}", globals(), found)
            found[name].__doc__ = f"As the array API standard says: {expression}."
            found[name].__module__ = __name__
    return found


globals().update(_defined(_TABLE))
_SHARED = ("matmul", "matrix_transpose", "tensordot", "vecdot")
linalg = SimpleNamespace(**_defined(_LINALG), **{name: globals()[name] for name in _SHARED})


def __getattr__(name: str) -> Any:  # for type checkers, which do not see the table
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


def __array_namespace_info__() -> Info:
    """What this namespace offers."""
    return Info()


_OURS = (
    "Any", "Device", "Eigh", "F32", "HOST", "I64", "Info", "QR", "SVD", "ScalarType",
    "ScalarTypeError", "Sequence", "SettingsError", "ShapeError", "SimpleNamespace", "Slogdet",
    "Tensor", "Unique", "UniqueCounts", "UniqueInverse", "VERSIONS", "Where", "annotations",
    "builtins", "namedtuple", "np", "ops", "promote_operands",
)  # fmt: skip

__all__ = sorted(  # pyright: ignore[reportUnsupportedDunderAll]
    {name for name in globals() if not name.startswith("_") and name not in _OURS}
)
