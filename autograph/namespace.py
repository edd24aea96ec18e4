"""The array API standard for tensors: its functions, constants and scalar types by its names.

`x.__array_namespace__()` is this module, so that code which is written for the standard takes
tensors. Scalar types are NumPy's dtypes; there are no complex numbers, hence no `fft`. What comes
out is recorded like everything else. See https://data-apis.org/array-api/2024.12.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

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

# Ops that have the standard's names and arguments already.
_SAME = (
    "abs", "acos", "acosh", "add", "all", "any", "argmax", "argmin", "asin", "asinh", "atan",
    "atan2", "atanh", "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "ceil", "cos", "cosh", "count_nonzero", "divide",
    "equal", "exp", "expm1", "floor", "floor_divide", "greater", "greater_equal", "hypot",
    "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log1p", "log2", "log10",
    "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor", "matmul", "max",
    "maximum", "mean", "min", "minimum", "moveaxis", "multiply", "negative", "nonzero",
    "not_equal", "reciprocal", "remainder", "round", "sign", "sin", "sinh", "sqrt", "square",
    "std", "subtract", "tan", "tanh", "tensordot", "trunc", "var", "vecdot", "where",
)  # fmt: skip

Axis = int | tuple[int, ...] | None
Where = Device | str | None


def __getattr__(name: str) -> Any:
    if name in _SAME:
        return getattr(ops, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


# -- creation ----------------------------------------------------------------------------


def asarray(
    x: Any, /, *, dtype: Any = None, device: Where = None, copy: builtins.bool | None = None
) -> Tensor:
    """A tensor of numbers, nested lists, an array or a tensor; itself where nothing changes."""
    if isinstance(x, Tensor):
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
    return Tensor(x, device=device or HOST, scalar_type=dtype)


def arange(
    start: float, /, stop: float | None = None, step: float = 1, *, dtype: Any = None,
    device: Where = None,
) -> Tensor:  # fmt: skip
    """start, start + step, ... up to and without stop."""
    return _creation.arange(start, stop, step, device=device or HOST, scalar_type=dtype)


def linspace(
    start: float, stop: float, /, num: int, *, dtype: Any = None, device: Where = None,
    endpoint: builtins.bool = True,
) -> Tensor:  # fmt: skip
    """num values at equal distances."""
    values = np.linspace(start, stop, num, endpoint=endpoint)
    return Tensor(values, device=device or HOST, scalar_type=dtype or F32)


def empty(shape: Any, *, dtype: Any = None, device: Where = None) -> Tensor:
    """A tensor whose values nobody has asked for: zeros."""
    return zeros(shape, dtype=dtype, device=device)


def zeros(shape: Any, *, dtype: Any = None, device: Where = None) -> Tensor:
    """A tensor of zeros."""
    return _creation.zeros(shape, device=device or HOST, scalar_type=dtype or F32)


def ones(shape: Any, *, dtype: Any = None, device: Where = None) -> Tensor:
    """A tensor of ones."""
    return _creation.ones(shape, device=device or HOST, scalar_type=dtype or F32)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Where = None) -> Tensor:
    """A tensor of one value."""
    return _creation.full(shape, fill_value, device=device or HOST, scalar_type=dtype)


def eye(
    n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None,
    device: Where = None,
) -> Tensor:  # fmt: skip
    """Ones on the k-th diagonal, zeros elsewhere."""
    return _creation.eye(n_rows, n_cols, k, device=device or HOST, scalar_type=dtype or F32)


def full_like(
    x: Tensor, /, fill_value: Any, *, dtype: Any = None, device: Where = None
) -> Tensor:
    """A tensor of one value, of the shape of x, and its dtype and device unless said."""
    return full(x.shape, fill_value, dtype=dtype or x.dtype, device=device or x.device)


def zeros_like(x: Tensor, /, *, dtype: Any = None, device: Where = None) -> Tensor:
    """Zeros like x."""
    return full_like(x, 0, dtype=dtype, device=device)


def ones_like(x: Tensor, /, *, dtype: Any = None, device: Where = None) -> Tensor:
    """Ones like x."""
    return full_like(x, 1, dtype=dtype, device=device)


def empty_like(x: Tensor, /, *, dtype: Any = None, device: Where = None) -> Tensor:
    """Zeros like x."""
    return full_like(x, 0, dtype=dtype, device=device)


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> list[Tensor]:
    """The coordinates of a grid, a tensor for each axis."""
    return list(ops.meshgrid(*arrays, indexing=indexing))


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """With zeros above the k-th diagonal."""
    return ops.tril(x, k=k)


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """With zeros below the k-th diagonal."""
    return ops.triu(x, k=k)


# -- scalar types ------------------------------------------------------------------------


def astype(
    x: Tensor, dtype: Any, /, *, copy: builtins.bool = True, device: Where = None
) -> Tensor:
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


# -- element by element, by other names ----------------------------------------------------


def pow(x1: Any, x2: Any, /) -> Tensor:
    """x1 to the power of x2."""
    return ops.power(x1, x2)


def positive(x: Tensor, /) -> Tensor:
    """x itself, in memory of its own."""
    return x.copy()


def clip(x: Tensor, /, min: Any = None, max: Any = None) -> Tensor:
    """x within bounds, each a number, a tensor or absent."""
    return ops.clip(x, min, max)


def copysign(x1: Any, x2: Any, /) -> Tensor:
    """The size of x1 with the sign of x2, also of -0."""
    size = ops.abs(x1)
    return ops.where(signbit(x2), ops.negative(size), size)


def signbit(x: Tensor, /) -> Tensor:
    """Whether x is below 0, or -0."""
    below = ops.less(x, 0)
    if not x.scalar_type.is_float:
        return below
    return ops.logical_or(below, ops.less(ops.divide(1.0, x), 0))


# -- shape ---------------------------------------------------------------------------------


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


def broadcast_to(x: Tensor, /, shape: tuple[int, ...]) -> Tensor:
    """x repeated along new and stretched axes, without a copy."""
    return ops.broadcast_to(x, shape=shape)


def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """Arrays one after the other along an axis; with None as one row."""
    if axis is None:
        arrays, axis = [ops.reshape(each, shape=-1) for each in arrays], 0
    return ops.concat(*arrays, axis=axis)


def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    """Arrays of one shape along a new axis."""
    return ops.stack(arrays, axis=axis)


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The views at each index of an axis."""
    return ops.unbind(x, axis=axis)


def expand_dims(x: Tensor, /, *, axis: int | tuple[int, ...] = 0) -> Tensor:
    """With an axis of size 1 at a place of the result."""
    return ops.expand_dims(x, axis=axis)


def squeeze(x: Tensor, /, axis: int | tuple[int, ...]) -> Tensor:
    """Without axes of size 1."""
    return ops.squeeze(x, axis=axis)


def flip(x: Tensor, /, *, axis: Axis = None) -> Tensor:
    """Backwards along axes, all by default."""
    return ops.flip(x, axis=axis)


def permute_dims(x: Tensor, /, axes: tuple[int, ...]) -> Tensor:
    """The axes in another order."""
    return ops.permute_dims(x, axes=axes)


def matrix_transpose(x: Tensor, /) -> Tensor:
    """The last two axes exchanged."""
    return ops.swapaxes(x, -1, -2)


def reshape(x: Tensor, /, shape: tuple[int, ...], *, copy: builtins.bool | None = None) -> Tensor:
    """The same elements in another shape."""
    y = ops.reshape(x, shape=shape)
    return y.copy() if copy else y


def roll(x: Tensor, /, shift: Any, *, axis: Any = None) -> Tensor:
    """Elements moved along axes, round the end."""
    return ops.roll(x, shift, axis=axis)


def repeat(x: Tensor, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    """Each element repeated in its place."""
    return ops.repeat(x, repeats.tolist() if isinstance(repeats, Tensor) else repeats, axis=axis)


def tile(x: Tensor, repetitions: tuple[int, ...], /) -> Tensor:
    """The whole repeated along each axis."""
    return ops.tile(x, repetitions)


# -- choosing, ordering, counting ------------------------------------------------------------


def take(x: Tensor, indices: Tensor, /, *, axis: int = 0) -> Tensor:
    """Slices by index along an axis."""
    return ops.take(x, indices, axis=axis)


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """Elements by index along an axis."""
    return ops.take_along_axis(x, indices, axis=axis)


def argsort(
    x: Tensor, /, *, axis: int = -1, descending: builtins.bool = False,
    stable: builtins.bool = True,
) -> Tensor:  # fmt: skip
    """The indices that sort along an axis; equal elements always keep their order."""
    return ops.argsort(x, axis=axis, descending=descending)


def sort(
    x: Tensor, /, *, axis: int = -1, descending: builtins.bool = False,
    stable: builtins.bool = True,
) -> Tensor:  # fmt: skip
    """In order along an axis; equal elements always keep theirs."""
    return ops.sort(x, axis=axis, descending=descending)


def searchsorted(
    x1: Tensor, x2: Tensor, /, *, side: str = "left", sorter: Tensor | None = None
) -> Tensor:
    """Where values belong in a row that is in order, or that `sorter` puts in order."""
    ordered = x1 if sorter is None else ops.take(x1, sorter)
    return ops.searchsorted(ordered, x2, side=side)


def isin(
    x1: Any, x2: Any, /, *, assume_unique: builtins.bool = False, invert: builtins.bool = False
) -> Tensor:
    """Whether each element of x1 is among those of x2."""
    x1, x2 = (each if isinstance(each, Tensor) else Tensor(each) for each in (x1, x2))
    same = ops.equal(ops.expand_dims(x1, axis=-1), ops.reshape(x2, shape=-1))
    found = ops.any(same, axis=-1)
    return ops.logical_not(found) if invert else found


class Unique(NamedTuple):
    """What `unique_all` answers."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` answers."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` answers."""

    values: Tensor
    inverse_indices: Tensor


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


def unique_values(x: Tensor, /) -> Tensor:
    """The values in order."""
    found: Tensor = ops.unique_all(x)[0]
    return found


# -- sums ------------------------------------------------------------------------------------


def sum(x: Tensor, /, *, axis: Axis = None, dtype: Any = None, keepdims: Any = False) -> Tensor:
    """The sum over axes; of integers in 64 bits."""
    y = ops.sum(x if dtype is None else x.cast(dtype), axis=axis, keepdims=keepdims)
    return y if dtype is None else y.cast(dtype)


def prod(x: Tensor, /, *, axis: Axis = None, dtype: Any = None, keepdims: Any = False) -> Tensor:
    """The product over axes; of integers in 64 bits."""
    y = ops.prod(x if dtype is None else x.cast(dtype), axis=axis, keepdims=keepdims)
    return y if dtype is None else y.cast(dtype)


def _cumulative(op: Any, x: Tensor, axis: int | None, dtype: Any, first: Any, start: int) -> Tensor:
    axis = 0 if axis is None and x.ndim == 1 else axis
    if axis is None:
        raise SettingsError("cumulative: x has several axes\n  write  axis=...")
    y = op(x if dtype is None else x.cast(dtype), axis=axis)
    y = y if dtype is None else y.cast(dtype)
    if not first:
        return y
    shape = [*y.shape]
    shape[axis] = 1
    return ops.concat(full(tuple(shape), start, dtype=y.dtype, device=y.device), y, axis=axis)


def cumulative_sum(
    x: Tensor, /, *, axis: int | None = None, dtype: Any = None, include_initial: Any = False
) -> Tensor:
    """The running sum along an axis."""
    return _cumulative(ops.cumsum, x, axis, dtype, include_initial, 0)


def cumulative_prod(
    x: Tensor, /, *, axis: int | None = None, dtype: Any = None, include_initial: Any = False
) -> Tensor:
    """The running product along an axis."""
    return _cumulative(ops.cumprod, x, axis, dtype, include_initial, 1)


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


# -- linear algebra ----------------------------------------------------------------------------


def _vector_norm(
    x: Tensor, /, *, axis: Axis = None, keepdims: Any = False, ord: float = 2
) -> Tensor:
    return ops.norm(x, ord=ord, axis=axis, keepdims=keepdims)


def _matrix_norm(x: Tensor, /, *, keepdims: Any = False, ord: Any = "fro") -> Tensor:
    return ops.matrix_norm(x, ord=ord, keepdims=keepdims)


def _diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    return ops.diagonal(x, offset=offset, axis1=-2, axis2=-1)


def _trace(x: Tensor, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    y = ops.trace(x, offset=offset, axis1=-2, axis2=-1)
    return y if dtype is None else y.cast(dtype)


linalg = SimpleNamespace(
    cholesky=ops.cholesky, det=ops.det, diagonal=_diagonal, inv=ops.inv, matmul=ops.matmul,
    matrix_norm=_matrix_norm, matrix_transpose=matrix_transpose, outer=ops.outer,
    solve=ops.solve, svdvals=ops.svdvals, tensordot=ops.tensordot, trace=_trace, vecdot=ops.vecdot,
    vector_norm=_vector_norm,
)  # fmt: skip


# -- what there is -------------------------------------------------------------------------------


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


def __array_namespace_info__() -> Info:
    """What this namespace offers."""
    return Info()


_OURS = (
    "Any", "Axis", "Device", "F32", "HOST", "I64", "Info", "NamedTuple", "ScalarType",
    "ScalarTypeError", "Sequence", "SettingsError", "ShapeError", "SimpleNamespace", "Tensor",
    "Unique", "UniqueCounts", "UniqueInverse", "VERSIONS", "Where", "annotations", "builtins",
    "np", "ops", "promote_operands",
)  # fmt: skip

__all__ = sorted(  # pyright: ignore[reportUnsupportedDunderAll]
    {*_SAME, *[name for name in globals() if not name.startswith("_") and name not in _OURS]}
)
