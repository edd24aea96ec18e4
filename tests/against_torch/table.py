"""Each op beside the function of PyTorch that it is compared with, and how its cases are drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from autograph import ops

from .cases import FLOATS, WHOLE, Row, broadcast_shapes, shape_of

Rng = np.random.Generator
NUMBERS = (*FLOATS, *WHOLE)
MATRIX_NORMS = "fro", "nuc", 1, -1, 2, -2, float("inf"), -float("inf")
EQUATIONS = (
    "ij,jk->ik", "bij,bjk->bik", "ij->ji", "ii->i", "ii", "i,j->ij", "ij,ij->", "abc,cd,da->b",
    "...ij,...jk->...ik", "ab,ac->bc", "abi,abi->ab", "ab,ab->ab", "ab->", "iij->j", "a,a->",
    "ab,b,bc",
)  # fmt: skip
WIDE = "f64", "f32"
functional = torch.nn.functional


# -- how cases are drawn -----------------------------------------------------------------


def normal(rng: Rng, shape: tuple[int, ...], scale: float = 2.0) -> np.ndarray[Any, Any]:
    return rng.normal(size=shape) * scale


def drawn(settings: Mapping[str, Any], rng: Rng) -> dict[str, Any]:
    """Settings, those that are functions of chance drawn."""
    return {name: each(rng) if callable(each) else each for name, each in settings.items()}


def of(*shapes: tuple[int, ...], scale: float = 2.0, **settings: Any) -> Callable[[Rng], Any]:
    """Inputs of these shapes."""
    return lambda rng: ([normal(rng, shape, scale) for shape in shapes], drawn(settings, rng))


def of_any(least: int = 0, **settings: Any) -> Callable[[Rng], Any]:
    """An input of any shape with so many axes at least."""
    return lambda rng: ([normal(rng, shape_of(rng, least))], drawn(settings, rng))


def a_number(low: int, high: int) -> Callable[[Rng], int]:
    return lambda rng: int(rng.integers(low, high))


def one(low: float = -4.0, high: float = 4.0, least: int = 0) -> Callable[[Rng], Any]:
    return lambda rng: ([rng.uniform(low, high, size=shape_of(rng, least))], {})


def two(low: float = -4.0, high: float = 4.0, numbers: bool = True) -> Callable[[Rng], Any]:
    """Shapes that broadcast; now and then a number on either side."""

    def draw(rng: Rng) -> Any:
        a, b = (rng.uniform(low, high, size=shape) for shape in broadcast_shapes(rng, 2))
        side = rng.random()
        if numbers and side < 0.1:
            return [a, float(rng.uniform(low, high))], {}
        return [a, b], {}

    return draw


def whole(count: int, low: int, high: int) -> Callable[[Rng], Any]:
    def draw(rng: Rng) -> Any:
        shapes = broadcast_shapes(rng, count)
        return [rng.integers(low, high, size=shape).astype(float) for shape in shapes], {}

    return draw


def _bounded(rng: Rng) -> Any:
    """Bounds that broadcast to x: the gradient of others fails in PyTorch."""
    x, low, high = (rng.uniform(-4, 4, size=shape) for shape in broadcast_shapes(rng, 3))
    return [np.broadcast_to(x, np.broadcast_shapes(*map(np.shape, (x, low, high)))), low, high], {}


def some_axes(rng: Rng, ndim: int) -> Any:
    if not ndim or rng.random() < 0.3:
        return None
    if rng.random() < 0.5:
        return int(rng.integers(-ndim, ndim))
    chosen = rng.permutation(ndim)[: rng.integers(1, ndim + 1)]
    return tuple(int(i) - (ndim if rng.random() < 0.5 else 0) for i in chosen)


def over_axes(scale: float = 2.0, empty: bool = True, **more: Any) -> Callable[[Rng], Any]:
    def draw(rng: Rng) -> Any:
        x = normal(rng, shape_of(rng), scale)
        if not empty and not x.size:
            x = normal(rng, (2, 3), scale)
        settings = {"axis": some_axes(rng, x.ndim), "keepdims": bool(rng.random() < 0.5)}
        return [x], settings | drawn(more, rng)

    return draw


def along(empty: bool = True, none: bool = False, **more: Any) -> Callable[[Rng], Any]:
    """One axis; ties are frequent."""

    def draw(rng: Rng) -> Any:
        shape = shape_of(rng, least=1)
        x = normal(rng, shape if empty or 0 not in shape else (2, 3))
        x = np.round(x) if rng.random() < 0.3 else x
        axis = None if none and rng.random() < 0.3 else int(rng.integers(-x.ndim, x.ndim))
        return [x], {"axis": axis} | drawn(more, rng)

    return draw


def indices(rng: Rng, size: int, shape: tuple[int, ...], negative: bool = False) -> Any:
    return rng.integers(-size if negative else 0, size, size=shape)


def filled(rng: Rng, least: int = 1) -> np.ndarray[Any, Any]:
    """An array that is not empty."""
    shape = tuple(max(size, 1) for size in shape_of(rng, least))
    return normal(rng, shape)


def logit(x: Any) -> Any:
    return np.log(x / (1 - x))


# -- how PyTorch says it -----------------------------------------------------------------


def reducing(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of dim and keepdim, over all axes too."""

    def theirs(x: Any, *, axis: Any, keepdims: bool, **settings: Any) -> Any:
        dims = tuple(range(x.ndim)) if axis is None else axis
        if isinstance(dims, int):
            dims = (dims,)
        return (
            function(x, dim=dims, keepdim=keepdims, **settings)
            if x.ndim
            else function(x.reshape(1), dim=0, keepdim=False, **settings)
        )

    return theirs


def product(x: Any, *, dim: Any, keepdim: bool) -> Any:
    for each in sorted(
        (d % x.ndim for d in ((dim,) if isinstance(dim, int) else dim)), reverse=True
    ):
        x = x.prod(each, keepdim=keepdim)
    return x


def arg(name: str) -> Callable[..., Any]:
    def theirs(x: Any, *, axis: Any, keepdims: bool) -> Any:
        return getattr(x, name)(dim=axis, keepdim=keepdims and axis is not None)

    return theirs


def plain_arg(name: str) -> Callable[..., Any]:
    def ours(x: Any, *, axis: Any, keepdims: bool) -> Any:
        return getattr(ops, name)(x, axis=axis, keepdims=keepdims and axis is not None)

    return ours


def shown(result: Any) -> Any:
    """torch's named tuples as plain ones."""
    return tuple(result)


# -- the table ---------------------------------------------------------------------------

ROWS: dict[str, Row] = {}


def row(
    name: str, theirs: Callable[..., Any], draw: Any, ours: Any = None, **settings: Any
) -> None:
    ROWS[name] = Row(getattr(ops, name, None) if ours is None else ours, theirs, draw, **settings)


# fmt: off
for _name in ("add", "multiply", "maximum", "minimum"):
    row(_name, getattr(torch, _name), two(numbers=_name in ("add", "multiply")), types=NUMBERS)
row("subtract", torch.subtract, two(), types=NUMBERS)
row("divide", torch.divide, two(0.3, 4.0), types=NUMBERS[: len(FLOATS)])
row("floor_divide", torch.floor_divide, whole(2, 1, 9), types=NUMBERS, values=True)
row("remainder", torch.remainder, whole(2, 1, 9), types=NUMBERS, values=True)
row("power", torch.pow, two(0.2, 3.0), types=FLOATS)
row("negative", torch.negative, one(), types=NUMBERS)
row("abs", torch.abs, one(), types=NUMBERS)
row("sign", torch.sign, one(), types=NUMBERS)
row("square", torch.square, one(), types=NUMBERS)
row("reciprocal", torch.reciprocal, one(0.3, 4.0))
row("copysign", torch.copysign, two(0.3, 4.0, numbers=False))
row("hypot", torch.hypot, two(numbers=False))
row("lerp", torch.lerp, lambda rng: ([*two(numbers=False)(rng)[0], float(rng.uniform(-1, 2))], {}))
row("clip_both", torch.clamp, _bounded)
row("clip_low", lambda x, low: torch.clamp(x, min=low), two())
row("clip_high", lambda x, high: torch.clamp(x, max=high), two())
row("where", lambda c, a, b: torch.where(c, a, b),
    lambda rng: ([(arrays := [normal(rng, s) for s in broadcast_shapes(rng, 3)])[0] > 0,
                  *arrays[1:]], {}), types=NUMBERS)

for _name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
    _torch = {"equal": "eq"}.get(_name, _name)
    row(_name, getattr(torch, _torch), whole(2, -3, 3), types=(*FLOATS, "i8", "i32", "i64"),
        values=True)
for _name in ("logical_and", "logical_or", "logical_xor"):
    row(_name, getattr(torch, _name), whole(2, -1, 2), types=(*FLOATS, "i32"), values=True)
row("logical_not", torch.logical_not, whole(1, -1, 2), types=(*FLOATS, "i32"), values=True)
for _name in ("isnan", "isinf", "isfinite"):
    row(_name, getattr(torch, _name), one(), types=NUMBERS, values=True)
for _name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    row(_name, getattr(torch, _name), whole(2, 0, 127), types=WHOLE, values=True)
for _name in ("bitwise_left_shift", "bitwise_right_shift"):
    row(_name, getattr(torch, _name), whole(2, 0, 7), types=WHOLE, values=True)
row("bitwise_invert", torch.bitwise_not, whole(1, 0, 127), types=WHOLE, values=True)

for _name in (
    "exp",
    "exp2",
    "expm1",
    "sin",
    "cos",
    "tan",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "erf",
    "erfc",
    "sigmoid",
):
    row(_name, getattr(torch, _name), one(-1.5, 1.5) if _name == "tan" else one())
for _name in ("sqrt", "rsqrt", "log", "log2", "log10", "log1p"):
    row(_name, getattr(torch, _name), one(0.1, 9.0))
for _name in ("asin", "acos", "atanh"):
    row(_name, getattr(torch, _name), one(-0.95, 0.95))
row("acosh", torch.acosh, one(1.1, 9.0))
row("atan2", torch.atan2, two(numbers=False))
row("logaddexp", torch.logaddexp, two(-30, 30, numbers=False))
row("logsigmoid", functional.logsigmoid, one(-30, 30))
row("relu", torch.relu, one(), types=NUMBERS)
for _name in ("floor", "ceil", "round", "trunc"):
    row(_name, getattr(torch, _name), one(), types=NUMBERS)

# reductions
row("sum", reducing(torch.sum), over_axes(), types=(*FLOATS, "i8", "i16", "i32", "i64"))
row("mean", reducing(torch.mean), over_axes())
row("max", reducing(torch.amax), over_axes(empty=False), types=NUMBERS)
row("min", reducing(torch.amin), over_axes(empty=False), types=NUMBERS)
row("prod", reducing(product), over_axes(1.0), types=WIDE)
row("any", reducing(torch.any), over_axes(0.3), types=("f32", "bf16", "i32"), values=True)
row("all", reducing(torch.all), over_axes(0.3), types=("f32", "bf16", "i32"), values=True)
for _name in ("argmax", "argmin"):
    row(_name, arg(_name), along(empty=False, none=True, keepdims=lambda rng: rng.random() < 0.5),
        ours=plain_arg(_name), types=WIDE, values=True)
for _name in ("var", "std"):
    row(_name, reducing(getattr(torch, _name)), over_axes(empty=False, correction=a_number(0, 2)))
row("logsumexp", reducing(torch.logsumexp), over_axes(empty=False))
row("euclidean_norm", reducing(torch.linalg.vector_norm), over_axes(empty=False))
row("power_norm", reducing(torch.linalg.vector_norm),
    over_axes(empty=False, ord=lambda rng: float(rng.choice([1.5, 3.0, -1.0]))))
row("softmax", lambda x, axis: torch.softmax(x, axis), along())
row("log_softmax", lambda x, axis: torch.log_softmax(x, axis), along())

# scans and order
row("cumsum", lambda x, axis: torch.cumsum(x, axis), along(), types=(*FLOATS, "i8", "i32", "i64"))
row("cumprod", lambda x, axis: torch.cumprod(x, axis), along(), types=(*WIDE, "i64"))
row("cummax", lambda x, axis: shown(torch.cummax(x, axis)), along(empty=False), types=NUMBERS)
row("cummin", lambda x, axis: shown(torch.cummin(x, axis)), along(empty=False), types=NUMBERS)
row("argsort",
    lambda x, axis, descending: torch.argsort(x, dim=axis, descending=descending, stable=True),
    along(descending=lambda rng: bool(rng.random() < 0.5)), types=NUMBERS, values=True)
row("sort",
    lambda x, axis, descending: torch.sort(x, dim=axis, descending=descending, stable=True)[0],
    along(descending=lambda rng: bool(rng.random() < 0.5)), types=NUMBERS)


def _topk(rng: Rng) -> Any:
    x = rng.permutation(int(np.prod(shape := filled(rng).shape))).reshape(shape) * 0.25
    axis = int(rng.integers(-x.ndim, x.ndim))
    k = int(rng.integers(0, x.shape[axis] + 1))
    return [x], {"k": k, "axis": axis, "largest": bool(rng.random() < 0.5)}


row("topk", lambda x, k, axis, largest: shown(torch.topk(x, k, axis, largest)), _topk, types=WIDE)


def _searched(rng: Rng) -> Any:
    ordered = np.sort(np.round(filled(rng)))
    wanted = np.round(normal(rng, (*ordered.shape[:-1], 4)))
    return [ordered, wanted], {"side": str(rng.choice(["left", "right"]))}


row("searchsorted", torch.searchsorted, _searched, types=WIDE, values=True)
row("unique_all", lambda x: torch.unique(x, return_inverse=True, return_counts=True),
    lambda rng: ([np.round(normal(rng, shape_of(rng)))], {}), types=NUMBERS, values=True)
row("nonzero_flat", lambda x: torch.nonzero(x.reshape(-1)).reshape(-1),
    lambda rng: ([np.round(normal(rng, shape_of(rng), 0.5))], {}), types=NUMBERS, values=True)
row("bincount", lambda x, weights, minlength: torch.bincount(x, weights, minlength),
    lambda rng: ([indices(rng, 5, (7,)), normal(rng, (7,))],
                 {"minlength": int(rng.integers(0, 9))}), types=WIDE,
    values=True)  # PyTorch gives weights no gradient
row("histogram", lambda x, bins, range: torch.histogram(x, bins, range=range),
    lambda rng: ([normal(rng, shape_of(rng))],
                 {"bins": int(rng.integers(1, 9)), "range": (-3.0, 3.0)}), types=WIDE, values=True,
    other_type=True)  # counts are i64 here
row("one_hot", lambda x, classes: functional.one_hot(x, classes),
    lambda rng: ([indices(rng, 5, shape_of(rng))], {"classes": 5}), types=("f32",), values=True)

# indices


def _taken(rng: Rng) -> Any:
    x = filled(rng)
    axis = int(rng.integers(-x.ndim, x.ndim))
    return [x, indices(rng, x.shape[axis], (int(rng.integers(0, 5)),))], {"axis": axis}


def _gathered(rng: Rng, least: int = 0) -> Any:
    x = filled(rng)
    axis = int(rng.integers(-x.ndim, x.ndim))
    shape = [int(rng.integers(least, size + 1)) for size in x.shape]
    return [x, indices(rng, x.shape[axis], tuple(shape))], {"axis": axis}


def _scattered(rng: Rng) -> Any:
    (x, where), settings = _gathered(rng)
    return [x, where, normal(rng, where.shape)], settings


def _scattered_once(rng: Rng) -> Any:
    """Each place at most once, or PyTorch does not say which stays."""
    x = filled(rng)
    axis = int(rng.integers(-x.ndim, x.ndim))
    order = np.argsort(rng.random(x.shape), axis=axis)
    return [x, order, normal(rng, order.shape)], {"axis": axis}


def _reordered(rng: Rng) -> Any:
    inputs, settings = _scattered_once(rng)
    return inputs[:2], settings


def _sliced(rng: Rng) -> Any:
    (x, where), settings = _taken(rng)
    shape = list(x.shape)
    shape[settings["axis"]] = where.size
    return [x, where, normal(rng, tuple(shape))], settings


row("take", lambda x, i, axis: torch.index_select(x, axis, i), _taken, types=NUMBERS)
row("gather", lambda x, i, axis: torch.gather(x, axis, i), _gathered, types=NUMBERS)
row("take_along_axis", lambda x, i, axis: torch.take_along_dim(x, i, axis), _reordered)
row("scatter", lambda x, i, y, axis: torch.scatter(x, axis, i, y), _scattered_once, types=NUMBERS)
row("scatter_add", lambda x, i, y, axis: torch.scatter_add(x, axis, i, y), _scattered)
row("index_add", lambda x, i, y, axis: torch.index_add(x, axis, i, y), _sliced)
row("masked_fill", lambda x, mask, value: torch.masked_fill(x, mask, value),
    lambda rng: ([(x := normal(rng, shape_of(rng))), x > 0, 2.0], {}), types=NUMBERS)

# shapes


def _axes(rng: Rng) -> Any:
    x = normal(rng, shape_of(rng))
    return [x], {"axes": tuple(int(i) for i in rng.permutation(x.ndim))}


def _wider(rng: Rng) -> Any:
    small, large = broadcast_shapes(rng, 2)
    return [normal(rng, small)], {"shape": np.broadcast_shapes(small, large)}


def _narrower(rng: Rng) -> Any:
    (small,), settings = _wider(rng)
    return [normal(rng, settings["shape"])], {"shape": np.shape(small)}


def _joined(rng: Rng) -> Any:
    shape = shape_of(rng, least=1)
    axis = int(rng.integers(-len(shape), len(shape)))
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        sizes = list(shape)
        sizes[axis] = int(rng.integers(0, 4))
        parts.append(normal(rng, tuple(sizes)))
    return parts, {"axis": axis}


row("reshape", lambda x, shape: x.reshape(shape),
    lambda rng: ([(x := normal(rng, shape_of(rng)))], {"shape": x.shape[::-1]}), types=NUMBERS)
row("permute_dims", lambda x, axes: x.permute(axes), _axes, types=NUMBERS)
row("broadcast_to", lambda x, shape: x.broadcast_to(shape), _wider, types=NUMBERS)
row("sum_to", lambda x, shape: x.sum_to_size(shape), _narrower)
row("concat", lambda *xs, axis: torch.cat(xs, axis), _joined, types=NUMBERS)
row("copy", torch.clone, one(), types=NUMBERS)
row("index", lambda x, key: x[key],
    lambda rng: ([filled(rng, 2)], {"key": (slice(0, None, 2), None, ..., 0)}), types=NUMBERS)
row("flip", lambda x, axis: x.flip(axis), along(), types=NUMBERS)
row("roll", lambda x, shift, axis: x.roll(shift, axis), along(shift=a_number(-7, 7)),
    ours=lambda x, shift, axis: ops.roll(x, shift, axis=axis))
row("tile", lambda x, repeats: x.tile(repeats), of_any(repeats=(2, 1, 3)))
row("repeat", lambda x, repeats, axis: x.repeat_interleave(repeats, axis),
    along(repeats=a_number(0, 4)),
    ours=lambda x, repeats, axis: ops.repeat(x, repeats, axis=axis))
row("stack", lambda *xs, axis: torch.stack(xs, axis),
    lambda rng: ([normal(rng, s) for s in [shape_of(rng)] * 3], {"axis": int(rng.choice([0, -1]))}),
    ours=lambda *xs, axis: ops.stack(xs, axis=axis))
row("split", lambda x, axis: shown(x.tensor_split([1, 3], axis)), along(),
    ours=lambda x, axis: ops.split(x, [1, 3], axis=axis))
row("chunk", lambda x, axis: shown(x.chunk(2, axis)), along(empty=False),
    ours=lambda x, axis: ops.chunk(x, 2, axis=axis))
row("unbind", lambda x, axis: x.unbind(axis), along(empty=False))
row("meshgrid", lambda *xs: torch.meshgrid(*xs, indexing="xy"),
    lambda rng: ([normal(rng, (int(rng.integers(1, 4)),)) for _ in range(2)], {}))
row("tril", lambda x, k: x.tril(k), of_any(2, k=a_number(-2, 3)))
row("triu", lambda x, k: x.triu(k), of_any(2, k=a_number(-2, 3)))
row("diagonal", lambda x, offset: x.diagonal(offset), of_any(2, offset=a_number(-2, 3)))


def _padded(x: Any, widths: Any, mode: str) -> Any:
    flat = [each for pair in reversed(widths) for each in pair]
    if mode == "constant":
        return functional.pad(x, flat, value=1.5)
    return functional.pad(x[None, None], flat, mode=mode)[0, 0]


row("pad", _padded,
    lambda rng: ([normal(rng, (4, 5))],
                 {"widths": tuple((int(a), int(b)) for a, b in rng.integers(0, 4, size=(2, 2))),
                  "mode": str(rng.choice(["constant", "reflect", "replicate", "circular"]))}),
    ours=lambda x, widths, mode: ops.pad(x, widths, mode=mode, value=1.5), types=WIDE)
row("pad_constant", lambda x, widths, value: functional.pad(x, (1, 2, 0, 1), value=value),
    of((3, 4), widths=((0, 1), (1, 2)), value=1.5), types=NUMBERS)

# products and linear algebra


def _matrices(rng: Rng) -> Any:
    n, k, m = (int(i) for i in rng.integers(1, 5, size=3))
    batch = [(), (2,), (3, 1)][rng.integers(0, 3)]
    a = normal(rng, (*batch, n, k) if rng.random() < 0.7 else (k,), 1.0)
    b = normal(rng, (*[(), (2,)][rng.integers(0, 2)], k, m) if rng.random() < 0.7 else (k,), 1.0)
    return [a, b], {}


def _square(rng: Rng, positive: bool = False) -> np.ndarray[Any, Any]:
    n = int(rng.integers(1, 5))
    x = rng.normal(size=(*[(), (2,)][rng.integers(0, 2)], n, n))
    return x @ x.swapaxes(-1, -2) + 2 * np.eye(n) if positive else x + 3 * np.eye(n)


def _matrix(rng: Rng) -> np.ndarray[Any, Any]:
    """Of any sides, and far from losing a rank."""
    n, m = (int(i) for i in rng.integers(1, 5, size=2))
    x = rng.normal(size=(*[(), (2,)][rng.integers(0, 2)], n, m))
    return np.asarray(x + 3 * np.eye(n, m))


def _einsum(rng: Rng) -> Any:
    sizes = {letter: int(rng.integers(1, 5)) for letter in "abcdij"}
    equation = str(rng.choice(EQUATIONS))
    sizes |= {"k": 3}
    terms = equation.split("->")[0].replace("...", "d").split(",")
    inputs = [normal(rng, tuple(sizes[c] for c in term), 1.0) for term in terms]
    return inputs, {"equation": equation}


row("matmul", torch.matmul, _matrices)
row("outer", torch.outer, of((3,), (4,)))
row("dot", torch.dot, of((4,), (4,), scale=1.0))
row("tensordot", lambda a, b, axes: torch.tensordot(a, b, dims=axes),
    of((2, 3, 4), (4, 3, 5), scale=1.0, axes=((1, 2), (1, 0))))
row("einsum", lambda *xs, equation: torch.einsum(equation, *xs), _einsum,
    ours=lambda *xs, equation: ops.einsum(equation, *xs), types=WIDE)
row("solve", torch.linalg.solve,
    lambda rng: ([(a := _square(rng)), normal(rng, (*a.shape[:-1], 3), 1.0)], {}), types=WIDE)
row("inv", torch.linalg.inv, lambda rng: ([_square(rng)], {}), types=WIDE)
row("det", torch.linalg.det, lambda rng: ([_square(rng)], {}), types=WIDE)
row("cholesky", lambda x, upper: torch.linalg.cholesky(x, upper=upper),
    lambda rng: ([_square(rng, positive=True)], {"upper": bool(rng.random() < 0.5)}), types=WIDE)
row("eigh", torch.linalg.eigvalsh, lambda rng: ([_square(rng, positive=True)], {}),
    ours=lambda x: ops.eigh(x)[0], types=WIDE)  # vectors are defined up to their sign
row("qr", lambda x: shown(torch.linalg.qr(x)), lambda rng: ([_matrix(rng)], {}), types=WIDE)
row("slogdet", lambda x: shown(torch.linalg.slogdet(x)), lambda rng: ([_square(rng)], {}),
    types=WIDE)
row("pinv", torch.linalg.pinv, lambda rng: ([_matrix(rng)], {}), types=WIDE)
row("matrix_rank", torch.linalg.matrix_rank, lambda rng: ([_matrix(rng)], {}), types=WIDE,
    values=True)
row("matrix_power", torch.linalg.matrix_power,
    lambda rng: ([_square(rng)], {"n": int(rng.integers(-2, 5))}), types=WIDE)
row("cross", lambda a, b: torch.linalg.cross(a, b), of((2, 3), (2, 3)))
row("svdvals", torch.linalg.svdvals, of((2, 3, 4)), types=WIDE)
row("matrix_norm", lambda x, ord: torch.linalg.matrix_norm(x, ord),
    of((2, 3, 4), ord=lambda rng: MATRIX_NORMS[rng.integers(0, 8)]), types=WIDE)
row("cross_entropy_loss", functional.cross_entropy,
    lambda rng: ([normal(rng, (n := int(rng.integers(1, 6)), 4)), indices(rng, 4, (n,))], {}))
row("linear", lambda x, w, b: functional.linear(x, w.T, b), of((2, 3), (3, 4), (4,), scale=1.0))
row("cast", lambda x, scalar_type: x.to(torch.float64), of((2, 3), scalar_type="f64"))

# functions that are made of these ops

row("clip", lambda x: torch.clamp(x, -1, 2), one(), ours=lambda x: ops.clip(x, -1.0, 2.0))
row("flatten", lambda x: x.flatten(), one(), ours=lambda x: ops.flatten(x))
row("unflatten", lambda x: x.unflatten(-1, (2, -1)), of((3, 4)),
    ours=lambda x: ops.unflatten(x, axis=-1, shape=(2, -1)))
row("transpose", lambda x: x.permute(2, 0, 1), of((2, 3, 4)),
    ours=lambda x: ops.transpose(x, (2, 0, 1)))
row("moveaxis", lambda x, axis: x.moveaxis(axis, 0), along(),
    ours=lambda x, axis: ops.moveaxis(x, axis, 0))
row("squeeze", lambda x: x.squeeze(), one(), ours=lambda x: ops.squeeze(x))
row("expand_dims", lambda x, axis: x.unsqueeze(axis), along(),
    ours=lambda x, axis: ops.expand_dims(x, axis=axis))
row("masked_select", lambda x, mask: x.masked_select(mask),
    lambda rng: ([(given := two(numbers=False)(rng)[0])[0], given[1] > 0], {}))
row("norm", lambda x, axis: torch.linalg.vector_norm(x, 3, axis), along(empty=False),
    ours=lambda x, axis: ops.norm(x, ord=3, axis=axis))
row("prelu", lambda x, slope: functional.prelu(x, slope), of((2, 3, 4), (3,)))
row("nextafter", torch.nextafter, two(numbers=False), types=WIDE, values=True)

# losses, norms and attention, whose sums halves are to round once


def pairs_of(x: Callable[[Any], Any], target: Callable[[Any], Any]) -> Callable[[Rng], Any]:
    """Functions of random numbers from 0.05 to 0.95, as predictions and targets."""

    def draw(rng: Rng) -> Any:
        shape = tuple(3 * max(size, 1) for size in shape_of(rng, 1))
        both = rng.uniform(0.05, 0.95, size=(2, *shape))
        return [x(both[0]), target(both[1])], {"reduction": str(rng.choice(["mean", "sum"]))}

    return draw


def same(x: Any) -> Any:
    return x


def off_centre(*shapes: tuple[int, ...]) -> Callable[[Rng], Any]:
    """Inputs of these shapes, the first with a mean that may be far from 0."""

    def draw(rng: Rng) -> Any:
        x, *rest = (normal(rng, shape) for shape in shapes)
        return [x + rng.normal() * rng.choice([0, 1, 10]), *rest], {}

    return draw


for _name, _theirs, _x, _t in (
    ("mse_loss", "mse_loss", logit, logit), ("l1_loss", "l1_loss", logit, logit),
    ("huber_loss", "huber_loss", logit, logit),
    ("smooth_l1_loss", "smooth_l1_loss", logit, logit),
    ("bce_loss", "binary_cross_entropy", same, same),
    ("bce_with_logits_loss", "binary_cross_entropy_with_logits", logit, same),
    ("kl_loss", "kl_div", np.log, same),
):
    row(_name, getattr(functional, _theirs), pairs_of(_x, _t))
row("layer_norm", lambda x, w, b: functional.layer_norm(x, w.shape, w, b),
    off_centre((20, 90), (90,), (90,)))
row("rms_norm", lambda x, w: functional.rms_norm(x, w.shape, w, 1e-6), of((5, 9), (9,)))
row("group_norm", lambda x, w, b: functional.group_norm(x, 3, w, b),
    off_centre((4, 6, 9, 12), (6,), (6,)), ours=lambda x, w, b: ops.group_norm(x, w, b, groups=3))
row("batch_norm", lambda x, w, b: functional.batch_norm(x, None, None, w, b, True),
    off_centre((4, 6, 90), (6,), (6,)))
row("scaled_dot_product_attention",
    lambda q, k, v, causal: functional.scaled_dot_product_attention(q, k, v, is_causal=causal),
    of((2, 5, 4), (2, 5, 4), (2, 5, 3), scale=1.0, causal=lambda rng: bool(rng.random() < 0.5)))
# fmt: on

# Ops that no row names, and why.
ELSEWHERE = {
    "accumulate": "adds in place, compared through every gradient",
    "assign": "compared as x[key] = y in test_indexing",
    "assign_at": "compared as x[key] = y in test_indexing",
    "cofactor": "compared as the gradient of det",
    "extreme_dx": "compared as the gradient of max",
    "flat_index": "compared as x[key] in test_indexing",
    "index_accumulate": "compared as the gradient of views",
    "index_at": "compared as x[key] in test_indexing",
    "replace_non_finite": "compared as nan_to_num in test_extremes",
    "svd": "vectors are defined up to their sign; its values are compared as svdvals",
    "scaled_cast": "PyTorch has none",
    "transfer": "moves, and computes nothing",
}
