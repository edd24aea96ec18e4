"""Plan: how an op runs for one signature, worked out once and looked up from then on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .backends import NATIVE, Backend, enabled
from .device import HOST, Device
from .errors import (
    DeviceError,
    MemoryLimitError,
    NoKernelError,
    ScalarTypeError,
    SettingsError,
    ShapeError,
)
from .later import at_once
from .outline import CHANNELS_LAST, NUMBER, STRIDED, Outline
from .promised import checked_once, is_ours
from .scalar_type import F32, ScalarType, promote_operands

if TYPE_CHECKING:
    from .op import Op

Signature = Outline | type | None  # of an input: an array's outline, a number's type, or absent


class Plan:
    """The outlines, settings, preparation and kernel of one signature of an op."""

    __slots__ = (
        "casts",
        "direct",
        "exact",
        "given",
        "inputs",
        "kernel",
        "native",
        "outputs",
        "prepare",
        "recipes",
        "result",
        "results",
        "settings",
        "settled",
        "short",
        "written",
    )

    given: Sequence[Signature]
    inputs: tuple[Outline | None, ...]  # after preparation; a number is a 0-d outline
    outputs: tuple[Outline, ...]  # the op's own, then what it saves for its gradients
    settings: dict[str, Any]
    prepare: tuple[Callable[[Any], Any] | None, ...] | None
    casts: tuple[ScalarType | None, ...] | None  # what inputs were, where some are changed
    kernel: Callable[..., Any]  # of prepared arrays; it has the settings already
    native: bool  # whether the kernel is nothing but launches of the host engine, or other ops
    direct: int  # how many inputs the kernel takes as they are; -1 where they are prepared
    exact: bool  # whether it gets arrays that lie as `inputs` says: numbers at most are prepared
    recipes: dict[int, Any]  # how it is recorded, by which inputs are (1, 2, 4, ... each)
    settled: bool  # whether equal signatures give results that lie alike in memory
    results: list[Outline] | None  # how they lie, once seen
    result: Outline | None  # the one there is, where nothing is written
    written: list[int]  # the inputs that it writes
    short: int  # how many inputs it takes the short way; 0 where it never goes that

    def __init__(self, op: Op, given: Sequence[Signature], settings: Mapping[str, Any]) -> None:
        names = op.names_of(given)
        device = _device_of(op, names, given)
        self.recipes, self.result, self.results, self.short = {}, None, None, 0
        self.settings = op.complete(settings)
        self.inputs, casts = promoted(op, given, device)
        self.casts = casts if any(casts) else None
        self.outputs = outlined(op, self.inputs, self.settings)
        if device is None:
            device = self.outputs[0].device if self.outputs else HOST
        found = find_kernel(op, self.inputs, self.settings, device)
        self.given = given
        self.written = [at for at in op.written if at < len(given) and given[at] is not None]
        self.native = found.launches or found.function is op.parts
        self.kernel = found.bind(self.inputs, self.outputs, self.settings)
        around = getattr(device.platform, "around", None)  # the host has none
        if around is not None:
            self.kernel = around(self.kernel, device.index)
        self.prepare = _preparation(op, names, given, self.inputs, found)
        self.direct = len(self.inputs) if self.prepare is None else -1
        self.exact = all(
            step is None or isinstance(before, type)
            for step, before in zip(self.prepare or (), given, strict=False)
        )
        self.settled = not op.dynamic and all(
            not isinstance(each, Outline) or each.layout != STRIDED for each in given
        )
        if self.outputs and not op.writes and all(each.size == 0 for each in self.outputs):
            self.kernel = _empty(self.outputs)
        elif self.settings and not found.made:
            self.kernel = partial(self.kernel, **self.settings)
        if not is_ours(found.function):
            self.kernel = partial(at_once, self.kernel)
            if self.outputs and not op.dynamic:
                self.kernel = checked_once(self, op.name)

    def __copy__(self) -> Plan:
        """For somebody who puts a kernel of their own into it: it knows no results, and so its op
        does not go the short way."""
        twin = object.__new__(Plan)
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.recipes, twin.result, twin.results = {}, None, None
        twin.short, twin.settled = 0, False
        return twin


def promoted(
    op: Op, given: Sequence[Signature], device: Device | None
) -> tuple[tuple[Outline | None, ...], tuple[ScalarType | None, ...]]:
    """The inputs' outlines in their common scalar type, and the types that are changed."""
    group = [i for i in op.promoted_positions(len(given)) if given[i] is not None]
    full = [g.scalar_type for i in group if isinstance(g := given[i], Outline) and g.shape]
    zero = [g.scalar_type for i in group if isinstance(g := given[i], Outline) and not g.shape]
    numbers: list[ScalarType | type] = [g for i in group if isinstance(g := given[i], type)]
    common = None
    if full or zero or numbers:
        common = promote_operands(full or zero, numbers + (list(zero) if full else []))
        if op.floats and not common.is_float:
            common = F32
    outlines: list[Outline | None] = []
    casts: list[ScalarType | None] = []
    for i, each in enumerate(given):
        cast = None
        if isinstance(each, type):
            natural = {bool: ScalarType.BOOL, int: ScalarType.I64, float: F32}[each]
            wanted = common if i in group and common is not None else natural
            outlines.append(Outline((), wanted, device or HOST, NUMBER))
        elif each is not None and i in group and each.scalar_type is not common:
            cast = each.scalar_type
            outlines.append(each.like(scalar_type=common))
        else:
            outlines.append(each)
        casts.append(cast)
    return tuple(outlines), tuple(casts)


def outlined(
    op: Op, inputs: Sequence[Outline | None], settings: Mapping[str, Any]
) -> tuple[Outline, ...]:
    """What the op's outline rule answers; elementwise where it has none."""
    if op.outline is None:
        return (broadcast_outline(op, inputs),) if op.outputs else ()
    found = op.outline(*inputs, **settings)
    return found if isinstance(found, tuple) else (found,)


def broadcast_outline(op: Op, inputs: Sequence[Outline | None]) -> Outline:
    """The first input's scalar type and device, in the shape that all inputs broadcast to."""
    present = [each for each in inputs if each is not None]
    try:
        shape = np.broadcast_shapes(*[each.shape for each in present])
    except ValueError:
        sides = "\n".join(
            f"  {name:<8}{each.shape}"
            for name, each in zip(op.names_of(inputs), inputs, strict=True)
            if each is not None
        )
        raise ShapeError(f"{op.name}: shapes do not broadcast\n{sides}") from None
    return present[0].like(shape=shape)


class FoundKernel:
    """A kernel of a backend, and what it takes."""

    __slots__ = (
        "backend", "function", "halves", "launches", "made", "out", "strided", "when",
    )  # fmt: skip

    def __init__(
        self,
        backend: Backend,
        function: Callable[..., Any],
        when: Callable[..., bool] | None,
        strided: bool | str | None,
        halves: bool,
        out: bool,
        made: bool = False,
        launches: bool = True,
    ) -> None:
        self.backend, self.function, self.when = backend, function, when
        self.strided = backend.adapt is not None if strided is None else strided
        self.halves, self.out, self.made = halves, out, made
        self.launches = launches and backend is NATIVE

    def takes(self, layout: str) -> bool:
        """Whether an input may lie like this in memory."""
        return (
            self.strided is True
            or layout == "contiguous"
            or (self.strided == CHANNELS_LAST and layout == CHANNELS_LAST)
        )

    def bind(
        self,
        inputs: Sequence[Outline | None],
        outputs: Sequence[Outline],
        settings: Mapping[str, Any],
    ) -> Callable[..., Any]:
        """The function that the staircase calls."""
        function = self.function
        if self.made:
            function = function(inputs, outputs, **settings)
        if self.out:
            function = _with_memory(function, outputs[0])
        adapt = self.backend.adapt
        return function if adapt is None else adapt(function, inputs, outputs, self.halves)


def find_kernel(
    op: Op, inputs: Sequence[Outline | None], settings: Mapping[str, Any], device: Device
) -> FoundKernel:
    """The kernel of the highest-ranking enabled backend that takes these inputs."""
    for kernel in op.candidates(device.kind):
        if enabled(kernel.backend) and (kernel.when is None or kernel.when(*inputs, **settings)):
            return kernel
    types = ", ".join(dict.fromkeys(str(each.scalar_type) for each in inputs if each is not None))
    raise NoKernelError(
        f"{op.name}: no kernel for {types or 'no inputs'} on {device}\n"
        f"  kernels  {', '.join(map(repr, op.backends())) or 'none'}\n"
        f"  to add one: @{op.name}.kernel(BACKEND)"
    )


def _device_of(op: Op, names: Sequence[str], given: Sequence[Signature]) -> Device | None:
    devices = {each.device for each in given if isinstance(each, Outline)}
    if len(devices) <= 1:
        return devices.pop() if devices else None
    sides = "\n".join(
        f"  {name:<8}{each.device}"
        for name, each in zip(names, given, strict=True)
        if isinstance(each, Outline)
    )
    raise DeviceError(
        f"{op.name}: inputs are on different devices\n{sides}\n  move one: x.to(device)"
    )


def _preparation(
    op: Op,
    names: Sequence[str],
    given: Sequence[Signature],
    inputs: Sequence[Outline | None],
    kernel: FoundKernel,
) -> tuple[Callable[[Any], Any] | None, ...] | None:
    """What is done to each input before the kernel; None where nothing is done to any."""
    steps: list[Callable[[Any], Any] | None] = []
    for name, before, after in zip(names, given, inputs, strict=True):
        step: Callable[[Any], Any] | None = None
        if isinstance(before, type) and after is not None:
            step = _number(op, name, after.scalar_type)
        elif isinstance(before, Outline) and after is not None:
            platform = before.device.platform
            if before.scalar_type is not after.scalar_type:
                step = _cast(platform.cast, after.scalar_type.dtype)
            elif not kernel.takes(before.layout):
                step = platform.contiguous
            if step is not None and name in op.writes:
                raise ShapeError(
                    f"{op.name}: {name} is written in place and cannot be prepared\n"
                    f"  given  {before}\n  takes  a contiguous array of {after.scalar_type}"
                )
        steps.append(step)
    return tuple(steps) if any(steps) else None


def _cast(cast: Callable[..., Any], dtype: np.dtype[Any]) -> Callable[[Any], Any]:
    return lambda array: cast(array, dtype)


def _number(op: Op, name: str, scalar_type: ScalarType) -> Callable[[Any], Any]:
    """A Python number made to fit the scalar type it meets."""
    if scalar_type.is_float:
        return _to_float
    if scalar_type is ScalarType.BOOL:
        return bool
    limits = np.iinfo(scalar_type.dtype)

    def to_integer(number: Any) -> int:
        value = int(number)
        if not limits.min <= value <= limits.max:
            raise ScalarTypeError(
                f"{op.name}: {name} = {number} does not fit {scalar_type}\n"
                f"  {scalar_type} holds {limits.min} to {limits.max}\n"
                f"  cast the tensor first: x.cast('i64')"
            )
        return value

    return to_integer


def _to_float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _with_memory(function: Callable[..., Any], outline: Outline) -> Callable[..., Any]:
    empty, shape, dtype = outline.device.empty, outline.shape, outline.scalar_type.dtype
    return lambda *arrays, **settings: function(*arrays, out=empty(shape, dtype), **settings)


def _empty(outputs: Sequence[Outline]) -> Callable[..., Any]:
    def empty(*arrays: Any) -> Any:
        made = tuple(each.device.empty(each.shape, each.scalar_type.dtype) for each in outputs)
        return made[0] if len(made) == 1 else made

    return empty


def no_memory(op: Op, plan: Plan, error: MemoryError) -> MemoryLimitError:
    """The error for an op whose kernel found no memory."""
    if isinstance(error, MemoryLimitError):
        return error
    size = sum(each.nbytes for each in plan.outputs)
    shapes = ", ".join(str(each.shape) for each in plan.outputs) or "none"
    return MemoryLimitError(
        f"{op.name}: no memory for an output of {size:,} bytes, shape {shapes}\n"
        f"  use a smaller batch, or bf16"
    )


def refuse_settings(op: Op, given: Mapping[str, Any], known: Sequence[str]) -> SettingsError:
    """The error for settings that an op does not take or wants."""
    data = any(name in op.inputs for name in given)
    return SettingsError(
        f"{op.name}: settings do not fit\n"
        f"  given  {', '.join(given) or 'none'}\n"
        f"  takes  {', '.join(known) or 'none'}"
        + (f"\n  write  {op.name}({', '.join(op.inputs)}, ...): data have no names" * data)
    )
