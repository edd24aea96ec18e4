"""Every op given inputs that do not fit: a program, because what is wrong may end the process.

Arrays lie beside pages that nobody may touch, so that a kernel that reads or writes beyond them
ends it. A line is printed for each call, and `wrong` before what is answered otherwise than the
outline says, or by the host engine otherwise than by NumPy.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from functools import partial
from math import prod
from typing import Any

import numpy as np

from autograph.backends import NATIVE, NUMPY, using
from autograph.errors import AutographError
from autograph.op import Op, signature_of
from autograph.testing import all_ops, samples_of
from autograph.testing.kernels import copy_of
from autograph.testing.samples import shown, tuple_of

CALLS = 4  # of each op
PAGE = mmap.PAGESIZE
SCALAR_TYPES = "bool", "u1", "i4", "i8", "f2", "f4", "f8"

plain_empty = np.empty


def guarded(shape: Any, dtype: Any = float, order: Any = "C", *, last: bool = True) -> Any:
    """`np.empty` that begins, or ends, where a page does that nobody may touch."""
    sizes = shape if isinstance(shape, tuple | list) else (shape,)
    dtype = np.dtype(dtype)
    size = prod(sizes) * dtype.itemsize
    if order != "C" or size <= 0 or size > 1 << 24:
        return plain_empty(shape, dtype, order)
    room = -(-size // PAGE) * PAGE
    memory = mmap.mmap(-1, room + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (start, start + PAGE + room):
        assert not ctypes.CDLL(None).mprotect(ctypes.c_void_p(page), PAGE, 0)
    return np.ndarray(sizes, dtype, memory, PAGE + (room - size if last else 0))


def changed(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The input with another size, number of axes, scalar type or layout."""
    at = int(rng.integers(max(x.ndim, 1)))
    match int(rng.integers(8)) if x.ndim else 7:
        case 4:
            return np.asarray(x[(0,) * (at + 1)]) if rng.random() < 0.5 else x[None]
        case 5:
            return np.resize(x, x.shape[::-1])
        case 6:
            return x[..., ::-1]
        case 7:
            return x.astype(rng.choice(SCALAR_TYPES))
    size = int(rng.choice([0, 1, x.shape[at] - 1, x.shape[at] + 1, 9 * x.shape[at]]))
    shape = *x.shape[:at], size, *x.shape[at + 1 :]
    return np.resize(x, shape) if size else np.zeros(shape, x.dtype)


def calls(op: Op, rng: np.random.Generator) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """The smallest sample with one input or another changed."""
    samples = [each for each in samples_of(op) if all(np.size(a) for a in each[0])]
    for arrays, settings in sorted(samples, key=lambda each: sum(map(np.size, each[0])))[:1]:
        given = [a.astype("f4") if getattr(a, "dtype", None) == "f8" else a for a in arrays]
        places = [at for at, each in enumerate(given) if isinstance(each, np.ndarray)]
        for at in rng.choice(places, CALLS if places else 0):
            yield [*given[:at], changed(given[at], rng), *given[at + 1 :]], settings


def results(op: Op, arrays: list[Any], settings: dict[str, Any], last: bool) -> list[Any] | str:
    """What is answered and written; or what kind of error there is, or what is wrong."""
    given = []
    for each in arrays:
        given.append(copy_of(each))
        if isinstance(each, np.ndarray) and each.flags.c_contiguous:
            given[-1] = guarded(each.shape, each.dtype, last=last)
            given[-1][...] = each
    np.empty = partial(guarded, last=last)
    try:
        plan = op.plan([signature_of(each) for each in given], settings)
        found = op.run(plan, given)[1]
    except (AutographError, ValueError, TypeError, IndexError, ZeroDivisionError):
        return "an error"
    finally:
        np.empty = plain_empty
    answers = [*tuple_of(found)] if plan.outputs else []
    for outline, y in zip(plan.outputs, answers, strict=True):
        if not op.dynamic and (y.shape, y.dtype) != (outline.shape, outline.scalar_type.dtype):
            return f"{y.dtype} {y.shape}, which is no {outline}"
    named = zip(op.names_of(given), given, strict=True)
    return answers + [array for name, array in named if name in op.writes and array is not None]


def same(a: list[Any] | str, b: list[Any] | str) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return a == b == "an error"
    wide = [(np.asarray(x, "f8"), np.asarray(y, "f8")) for x, y in zip(a, b, strict=True)]
    return all(
        np.allclose(x, y, 1e-2, 1e-2 * np.abs(x[np.isfinite(x)]).max(initial=1), equal_nan=True)
        for x, y in wide
    )


def main() -> None:
    for op in all_ops():
        rng = np.random.default_rng([*op.name.encode()])
        for arrays, settings in calls(op, rng):
            print(op.name, shown(arrays, settings), flush=True)
            last = bool(rng.integers(2))
            with using(NUMPY):
                expected = results(op, arrays, settings, last)
            with using(NUMPY, NATIVE):
                found = results(op, arrays, settings, last)
            if not same(expected, found):
                print("wrong", op.name, shown(arrays, settings), "\n ", expected, "\n ", found)


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        main()
