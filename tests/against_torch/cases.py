"""Random inputs in every layout, and the comparison of one case with PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from autograph import Tensor
from autograph.scalar_type import ScalarType

# rtol and atol from PyTorch's result in float64
TOLERANCES = {
    "f64": (1e-7, 1e-7),
    "f32": (1.3e-6, 1e-5),
    "f16": (1e-3, 1e-5),
    "bf16": (1.6e-2, 1e-5),
}
FLOATS = tuple(TOLERANCES)
WHOLE = "u8", "i8", "i16", "i32", "i64"
TORCH_TYPES = {
    "f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16,
    "u8": torch.uint8, "i8": torch.int8, "i16": torch.int16, "i32": torch.int32,
    "i64": torch.int64, "bool": torch.bool,
}  # fmt: skip


class Row(NamedTuple):
    """An op beside its twin: `draw(rng)` gives the inputs and the settings of both.

    Inputs that are arrays of float64 take the scalar type of the case; numbers, arrays of other
    types and None stay as they are. `values`: only values are compared, where gradients are not
    defined or (with a reason in the table) differ.
    """

    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    draw: Callable[[np.random.Generator], tuple[Sequence[Any], dict[str, Any]]]
    types: tuple[str, ...] = FLOATS
    values: bool = False
    other_type: bool = False  # of the result, on purpose


def shape_of(rng: np.random.Generator, least: int = 0, most: int = 3) -> tuple[int, ...]:
    """A shape of few axes, one in eight of which is empty."""
    sizes = [0 if rng.random() < 0.05 else int(rng.integers(1, 6)) for _ in range(most)]
    return tuple(sizes[: rng.integers(least, most + 1)])


def broadcast_shapes(rng: np.random.Generator, count: int) -> Iterator[tuple[int, ...]]:
    """Shapes that broadcast together."""
    whole = shape_of(rng)
    for _ in range(count):
        shape = [1 if rng.random() < 0.2 else size for size in whole]
        yield tuple(shape[int(rng.integers(0, len(shape) + 1)) if rng.random() < 0.3 else 0 :])


def laid_out(rng: np.random.Generator, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same values in one of several layouts."""
    if array.ndim == 0 or array.size < 2:
        return array.copy()
    match int(rng.integers(0, 5)):
        case 0:
            return np.asfortranarray(array)
        case 1:
            room = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
            room[..., ::2] = array
            return room[..., ::2]
        case 2:
            return array[::-1].copy()[::-1]
        case 3 if array.shape[0] > 1 and (array[:1] == array).all():
            return np.broadcast_to(array[:1], array.shape)
    return array.copy()


def torch_of(array: np.ndarray[Any, Any], name: str) -> torch.Tensor:
    """A torch tensor of the values, of this scalar type."""
    if name in ("f16", "bf16"):
        return torch.tensor(array.astype(np.float32)).to(TORCH_TYPES[name])
    return torch.tensor(array.copy()).to(TORCH_TYPES[name])


def array_of(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """The values, bfloat16 as float32."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()


def rounded(array: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """As `torch_of` rounds: PyTorch makes halves of float64 through float32."""
    return (array.astype(np.float32) if dtype.itemsize == 2 else array).astype(dtype)


def several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple | list) else [value]


class Case(NamedTuple):
    """One run of both sides on the same inputs."""

    row: Row
    inputs: Sequence[Any]
    settings: dict[str, Any]
    scalar_type: str

    def ours(self, rng: np.random.Generator) -> list[Tensor | None]:
        """Outputs, then gradients of the float inputs."""
        dtype = ScalarType(self.scalar_type).dtype
        given: list[Any] = []
        for each in self.inputs:
            if isinstance(each, np.ndarray):
                changed = rounded(each, dtype) if each.dtype == np.float64 else each
                given.append(Tensor.borrow(laid_out(rng, changed)))
            else:
                given.append(each)
        leaves = [t for t in given if isinstance(t, Tensor) and t.scalar_type.is_float]
        before = [each.numpy().tobytes() for each in leaves]
        for each in leaves if not self.row.values else ():
            each.requires_grad = True
        outputs = several(self.row.ours(*given, **self.settings))
        found: list[Tensor | None] = list(outputs)
        if not self.row.values:
            deltas = self.deltas([each.shape for each in outputs])
            roots = [(y, dy) for y, dy in zip(outputs, deltas, strict=True) if y.requires_grad]
            for y, dy in roots:
                y.backward(Tensor(dy).cast(y.scalar_type), retain_graph=True)
            found += [each.grad for each in leaves]
        assert before == [each.numpy().tobytes() for each in leaves], "an input was changed"
        return found

    def theirs(self, scalar_type: str) -> list[torch.Tensor | None]:
        """The same in PyTorch, on the values rounded to the case's type."""
        given: list[Any] = []
        for each in self.inputs:
            if not isinstance(each, np.ndarray):
                given.append(each)
            elif each.dtype == np.float64:
                value = torch_of(each, self.scalar_type)
                given.append(value.to(TORCH_TYPES[scalar_type]))
            else:
                given.append(torch.tensor(each.copy()))
        leaves = [t for t in given if isinstance(t, torch.Tensor) and t.is_floating_point()]
        for each in leaves if not self.row.values else ():
            each.requires_grad = True
        outputs = several(self.row.theirs(*given, **self.settings))
        found: list[torch.Tensor | None] = list(outputs)
        if not self.row.values:
            deltas = self.deltas([tuple(each.shape) for each in outputs])
            for y, dy in zip(outputs, deltas, strict=True):
                if y.requires_grad:
                    delta = torch_of(dy, self.result_type(y, scalar_type)).to(y.dtype)
                    y.backward(delta, retain_graph=True)
            found += [each.grad for each in leaves]
        return found

    def result_type(self, y: torch.Tensor, scalar_type: str) -> str:
        """What dy is rounded to: the case's type where y has the type that stands for it."""
        if y.dtype is TORCH_TYPES[scalar_type]:
            return self.scalar_type
        return next(name for name, dtype in TORCH_TYPES.items() if dtype is y.dtype)

    def deltas(self, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray[Any, Any]]:
        rng = np.random.default_rng(1)
        return [rng.normal(size=shape) for shape in shapes]

    def check(self, rng: np.random.Generator, *, extremes: bool = False) -> None:
        """Refuse what is farther from PyTorch's result in float64 than the tolerance, farther than
        four times its own error in the case's type, and than that error and the tolerance."""
        floating = self.scalar_type in FLOATS
        reference = "f64" if floating and not extremes else self.scalar_type
        with np.errstate(all="ignore"):
            wanted = self.theirs(reference)
            answers = self.ours(rng)
        same = None
        for i, (answer, want) in enumerate(zip(answers, wanted, strict=True)):
            place = f"output {i} of {self}"
            if answer is None or want is None:
                value = want if answer is None else answer.numpy()
                assert value is None or not np.any(np.asarray(value)), (
                    f"a gradient is missing: {place}"
                )
                continue
            expected = array_of(want)
            found = answer.numpy()
            assert found.shape == expected.shape, f"{found.shape} is not {expected.shape}: {place}"
            rtol, atol = TOLERANCES.get(answer.scalar_type.value, (0.0, 0.0))
            with np.errstate(all="ignore"):
                wide = found.astype(np.float64)
                error = np.abs(wide - expected)
                size = np.abs(expected)
                close = (error <= atol + rtol * size) | (wide == expected)
                close |= np.isnan(wide) & np.isnan(expected)
                if not close.all() and floating:
                    same = self.theirs(self.scalar_type) if same is None else same
                    own = np.abs(array_of(same[i]).astype(np.float64) - expected)
                    own = np.nanmax(own, initial=0.0)
                    close |= error <= np.maximum(4 * own, own + atol + rtol * size)
                    close |= np.isinf(wide) & (wide == array_of(same[i]))  # f16 overflows in both
            assert close.all(), (
                f"{place}\n  at        {tuple(map(int, np.argwhere(~close)[0]))}\n"
                f"  found     {wide[~close][:4]}\n  expected  {expected[~close][:4]}"
            )
        self.check_types(answers)

    def check_types(self, answers: Sequence[Tensor | None]) -> None:
        """Results have PyTorch's scalar types, and gradients those of their inputs."""
        if self.row.other_type:
            return
        try:
            theirs = self.theirs(self.scalar_type)
        except (RuntimeError, NotImplementedError):
            return  # PyTorch does not take this type on the host
        for answer, want in zip(answers, theirs, strict=True):
            if answer is not None and want is not None:
                assert TORCH_TYPES[answer.scalar_type.value] is want.dtype, (
                    f"{answer.scalar_type} is not {want.dtype}: {self}"
                )

    def __str__(self) -> str:
        shown = [
            f"{each.dtype} {each.shape}" if isinstance(each, np.ndarray) else repr(each)
            for each in self.inputs
        ]
        name = getattr(self.row.ours, "name", getattr(self.row.ours, "__name__", "?"))
        return f"{name}({', '.join(shown)}, {self.settings}) in {self.scalar_type}"
