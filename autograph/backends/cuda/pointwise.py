"""Pointwise programs as CUDA kernels: one thread sixteen bytes, broadcasting as constants.

A kernel depends on the program, the scalar types, and how the operands broadcast; a contiguous
operand's shape is not in it. Everything is computed in float for the 16-bit floats and rounded
once; double for f64; int64 for integers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np

from ...expression import Name, Number, Program, Tree
from ...outline import CHANNELS_LAST, Outline
from ..backend import CUDA
from .compile import Constant, c_type
from .indexing import decode
from .launch import Kernel, divide_up, offset_type

_BINARY = {
    "add": "+", "subtract": "-", "multiply": "*", "equal": "==", "not_equal": "!=", "less": "<",
    "less_equal": "<=", "greater": ">", "greater_equal": ">=",
}  # fmt: skip

_SHORT = ("exp", "tanh")
_LAUNCHES = 512  # shapes kept of each op; beyond it the table starts anew

_TEXT = """#include "math.cuh"

template <class Spec>
__global__ void __launch_bounds__(256)
pointwise(PARAMETERS, typename Spec::Result* __restrict__ y, typename Spec::Offset size) {
    using N = typename Spec::Number;
    constexpr int pack = Spec::pack;
    using Offset = typename Spec::Offset;
    const Offset at = (Offset(blockIdx.x) * Offset(blockDim.x) + Offset(threadIdx.x)) * pack;
    if (at >= size) return;
    const int left = min(Offset(pack), size - at);
LOADS
    Pack<typename Spec::Result, pack> result;
#pragma unroll
    for (int i = 0; i < pack; i++) {
LINES
        result[i] = narrow<typename Spec::Result>(RESULT);
    }
    store_part<pack>(y + at, result, left);
}
"""


_FILL = """
#include "scalar.cuh"
template <class Spec>
__global__ void fill(typename Spec::Bits* y, uint64 bits, int64 size) {
    const int64 at = int64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at < size) y[at] = typename Spec::Bits(bits);
}
"""


def cuda_text(tree: Tree, short: bool = False) -> str:
    """The tree as a CUDA expression over numbers of type N; tests are of type bool. `short`: what
    it comes to is rounded to 16 bits, which some functions take less time for."""
    if isinstance(tree, Name):
        return f"{tree.name}_"
    if isinstance(tree, Number):
        return f"N({_literal(tree.value)})"
    arguments = [cuda_text(each, short) for each in tree.arguments]
    if tree.function in _BINARY:
        return f"({arguments[0]} {_BINARY[tree.function]} {arguments[1]})"
    if tree.function == "negative":
        return f"(-{arguments[0]})"
    if tree.function == "where":
        a, b, c = arguments
        return f"(truth({a}) ? N({b}) : N({c}))"
    prefix = "short_" if short and tree.function in _SHORT else ""
    return f"{prefix}{tree.function}_of({', '.join(arguments)})"


def _literal(value: bool | int | float) -> str:
    if value != value:
        return "not_a_number()"
    if value in (float("inf"), float("-inf")):
        return "-infinity()" if value < 0 else "infinity()"
    if isinstance(value, bool):
        return str(int(value))
    return f"{value}ll" if isinstance(value, int) else repr(value)


def compile_pointwise(op: Any) -> None:
    """Register the kernel of a pointwise op: its program, for whatever it is called with."""
    promoted = op.promoted_positions(len(op.inputs))
    launches: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def run(*inputs: Any) -> Any:
        key = tuple([(x.shape, x.dtype) if hasattr(x, "shape") else type(x) for x in inputs])
        launch = launches.get(key)
        if launch is None:
            arrays = [inputs[i].dtype for i in promoted if hasattr(inputs[i], "dtype")]
            numbers = [type(inputs[i]) for i in promoted]
            result = np.dtype(bool) if op.boolean else (arrays or [_natural(numbers)])[0]
            if len(launches) >= _LAUNCHES:
                launches.clear()
            launch = launches[key] = pointwise_kernel(
                op.program,
                [getattr(x, "dtype", None) for x in inputs],
                [getattr(x, "shape", ()) for x in inputs],
                result,
            )
        return launch(*inputs)

    def run_last(*inputs: Any) -> Any:
        """The same over images whose memory runs N H W C, and what they meet."""
        return run(*[_last(x) if hasattr(x, "shape") else x for x in inputs]).transpose(0, 3, 1, 2)

    run.__name__ = run_last.__name__ = f"{op.name}_cuda"
    op.kernel(CUDA, when=_are_images, strided=CHANNELS_LAST)(run_last)
    op.kernel(CUDA)(run)


def _are_images(*outlines: Outline) -> bool:
    """Whether some inputs have their channels last, and none has more axes than those."""
    return any(each.layout == CHANNELS_LAST for each in outlines) and all(
        each.ndim <= 4 for each in outlines
    )


def _last(x: Any) -> Any:
    """An array that broadcasts to images, as it broadcasts to their memory."""
    from .arrange import channels_last

    if x.size == 1:
        return x.reshape(())
    return channels_last(x if x.ndim == 4 else x.reshape((1,) * (4 - x.ndim) + x.shape))


def _natural(numbers: list[type]) -> np.dtype[Any]:
    """The type that Python numbers alone meet in."""
    if float in numbers:
        return np.dtype(np.float32)
    return np.dtype(np.int64 if int in numbers else np.bool_)


def pointwise_kernel(
    program: Program, dtypes: Sequence[Any], shapes: Sequence[tuple[int, ...]], result: Any
) -> Callable[..., Any]:
    """A function from arrays (and numbers, for shape None) to a new array of type `result`.

    `dtypes` and `shapes` are those of the program's inputs, in order; shapes broadcast. A number
    has dtype None.
    """
    return _pointwise(program, tuple(dtypes), tuple(shapes), np.dtype(result))


_AS_IT_IS = Program(("x",), (), Name("x"))


def copy_kernel(
    source: np.dtype[Any], result: np.dtype[Any], dimensions: tuple[int, ...],
    steps: tuple[int, ...], offset: np.dtype[Any], pack: int,
) -> Kernel:  # fmt: skip
    """The kernel that copies what lies in these steps to a contiguous array."""
    return _kernel(_AS_IT_IS, (source,), dimensions[1:], (steps,), result, offset, pack)


def fill(array: Any, value: np.ndarray[Any, Any]) -> None:
    """Write one number, which travels with the launch, to every place of a device's array."""
    bits = int.from_bytes(value.tobytes(), "little")
    _fill(f"uint{8 * array.dtype.itemsize}")(
        divide_up(array.size, 256), array, np.uint64(bits), np.int64(array.size)
    )


@cache
def _fill(bits: str) -> Kernel:
    return Kernel(_FILL, "fill", {"Bits": bits})


@cache
def _pointwise(
    program: Program,
    dtypes: tuple[np.dtype[Any] | None, ...],
    shapes: tuple[tuple[int, ...], ...],
    result: np.dtype[Any],
) -> Callable[..., Any]:
    import cupy

    shape = np.broadcast_shapes(*shapes)
    size = prod(shape)
    dimensions, strides = collapse(shape, shapes)
    inner = dimensions[-1] if dimensions else 1
    arrays = [dtype for dtype in dtypes if dtype is not None]
    widest = max(dtype.itemsize for dtype in (*arrays, result))
    pack = max(1, 16 // widest)
    while len(dimensions) > 1 and inner % pack:
        pack //= 2
    offset = offset_type(size)
    kernels = {
        each: _kernel(program, dtypes, dimensions[1:], strides, result, offset, each)
        for each in {pack, 1}
    }
    last = offset.type(size)

    def run(*inputs: Any) -> Any:
        y = cupy.empty(shape, result)
        aligned = all(x.data.ptr % 16 == 0 for x in inputs if not isinstance(x, float | int))
        wide = pack if aligned else 1
        given = [float(x) if isinstance(x, float | int) else x for x in inputs]
        kernels[wide](divide_up(size, 256 * wide), *given, y, last)
        return y

    return run


@cache
def _kernel(
    program: Program,
    dtypes: tuple[np.dtype[Any] | None, ...],
    inner: tuple[int, ...],
    strides: tuple[tuple[int, ...], ...],
    result: np.dtype[Any],
    offset: np.dtype[Any],
    pack: int,
) -> Kernel:
    """One kernel; the size of the outermost dimension is not in it."""
    text, places = pointwise_text(program, dtypes, (0, *inner), strides, c_type(offset))
    constants: dict[str, Constant] = {
        "Number": number_type(dtypes, result), "Result": c_type(result),
        "Offset": c_type(offset), "pack": pack,
    }  # fmt: skip
    return Kernel(text, "pointwise", {**constants, **places})


def pointwise_text(
    program: Program,
    dtypes: Sequence[np.dtype[Any] | None],
    dimensions: Sequence[int],
    strides: Sequence[Sequence[int]],
    offset: str,
) -> tuple[str, dict[str, str]]:
    """The source of a kernel, and the members of its Spec that place the operands."""
    parameters, loads, lines, places = [], [], [], {}
    contiguous, short = _c_strides(dimensions), _is_short(dtypes)
    for name, dtype, steps in zip(program.inputs, dtypes, strides, strict=True):
        if dtype is None:
            parameters.append(f"double {name}_number")
            loads.append(f"const N {name}_ = N({name}_number);")
            continue
        parameters.append(f"const {c_type(dtype)}* __restrict__ {name}_array")
        kind = "bool" if dtype.kind == "b" else "N"
        if name not in program.used:
            continue
        if not any(steps):
            loads.append(f"const {kind} {name}_ = {kind}(widen({name}_array[0]));")
            continue
        place = "at"
        if list(steps) != contiguous:
            dims = list(zip(dimensions, steps, strict=True))
            places[f"{name}_at"] = decode(f"{name}_at", dims, offset)
            place = f"Spec::{name}_at(at)"
        if steps[-1]:
            loads.append(f"const auto {name}_pack = load_part<pack>({name}_array + {place}, left);")
            lines.append(f"const {kind} {name}_ = {kind}(widen({name}_pack[i]));")
        else:  # the same for the whole pack
            loads.append(f"const {kind} {name}_ = {kind}(widen({name}_array[{place}]));")
    lines += [f"const auto {name}_ = {cuda_text(tree, short)};" for name, tree in program.parts]
    text = _TEXT.replace("PARAMETERS", ", ".join(parameters))
    text = text.replace("LOADS", "\n".join(f"    {each}" for each in loads))
    text = text.replace("LINES", "\n".join(f"        {each}" for each in lines))
    return text.replace("RESULT", cuda_text(program.result, short)), places


def _is_short(dtypes: Sequence[np.dtype[Any] | None]) -> bool:
    """Whether all operands that are arrays are floats of 16 bits."""
    known = [each for each in dtypes if each is not None]
    return bool(known) and all(each.itemsize == 2 and each.kind in "fV" for each in known)


def number_type(dtypes: Sequence[np.dtype[Any] | None], result: np.dtype[Any]) -> str:
    """What a program over these types computes in."""
    known = [each for each in dtypes if each is not None]
    floats = [each for each in (*known, result) if each.kind in "fV"]
    if floats:
        return "double" if max(each.itemsize for each in floats) == 8 else "float"
    integers = [each for each in known if each.kind in "iu"]
    if any(each.kind == "u" and each.itemsize == 8 for each in integers):
        return "uint64"
    return "int64"


def collapse(
    shape: tuple[int, ...], shapes: Sequence[tuple[int, ...]]
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Dimensions of the output, as few as will do, and each operand's strides along them.

    Operands are contiguous; a dimension that one of them broadcasts over has the stride 0.

    >>> collapse((8, 3, 5, 5), [(8, 3, 5, 5), (3, 1, 1)])
    ((8, 3, 25), ((75, 25, 1), (0, 1, 0)))
    """
    full = [(1,) * (len(shape) - len(each)) + tuple(each) for each in shapes]
    dimensions: list[int] = []
    spans: list[tuple[bool, ...]] = []  # which operands have each dimension
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        span = tuple(each[axis] != 1 for each in full)
        if spans and spans[-1] == span:
            dimensions[-1] *= size
        else:
            dimensions.append(size)
            spans.append(span)
    strides = []
    for operand in range(len(shapes)):
        steps, step = [0] * len(dimensions), 1
        for i in reversed(range(len(dimensions))):
            if spans[i][operand]:
                steps[i] = step
                step *= dimensions[i]
        strides.append(tuple(steps))
    return tuple(dimensions), tuple(strides)


def _c_strides(dimensions: Sequence[int]) -> list[int]:
    steps, step = [], 1
    for size in reversed(dimensions):
        steps.append(step)
        step *= size
    return steps[::-1]
