"""An op is a name and a table of rules: an outline, kernels that run it, gradients that undo it,
and samples on which it is tested."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from math import copysign
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from .backends import Backend
from .backends.backend import lookups
from .backends.choice import KEY, Choice, chosen, settle
from .errors import SettingsError
from .outline import NUMBER, OF_HOST, Outline
from .plan import FoundKernel, Plan, Signature, no_memory, refuse_settings
from .scalar_type import BOOL

REGISTRY: dict[str, Op] = {}
NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})
PLANS = 512  # plans kept of each op; beyond it the table starts anew


class Rule(NamedTuple):
    """A gradient rule for some inputs, by position (None: all of a variable number). A function
    with an attribute `bound` says by it, from the outlines of inputs and outputs as they lie, what
    the rule is for a signature."""

    positions: tuple[int, ...] | None
    function: Callable[..., Any]
    into: bool
    asks: bool = False  # whether the rule takes `needs`, which of its gradients are wanted


class Fixed(dict[str, Any]):
    """Settings that an op is given again and again, looked up as one: equal to none but itself."""

    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__, __ne__ = object.__eq__, object.__ne__


class Op:
    """A differentiable operation.

    Declare one at module level, then hang rules on it:

        swish = Op("swish", "x")

        @swish.kernel(NUMPY)
        def swish_numpy(x):
            return x / (1 + np.exp(-x))

        @swish.gradient("x")
        def swish_dx(y, x):
            return lambda dy: swish_backward(dy, x)

    Positional inputs are data, read anew whenever a captured step is replayed; keywords are
    settings, which capture freezes. `inputs` names the data: `"x weight bias?"` where bias may
    be None, `"*arrays"` for any number. `outputs` names them where there are several, or none
    (`""`) for an op that only writes; `saves` names further outputs that its gradient rules
    get and callers do not; `writes` the inputs that kernels change in place.

    Inputs are promoted to one scalar type, all of them or those that `promotes` names, to a
    float with `floats=True`. `view=True`: the output may share the memory of the first input.
    `dynamic=True`: the shape of the output depends on values; its outline is a bound.
    """

    deferral: Callable[..., Any] | None = None  # answers pending tensors, for the staircase

    def __init__(
        self,
        name: str,
        inputs: str,
        *,
        outputs: str = "y",
        saves: str = "",
        writes: str = "",
        promotes: str | None = None,
        floats: bool = False,
        view: bool = False,
        dynamic: bool = False,
    ) -> None:
        if name in REGISTRY:
            raise SettingsError(
                f"Op: there is an op {name!r} already\n"
                f"  write another name, or use REGISTRY[{name!r}]"
            )
        words = inputs.split()
        self.name = name
        self.variable = len(words) == 1 and words[0].startswith("*")
        self.inputs = tuple(word.strip("*?") for word in words)
        self.required = sum(not word.endswith("?") for word in words)
        self.optional = frozenset(i for i, word in enumerate(words) if word.endswith("?"))
        self.outputs, self.saves = tuple(outputs.split()), tuple(saves.split())
        self.writes = frozenset(writes.split())
        self.written = [i for i, name in enumerate(self.inputs) if name in self.writes]
        self.promotes = None if promotes is None else frozenset(promotes.split())
        self.floats, self.view, self.dynamic = floats, view, dynamic
        self.kernels: list[FoundKernel] = []
        self.modules: dict[Backend, str] = {}
        self.gradients: list[Rule] = []
        self.outline: Callable[..., Any] | None = None
        self.normalise: Callable[..., dict[str, Any]] | None = None
        self.cost: Callable[..., int] | None = None
        self.samples: Callable[..., Iterator[tuple[tuple[Any, ...], dict[str, Any]]]] | None = None
        self.parts: Callable[..., Any] | None = None
        self.plans: dict[Any, Plan] = {}  # by what chooses kernels, signatures and settings
        REGISTRY[name] = self

    # -- rules -----------------------------------------------------------------------

    def kernel(
        self,
        *backends: Backend,
        when: Callable[..., bool] | None = None,
        strided: bool | str | None = None,
        halves: bool = False,
        out: bool = False,
        made: bool = False,
        launches: bool = True,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a kernel for these backends, used where `when(*outlines, **settings)`.

        `strided`: it takes arrays of any strides ("channels_last": of these two layouts).
        `halves`: it computes with f16 and bf16 itself. `out`: it writes into `out=`. `made`: what
        is registered makes the kernel of a signature, from `(inputs, outputs, **settings)`,
        outlines both; the kernel is then called without settings. `launches`: a kernel of the host
        engine does all of its work by launches and other ops, so that a recording has those alone.
        """

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            for backend in backends:
                found = FoundKernel(backend, function, when, strided, halves, out, made, launches)
                self.kernels.append(found)
            self.plans.clear()
            return function

        return register

    def kernels_from(self, backend: Backend, module: str) -> None:
        """Name the module that registers this backend's kernels; loaded when one is wanted."""
        package = sys._getframe(1).f_globals["__package__"]
        self.modules[backend] = f"{package}{module}"

    def gradient(
        self, *inputs: str, into: bool = False
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register the rule for the gradients of these inputs, computed together.

        The rule is called while recording with the output (a tuple of several), the inputs,
        what the op saves and its settings; it returns the function from dy to the gradients.
        What that function closes over is what the graph keeps. With `into` the function is
        called with (dy, so_far): it adds into the array `so_far`, or makes one if it is None.
        A rule for several inputs may take `needs=`, a tuple of whether each gradient is wanted,
        and answer None for those that are not.
        """

        def register(rule: Callable[..., Any]) -> Callable[..., Any]:
            whole = self.variable and inputs == (f"*{self.inputs[0]}",)
            if not whole and not set(inputs) <= set(self.inputs):
                raise SettingsError(
                    f"{self.name}.gradient: no such input\n"
                    f"  given   {', '.join(inputs)}\n  inputs  {', '.join(self.inputs)}"
                )
            positions = None if whole else tuple(map(self.inputs.index, inputs))
            asks = "needs" in inspect.signature(rule).parameters
            self.gradients.append(Rule(positions, rule, into, asks))
            return rule

        return register

    def outlined_by(self, outline: Callable[..., Any]) -> Callable[..., Any]:
        """Register the function from the inputs' outlines to the output's, which refuses what
        does not fit. Its keywords, with their defaults, are the op's settings."""
        self.outline = outline
        self.__dict__.pop("_settings", None)
        return outline

    def settings_by(self, normalise: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
        """Register the function that puts settings into the one form that rules see."""
        self.normalise = normalise
        return normalise

    def costed_by(self, cost: Callable[..., int]) -> Callable[..., int]:
        """Register the count of multiply-adds of one run, from outlines and settings."""
        self.cost = cost
        return cost

    def composed_by(self, parts: Callable[..., Any]) -> Callable[..., Any]:
        """Register the op as a function of other ops: what runs where gradients are
        differentiated again, and what the fused kernels are tested against."""
        self.parts = parts
        return parts

    def sampled_by(self, samples: Callable[..., Any]) -> Callable[..., Any]:
        """Register the generator of ((inputs), {settings}) on which the op is tested."""
        self.samples = samples
        return samples

    # -- running ---------------------------------------------------------------------

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        """The output for arrays; or for tensors, whose type says how to apply an op."""
        given: list[Any] = []
        for each in inputs:
            kind = type(each)
            if kind is ndarray:
                outline = OF_HOST.get((each.shape, each.dtype, each.strides))
                given.append(outline or outline_of(each))
                continue
            try:
                apply = APPLIERS[kind]
            except KeyError:
                apply = applier_of(kind)
            if apply is not None:
                return apply(self, inputs, settings)
            if isinstance(each, ndarray):  # a memmap or a matrix: kernels take arrays alone
                plain = [np.asarray(x) if isinstance(x, ndarray) else x for x in inputs]
                return self(*plain, **settings)
            given.append(signature_of(each))
        plan = self.plan(given, settings)
        try:
            direct = plan.direct == len(inputs)
            results = plan.kernel(*inputs) if direct else self.run(plan, inputs)[1]
        except MemoryError as error:
            raise no_memory(self, plan, error) from None
        return self.own(plan, results) if self.saves else results

    def plan(self, given: Sequence[Signature], settings: Mapping[str, Any]) -> Plan:
        """How to run for inputs of these signatures."""
        key: Any = (lookups.key, *given)
        if type(settings) is Fixed:
            key = (*key, settings)
        elif settings:
            values = settings.values()
            kinds = [*map(type, values)]  # 1, 1.0 and True are equal
            key = (*key, *settings, *values, *kinds)
            if float in kinds:  # and so are 0.0 and -0.0
                key += tuple([copysign(1.0, each) for each in values if type(each) is float])
        try:
            plan = self.plans.get(key)
        except TypeError:
            return self.plan(given, {name: _frozen(value) for name, value in settings.items()})
        return self._planned(key, given, settings) if plan is None else plan

    def _planned(self, key: Any, given: Sequence[Signature], settings: Mapping[str, Any]) -> Plan:
        """A plan that is not kept yet; written down where a tape is on."""
        if lookups.tape is not None:
            found: Plan = lookups.tape.plan(self, given, settings)
            return found
        absent = 0 if self.variable else len(self.inputs) - len(given)
        if absent > 0 and len(given) >= self.required:
            plan = self.plan([*given, *[None] * absent], settings)
        else:
            plan = Plan(self, given, settings)
        if len(self.plans) >= PLANS:
            self.plans.clear()
        self.plans[key] = plan
        return plan

    def fixed(self, **settings: Any) -> Callable[..., Any]:
        """The op with these settings, for tensors above all, which look them up as one."""
        kept = Fixed(settings)

        def run(*inputs: Any) -> Any:
            apply = APPLIERS.get(type(inputs[0]))
            return self(*inputs, **settings) if apply is None else apply(self, inputs, kept)

        return run

    def bound(
        self, given: Sequence[Outline], settings: Mapping[str, Any] = NO_SETTINGS, checked: int = 0
    ) -> Callable[..., Any]:
        """The op for arrays and numbers of these outlines, whose kernel is found once. Of the one
        array that may turn out to be otherwise, the one at `checked`, this is looked at."""
        like = [signature_like(each) for each in given]

        def find(choice: Choice, *arrays: Any) -> Any:
            if lookups.key is choice[KEY] and type(self.plans) is dict:  # no profiler has its own
                seen = signature_of(arrays[checked])
                plan = self.plan([*like[:checked], seen, *like[checked + 1 :]], settings)
                if plan.exact and type(seen) is Outline and len(plan.inputs) == len(arrays):
                    try:
                        results = plan.kernel(*arrays)
                    except MemoryError as error:
                        raise no_memory(self, plan, error) from None
                    settle(choice, arrays[checked], plan.kernel)
                    return results
            return self(*arrays, **settings)

        on_host = given[checked].device.is_host
        return chosen(find, checked, on_host, signature_of if on_host else outline_of)

    def run(self, plan: Plan, arrays: Sequence[Any]) -> tuple[Sequence[Any], Any]:
        """The arrays as they were prepared, and all that the kernel returns."""
        if len(arrays) < len(plan.inputs):
            arrays = [*arrays, *[None] * (len(plan.inputs) - len(arrays))]
        if plan.prepare is not None:
            arrays = [
                array if step is None or array is None else step(array)
                for step, array in zip(plan.prepare, arrays, strict=True)
            ]
        return arrays, plan.kernel(*arrays)

    def own(self, plan: Plan, results: Any) -> Any:
        """Of all that a kernel returns, what the caller gets."""
        if not self.saves:
            return results
        return results[0] if len(self.outputs) == 1 else results[: len(self.outputs)]

    # -- asked by plans --------------------------------------------------------------

    def names_of(self, given: Sequence[Any]) -> tuple[str, ...]:
        """A name for each input; refused where their number does not fit."""
        if self.variable:
            return tuple(f"{self.inputs[0]}[{i}]" for i in range(len(given)))
        missing = [
            name
            for i, name in enumerate(self.inputs)
            if i not in self.optional and (i >= len(given) or given[i] is None)
        ]
        if missing or len(given) > len(self.inputs):
            wants = ", ".join(
                f"{name}=None" if i in self.optional else name for i, name in enumerate(self.inputs)
            )
            raise SettingsError(
                f"{self.name}: takes {wants}\n"
                f"  given    {len(given)} inputs\n"
                f"  missing  {', '.join(missing) or 'none'}"
            )
        return self.inputs

    def promoted_positions(self, count: int) -> range | list[int]:
        """Which inputs meet in one scalar type."""
        if self.promotes is None:
            return range(count)
        if self.variable:
            return range(count if self.promotes else 0)
        return [i for i, name in enumerate(self.inputs) if name in self.promotes]

    def complete(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings with their defaults, in the form that rules see."""
        if self._settings is None:
            return dict(settings)
        defaults, required = self._settings
        if not (settings.keys() <= defaults.keys() | required and required <= settings.keys()):
            raise refuse_settings(self, settings, [*required, *defaults])
        complete = {**defaults, **settings}
        return complete if self.normalise is None else self.normalise(**complete)

    @cached_property
    def _settings(self) -> tuple[dict[str, Any], set[str]] | None:
        """Defaults, and the names of those without, from the outline's keywords."""
        source = self.normalise or self.outline
        if source is None:
            return None
        found = inspect.signature(source).parameters.values()
        keywords = [each for each in found if each.kind is each.KEYWORD_ONLY]
        return (
            {each.name: each.default for each in keywords if each.default is not each.empty},
            {each.name for each in keywords if each.default is each.empty},
        )

    def candidates(self, kind: str) -> list[FoundKernel]:
        """Kernels for a kind of device, the highest rank first; loads the modules named."""
        from .backends import enabled

        for backend, module in list(self.modules.items()):
            if backend.kind == kind and enabled(backend):
                import_module(module)
                self.modules.pop(backend, None)
        found = [each for each in self.kernels if each.backend.kind == kind]
        return sorted(found, key=lambda each: -each.backend.rank)

    def backends(self) -> list[Backend]:
        """The backends with a kernel, loaded or named."""
        return list(dict.fromkeys([each.backend for each in self.kernels] + list(self.modules)))

    def __reduce__(self) -> Any:
        return _op_named, (self.name,)

    def __repr__(self) -> str:
        return f"Op({self.name!r})"


def _op_named(name: str) -> Op:
    """The op of a pickle, also where nothing was imported yet."""
    if name not in REGISTRY:
        import_module(".ops", __package__)
    return REGISTRY[name]


Applier = Callable[[Op, Sequence[Any], Mapping[str, Any]], Any]
APPLIERS: dict[type, Applier | None] = {}  # by the type of an input


def applier_of(kind: type) -> Applier | None:
    """How an input of this type has ops applied; None: it is an array or a number."""
    found: Applier | None = getattr(kind, "__apply__", None)
    if found is not None or issubclass(kind, np.generic):
        found = found if getattr(found, "ranks", False) else by_rank
    if len(APPLIERS) >= PLANS:
        APPLIERS.clear()
    APPLIERS[kind] = found
    return found


def by_rank(op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
    """As the type of the highest rank says in its `__apply__`, which tensors have; NumPy's scalars
    are arrays without axes where none does. (An `__apply__` that asks this itself where it meets
    other types than its own has an attribute `ranks`, and is asked at once.)"""
    able: list[Any] = [kind for each in inputs if hasattr(kind := type(each), "__apply__")]
    if able:
        return max(able, key=lambda kind: kind.__apply_rank__).__apply__(op, inputs, settings)
    arrays = [np.asarray(each) if isinstance(each, np.generic) else each for each in inputs]
    return op(*arrays, **settings)


outline_of, ndarray = Outline.of, np.ndarray  # looked up once: these are asked of every array


def signature_of(value: Any) -> Signature:
    """What a plan depends on of one input."""
    kind = type(value)
    if kind is ndarray:
        return outline_of(value)
    if value is None:
        return None
    if kind is float or kind is int or kind is bool:
        return kind
    return Outline.of(np.asarray(value) if isinstance(value, np.generic) else value)


def signature_like(outline: Outline) -> Signature:
    """What a plan depends on of an input that lies like this."""
    if outline.layout != NUMBER:
        return outline
    kind = outline.scalar_type
    return float if kind.is_float else bool if kind is BOOL else int


def _frozen(value: Any) -> Any:
    """A setting that can be a key: lists as tuples."""
    if isinstance(value, list | tuple):
        return tuple(_frozen(each) for each in value)
    if isinstance(value, slice):
        return "slice", value.start, value.stop, value.step
    if isinstance(value, np.ndarray):
        return _frozen(value.tolist())
    hash(value)  # anything else that cannot be a key is the caller's mistake
    return value
