"""Checks of ops, your own included: gradients against differences, kernels against each other.

    from autograph.testing import check_op

    check_op(swish)

Everything is checked on the op's samples, and a failure is an AssertionError that names the op,
the sample and both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import ops
from .backends import NUMPY, REFERENCE, Backend, enabled, using
from .device import Device
from .errors import NoKernelError, ScalarTypeError, ShapeError
from .op import REGISTRY, Op, signature_of
from .ops.pointwise import Pointwise
from .platforms import PLATFORMS
from .scalar_type import F64, ScalarType
from .tensor import Tensor

Sample = tuple[tuple[Any, ...], dict[str, Any]]

# How far a kernel may be from float64, as a share of the value or of the largest beside it.
TOLERANCES = {
    ScalarType.F16: 2e-3,
    ScalarType.BF16: 1.6e-2,
    ScalarType.F32: 1e-5,
    ScalarType.F64: 1e-7,
}
INTEGERS = ScalarType.U8, ScalarType.I32
GRADIENTS = {"dy", "ddy", "ddx"}  # inputs by these names are gradients, which are never integers
SMALL = 0.1  # values below it are compared as if they were as large: what is left of a cancelled sum
STEP = 2e-4  # of differences of the fourth order: their error is about STEP ** 4

_derived: set[str] = set()


def check_op(op: Op, seed: int = 0) -> None:
    """Check every gradient rule and every enabled kernel of `op` on its samples.

    Gradients are compared with differences in float64. Kernels are compared with the reference,
    or NumPy, in float64: values in every scalar type, outlines, strided inputs; and an input
    may change only if the op says that it writes it.
    """
    if not samples_of(op, seed):
        raise AssertionError(f"check_op: {op.name} has no samples\n  write  @{op.name}.sampled_by")
    compare_kernels(op, seed=seed)
    check_gradients(op, seed)


def all_ops() -> list[Op]:
    """Every registered op, with those that pointwise ops derive as their gradients, which get
    samples from the op that they are derived from."""
    for op in list(REGISTRY.values()):
        if isinstance(op, Pointwise) and op.samples is not None and op.name not in _derived:
            for rule in op.gradients:
                for position in rule.positions or ():
                    _derive(op, op.inputs[position])
    return list(REGISTRY.values())


def _derive(op: Pointwise, name: str) -> None:
    found, names = op.gradient_of(name)
    if found is None or found.samples is not None:
        return

    def samples(rng: np.random.Generator) -> Iterator[Sample]:
        assert op.samples is not None
        for arrays, settings in op.samples(rng):
            y = op(*arrays, **settings)
            if y.dtype.kind == "f":
                given = dict(zip(op.inputs, arrays, strict=True))
                y = np.where(y == 0, 0.02, y)  # relu's gradient is a step where y is 0
                kept = [given.get(each, y) for each in names]
                yield (rng.normal(size=y.shape), *kept), settings

    found.sampled_by(samples)
    _derived.add(found.name)


def samples_of(op: Op, seed: int = 0) -> list[Sample]:
    """The samples of an op, the same for the same seed; what NumPy made a scalar is 0-d again."""
    if op.samples is None:
        return []
    return [
        (tuple(np.asarray(a) if isinstance(a, np.generic) else a for a in arrays), settings)
        for arrays, settings in op.samples(np.random.default_rng(seed))
    ]


# -- Gradients -----------------------------------------------------------------------


def check_gradients(
    op: Op, seed: int = 0, where: Callable[[dict[str, Any]], bool] = lambda settings: True
) -> None:
    """Check the gradient rules of an op on its samples, those whose settings are chosen."""
    if not op.gradients or op.writes:
        return
    for i, (arrays, settings) in enumerate(samples_of(op, seed)):
        wrt = [at for at in differentiable(op, len(arrays)) if _is_float(arrays[at])]
        if wrt and where(settings):
            check_gradient(
                lambda *inputs, settings=settings: op(*inputs, **settings),
                arrays,
                wrt=wrt,
                seed=seed,
                name=f"{op.name}, sample {i} of {shown(arrays, settings)}",
            )


def differentiable(op: Op, count: int) -> list[int]:
    """The positions of the inputs that have a gradient rule."""
    if any(rule.positions is None for rule in op.gradients):
        return list(range(count))
    found = {at for rule in op.gradients for at in rule.positions or ()}
    return sorted(at for at in found if at < count)


def check_gradient(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    wrt: Sequence[int] | None = None,
    seed: int = 0,
    step: float = STEP,
    tolerance: float = 1e-7,
    name: str = "",
) -> None:
    """Check the gradients of a function of tensors against central differences in float64.

    `inputs` are arrays, tensors or whatever else the function takes; `wrt` chooses some of those
    that hold floats. The values should lie further than four `step` from every kink.

    >>> check_gradient(lambda x, y: (x * y).sum(), [[1.0, 2.0], [3.0, 4.0]])
    """
    rng = np.random.default_rng(seed)
    name = name or getattr(function, "__name__", "function")
    arrays = [_wide(each) for each in inputs]
    chosen = [i for i, each in enumerate(arrays) if _is_float(each)] if wrt is None else list(wrt)
    tensors = [
        Tensor(each, requires_grad=i in chosen) if isinstance(each, np.ndarray) else each
        for i, each in enumerate(arrays)
    ]
    outputs = [each for each in _tuple(function(*tensors)) if each.scalar_type is F64]
    seeds = [rng.normal(size=each.shape) for each in outputs]
    recorded = [(y, dy) for y, dy in zip(outputs, seeds, strict=True) if y.requires_grad]
    if len(recorded) == 1:
        recorded[0][0].backward(recorded[0][1])
    elif recorded:
        parts = [ops.sum(ops.multiply(y, Tensor(dy))) for y, dy in recorded]
        for part in parts[1:]:
            parts[0] = ops.add(parts[0], part)
        parts[0].backward()

    def weighted(at: int, moved: np.ndarray[Any, Any]) -> float:
        """The sum of all outputs times their seeds, with one input moved."""
        given = [
            Tensor(moved if i == at else each) if isinstance(each, np.ndarray) else each
            for i, each in enumerate(arrays)
        ]
        values = [y for y in _tuple(function(*given)) if y.scalar_type is F64]
        return float(sum((y.numpy() * dy).sum() for y, dy in zip(values, seeds, strict=True)))

    def difference(at: int, way: np.ndarray[Any, Any]) -> float:
        """Along a way, of the fourth order."""
        near = weighted(at, arrays[at] + step * way) - weighted(at, arrays[at] - step * way)
        far = weighted(at, arrays[at] + 2 * step * way) - weighted(at, arrays[at] - 2 * step * way)
        return (8 * near - far) / (12 * step)

    for at in chosen:
        gradient = tensors[at].grad
        found = np.zeros(arrays[at].shape) if gradient is None else gradient.numpy()
        if found.shape != arrays[at].shape:
            raise AssertionError(
                f"{name}: the gradient of input {at} has another shape\n"
                f"  input     {arrays[at].shape}\n  gradient  {found.shape}"
            )
        way = rng.normal(size=found.shape)
        expected = difference(at, way)
        size = max(1.0, float(np.abs(found * way).sum()))
        if not abs(float((found * way).sum()) - expected) <= tolerance * size:
            _check_elements(name, at, found, lambda way, at=at: difference(at, way), tolerance)


def _check_elements(
    name: str,
    at: int,
    found: np.ndarray[Any, Any],
    difference: Callable[..., float],
    tolerance: float,
) -> None:
    """Check element by element, which moves less: a way through all may have crossed a kink."""
    numeric = np.empty(found.shape)
    for place in np.ndindex(found.shape):
        unit = np.zeros(found.shape)
        unit[place] = 1.0
        numeric[place] = difference(unit)
    apart = np.where(np.isfinite(found), np.abs(found - numeric), np.inf)
    if (apart <= tolerance * np.maximum(1.0, np.abs(numeric))).all():
        return
    place = np.unravel_index(int(np.argmax(apart)), found.shape)
    raise AssertionError(
        f"{name}: the gradient of input {at} is wrong\n"
        f"  at           {tuple(map(int, place))} of {found.shape}\n"
        f"  rule         {found[place]:.9g}\n"
        f"  differences  {numeric[place]:.9g}"
    )


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _wide(value: Any) -> Any:
    """Floats as a float64 array, everything else as it is."""
    if isinstance(value, Tensor):
        value = value.numpy()
    if isinstance(value, list):
        value = np.array(value)
    floating = isinstance(value, np.ndarray) and ScalarType.of(value).is_float
    return value.astype(np.float64) if floating else value


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and ScalarType.of(value).is_float


# -- Kernels -------------------------------------------------------------------------


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
    wide = [_wide(each) for each in arrays]
    yield Case("as given", list(arrays), wide)
    promoted = set(op.promoted_positions(len(arrays)))
    plain = op.promotes == ""
    changed = [
        i
        for i, each in enumerate(arrays)
        if _is_float(each) and (each.ndim > 0 if plain else i in promoted)
    ]
    if not changed:
        return
    narrow: dict[ScalarType, list[Any]] = {}
    whole = () if GRADIENTS.intersection(op.inputs) else INTEGERS
    for scalar_type in (ScalarType.F32,) if plain else (*TOLERANCES, *whole):
        narrow[scalar_type] = [
            _converted(each, scalar_type) if i in changed else each
            for i, each in enumerate(arrays)
        ]
        exact = not scalar_type.is_float
        side = narrow[scalar_type] if exact else [_wide(each) for each in narrow[scalar_type]]
        yield Case(f"in {scalar_type}", narrow[scalar_type], side)
    single = narrow[ScalarType.F32]
    strided = [
        _strided(each) if isinstance(each, np.ndarray) and name not in op.writes else each
        for name, each in zip(op.names_of(single), single, strict=True)
    ]
    yield Case("in f32, strided", strided, [_wide(each) for each in single])


def _converted(array: np.ndarray[Any, Any], scalar_type: ScalarType) -> np.ndarray[Any, Any]:
    if scalar_type.is_float:
        return array.astype(scalar_type.dtype)
    return np.abs(np.rint(np.clip(4 * array, -100, 100))).astype(scalar_type.dtype)


def _strided(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same values in memory that runs backwards along the first axis, with holes in the last."""
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
                return _run(op, [_copy(each) for each in case.wide], settings)
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
    results = op.run(plan, arrays)[1]
    answers = list(_tuple(results)) if plan.outputs else []
    for outline, y in zip(plan.outputs, answers, strict=True):
        if ScalarType.of(y) is not outline.scalar_type or not (op.dynamic or y.shape == outline.shape):
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
    arrays = [_copy(each) if isinstance(each, np.ndarray) else each for each in case.arrays]
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


def _copy(value: Any) -> Any:
    """A copy that lies in memory as the array does."""
    if not isinstance(value, np.ndarray):
        return value
    return value.copy() if value.flags.c_contiguous else _strided(value)


def _compare(place: str, found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    """Refuse values that are too far apart for their scalar type, or NaN in other places."""
    tolerance = TOLERANCES.get(ScalarType.of(found), 0.0)
    if found.shape != expected.shape:
        raise AssertionError(f"{place} differs\n  found     {found.shape}\n  expected  {expected.shape}")
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


def shown(arrays: Sequence[Any], settings: dict[str, Any]) -> str:
    """A sample in a line."""
    inputs = [
        f"{ScalarType.of(each)} {each.shape}" if isinstance(each, np.ndarray) else repr(each)
        for each in arrays
    ]
    return ", ".join([*inputs, *(f"{name}={value!r}" for name, value in settings.items())])
