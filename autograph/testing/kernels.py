"""Kernels against the reference, or NumPy, in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backends import NUMPY, REFERENCE, Backend, enabled, using
from ..device import Device
from ..errors import NoKernelError, ScalarTypeError, ShapeError
from ..op import Op, signature_of
from ..platforms import PLATFORMS
from ..scalar_type import ScalarType
from .samples import is_float, samples_of, shown, tuple_of, wide

# How far a kernel may be from float64, as a share of the value or of the largest beside it.
TOLERANCES = {
    ScalarType.F16: 2e-3,
    ScalarType.BF16: 1.6e-2,
    ScalarType.F32: 1e-5,
    ScalarType.F64: 1e-7,
}
INTEGERS = ScalarType.U8, ScalarType.I32
GRADIENTS = {"dy", "ddy", "ddx"}  # inputs by these names are gradients, which are never integers
SMALL = 0.1  # smaller values are compared as if they were as large: the rest of a cancelled sum


class Case(NamedTuple):
    """A sample in one scalar type, and the same values for the side that it is compared with."""

    label: str
    arrays: list[Any]
    wide: list[Any]


def compare_kernels(
    op: Op, *, backends: Sequence[Backend] | None = None, seed: int = 0
) -> dict[str, int]:
    """Check the kernels of an op against the reference, or NumPy, in float64.

    Answers how many runs each backend had: none where its kernels take none of the samples.
    """
    runs: dict[str, int] = {}
    chosen = kernel_backends(op) if backends is None else backends
    for i, (arrays, settings) in enumerate(samples_of(op, seed)):
        for case in cases_of(op, arrays):
            expected = _expected(op, case, settings)
            if expected is None:
                continue
            for backend in chosen:
                place = (
                    f"{op.name}, {backend} kernel, sample {i} {case.label} "
                    f"of {shown(case.arrays, settings)}"
                )
                ran = _run_case(op, backend, case, settings, expected, place)
                runs[backend.name] = runs.get(backend.name, 0) + ran
    return runs


def kernel_backends(op: Op) -> list[Backend]:
    """The backends whose kernels of an op can run here, the reference included."""
    with using(REFERENCE):
        op.candidates("host")  # loads the reference
    kinds = [kind for kind, platform in PLATFORMS.items() if platform.count()]
    found = [kernel.backend for kind in kinds for kernel in op.candidates(kind)]
    return [each for each in dict.fromkeys(found) if enabled(each) or each is REFERENCE]


def cases_of(op: Op, arrays: Sequence[Any]) -> Iterator[Case]:
    """A sample as it is, in other scalar types, and with strided inputs.

    What an op promotes may have any scalar type. An op that promotes nothing, as an optimizer's
    step, has types of its own: there only arrays with axes change, and to f32 alone.
    """
    yield Case("as given", list(arrays), [wide(each) for each in arrays])
    promoted = set(op.promoted_positions(len(arrays)))
    plain = op.promotes == frozenset()
    changed = [
        i
        for i, each in enumerate(arrays)
        if is_float(each) and (each.ndim > 0 if plain else i in promoted)
    ]
    if not changed:
        return
    narrow: dict[ScalarType, list[Any]] = {}
    whole = () if GRADIENTS.intersection(op.inputs) else INTEGERS
    for scalar_type in (ScalarType.F32,) if plain else (*TOLERANCES, *whole):
        narrow[scalar_type] = [
            _converted(each, scalar_type) if i in changed else each for i, each in enumerate(arrays)
        ]
        exact = not scalar_type.is_float
        side = narrow[scalar_type] if exact else [wide(each) for each in narrow[scalar_type]]
        yield Case(f"in {scalar_type}", narrow[scalar_type], side)
    single = narrow[ScalarType.F32]
    strided = [
        _strided(each) if isinstance(each, np.ndarray) and name not in op.writes else each
        for name, each in zip(op.names_of(single), single, strict=True)
    ]
    yield Case("in f32, strided", strided, [wide(each) for each in single])


def _converted(array: np.ndarray[Any, Any], scalar_type: ScalarType) -> np.ndarray[Any, Any]:
    if scalar_type.is_float:
        return array.astype(scalar_type.dtype)
    whole = np.abs(np.rint(np.clip(4 * array, -100, 100)))
    return np.asarray(whole).astype(scalar_type.dtype)


def _strided(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same values in memory that runs backwards along the first axis, holes in the last."""
    if array.ndim == 0 or array.size < 2:
        return array
    room = np.empty((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    view = room[::-1, ..., ::2] if array.ndim > 1 else room[::2]
    view[...] = array
    return view


def _expected(op: Op, case: Case, settings: dict[str, Any]) -> list[Any] | None:
    """What the kernel should answer; None for a scalar type that the op does not take."""
    for backend in (REFERENCE, NUMPY):
        try:
            with using(backend):
                op.plan([signature_of(each) for each in case.arrays], settings)  # may refuse
                return _run(op, [copy_of(each) for each in case.wide], settings)
        except NoKernelError:
            continue
        except (ScalarTypeError, ShapeError):
            if case.label == "as given":
                raise
            return None
    return None


def _run(op: Op, arrays: list[Any], settings: dict[str, Any]) -> list[Any]:
    """All that a kernel answers and saves, then what it wrote, checked against the outlines."""
    plan = op.plan([signature_of(each) for each in arrays], settings)
    plan.kernel = getattr(plan.kernel, "unchecked", plan.kernel)  # it is checked here
    results = op.run(plan, arrays)[1]
    answers = list(tuple_of(results)) if plan.outputs else []
    for outline, y in zip(plan.outputs, answers, strict=True):
        fits = op.dynamic or y.shape == outline.shape
        if ScalarType.of(y) is not outline.scalar_type or not fits:
            raise AssertionError(
                f"{op.name}: an output is not like its outline\n"
                f"  outline  {outline.scalar_type} {outline.shape}\n"
                f"  output   {ScalarType.of(y)} {y.shape}"
            )
    written = [a for n, a in zip(op.names_of(arrays), arrays, strict=True) if n in op.writes]
    return answers + [each for each in written if each is not None]


def _run_case(
    op: Op,
    backend: Backend,
    case: Case,
    settings: dict[str, Any],
    expected: list[Any],
    place: str,
) -> bool:
    """Run one kernel and compare; False where it does not take these inputs."""
    device = Device(backend.kind)
    arrays = [copy_of(each) if isinstance(each, np.ndarray) else each for each in case.arrays]
    placed = [device.put(each) if isinstance(each, np.ndarray) else each for each in arrays]
    try:
        with using(backend):
            answers = _run(op, placed, settings)
    except NoKernelError:
        return False
    except AssertionError as error:
        error.add_note(f"  in  {place}")
        raise
    for name, before, after in zip(op.names_of(arrays), case.arrays, placed, strict=True):
        if isinstance(before, np.ndarray) and name not in op.writes:
            host = device.platform.get(after)
            if before.tobytes() != host.tobytes():
                raise AssertionError(f"{place}: {name} was changed\n  write  writes={name!r}")
    for i, (wanted, answer) in enumerate(zip(expected, answers, strict=True)):
        _compare(f"{place}: output {i}", device.platform.get(answer), np.asarray(wanted))
    return True


def copy_of(value: Any) -> Any:
    """A copy that lies in memory as the array does."""
    if not isinstance(value, np.ndarray):
        return value
    return value.copy() if value.flags.c_contiguous else _strided(value)


def _compare(place: str, found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    """Refuse values that are too far apart for their scalar type, or NaN in other places."""
    tolerance = TOLERANCES.get(ScalarType.of(found), 0.0)
    if found.shape != expected.shape:
        raise AssertionError(
            f"{place} differs\n  found     {found.shape}\n  expected  {expected.shape}"
        )
    got, want = found.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(want)
    size = np.maximum(np.abs(np.where(finite, want, 0.0)), SMALL)
    allowed = tolerance * np.maximum(size, size.max(initial=SMALL))
    with np.errstate(invalid="ignore"):
        close = np.where(finite, np.abs(got - want) <= allowed, got == want)
        close |= np.isnan(got) & np.isnan(want)
    if not close.all():
        at = tuple(map(int, np.argwhere(~close)[0]))
        raise AssertionError(
            f"{place} differs in {int((~close).sum())} of {close.size} elements\n"
            f"  at        {at}\n  found     {got[at]:.9g}\n  expected  {want[at]:.9g}"
        )
