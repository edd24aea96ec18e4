"""Optimizer: how parameters follow their gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from itertools import chain, compress
from operator import is_
from threading import local
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ReferenceType, ref

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat

from ..device import Device
from ..errors import CheckpointError, SettingsError
from ..graph import Leaf, Version
from ..op import Op
from ..outline import Outline
from ..settings import Described, described
from ..tensor import Parameter, Tensor, no_grad
from ..tensor.staircase import version_of
from ..tensor.state import state
from ..words import OPTIMIZER, unknown
from .clip import clipped
from .clock import Clock
from .groups import Groups, GroupSettings
from .schedule import Schedule
from .together import Together

State = dict[str, Tensor]
_OF_A_MODEL = frozenset(("_owned", "_versions", "_clocks", "_known"))
_LOOKED_UP = frozenset(("learning_rate", "clip_norm", "clip_value", "_known"))  # in each update


class _Taken(local):
    """What this thread has done."""

    seen: list[Optimizer] | None = None  # whose updates, where somebody wants to know


taken = _Taken()


class _Known(NamedTuple):
    """The parameters of an update, and all that follows from them and their state."""

    paths: Sequence[str]
    nodes: Sequence[Any]  # the leaves, by which parameters are known; versions where frozen
    outlines: Sequence[Outline]
    moved: Sequence[bool]  # which have had a gradient
    leaves: Sequence[Leaf]  # of those
    idle: Sequence[Leaf]
    tensors: Sequence[Tensor]  # of all state
    halves: Sequence[tuple[str, Version]]  # those that have masters
    together: Sequence[Together]


@described
class Optimizer(Described):
    """Subclass it with `@described`: say what one parameter remembers, and how it moves.

    What changes from step to step (the learning rate, counts, moments) lives in arrays beside
    the parameter, so that a captured step can be replayed; settings are plain fields. State is
    kept by path, in f32 for bf16 and f16 parameters, which also get f32 masters: with
    `masters=False` they move themselves, rounded once a step, and what is less than half a unit of
    their last place is lost.

    An optimizer belongs to the first model that it updates.
    """

    learning_rate: NonNegativeFloat | Schedule
    clip_norm: PositiveFloat | None = None
    clip_value: PositiveFloat | None = None
    masters: bool = True
    groups: GroupSettings = Field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state: dict[str, State] = {}
        self.count = 0  # updates so far
        self._owned: dict[str, ReferenceType[Parameter]] = {}
        self._versions: dict[str, int] = {}  # of bf16 and f16 parameters, after our last step
        self._clocks: dict[Device, Clock] = {}
        self._groups = Groups(self, self.groups)
        self._known: _Known | None = None  # of the last update

    def __setattr__(self, name: str, value: Any) -> None:
        """A setting that is changed later is changed for groups too; words of other libraries
        would be set to no effect."""
        settings = type(self).__dataclass_fields__
        if name in OPTIMIZER and name not in settings:
            raise unknown(type(self).__name__, name, OPTIMIZER, self)
        object.__setattr__(self, name, value)
        if name in settings and "_groups" in self.__dict__:
            self._groups.changed(name, value)
        if name not in _LOOKED_UP:
            self._known = None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise unknown(type(self).__name__, name, OPTIMIZER, self)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy has: it belongs to the first model that it updates."""
        kept = {name: each for name, each in self.__dict__.items() if name not in _OF_A_MODEL}
        return kept | {"state": self._current_state()}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__dict__.update(kept, _owned={}, _versions={}, _clocks={}, _known=None)

    def _current_state(self) -> dict[str, State]:
        """The state without the masters of parameters that somebody else has written."""
        current = dict(self.state)
        for path, count in self._versions.items():
            w = self._owned[path]()
            if path in current and w is not None and version_of(w).count != count:
                current[path] = {n: each for n, each in self.state[path].items() if n != "master"}
        return current

    # -- for subclasses -----------------------------------------------------------------

    def remember(self, like: Tensor) -> State:
        """The tensors to keep for one parameter; `like` is it, or its f32 master."""
        return {}

    def move(self, w: Parameter, dw: Tensor, rate: Tensor, state: State) -> None:
        """Move `w` and `state` in place, by an op."""
        raise NotImplementedError(f"{type(self).__name__} does not define move")

    @property
    def by(self) -> Op | None:
        """The op that `move` is, if it is one and no more."""
        return None

    # -- stepping -----------------------------------------------------------------------

    def update(self, parameters: Mapping[str, Parameter]) -> None:
        """Take one step of every parameter that has a gradient, and take the gradients."""
        if taken.seen is not None:
            taken.seen.append(self)
        try:
            nodes = [w.node or w.version for w in parameters.values()]
        except AttributeError:
            if isinstance(parameters, Mapping):
                raise
            raise SettingsError(
                f"{self.kind}.update: {type(parameters).__name__} is no dict of parameters by path"
                f"\n  write  model.update(optimizer)"
            ) from None
        before, state.recording = state.recording, False
        try:
            known = self._known
            if known is None or nodes != known.nodes or not self._is_as(known, parameters):
                known = self._known = self._learnt(parameters)
            ws = list(compress(parameters.values(), known.moved))
            slopes: Sequence[Tensor] = [leaf.grad for leaf in known.leaves]
            if self.clip_norm is not None or self.clip_value is not None:
                slopes = clipped(slopes, self.clip_norm, self.clip_value)
            for some in known.together:
                some.move(ws, slopes)
            if self._groups.twins:
                self._tick({some.device for some in known.together})
            for leaf in known.leaves:
                leaf.grad = None
            for path, version in known.halves:
                self._versions[path] = version.count
        finally:
            state.recording = before
        self.counted(self.count + 1)

    def _is_as(self, known: _Known, parameters: Mapping[str, Parameter]) -> bool:
        """Whether the same ones of them have gradients as then, and their state is the same."""
        return (
            [w.outline for w in parameters.values()] == known.outlines
            and [*parameters] == known.paths
            and all([leaf.grad is not None for leaf in known.leaves])
            and not any([leaf.grad is not None for leaf in known.idle])
            and len(tensors := self._tensors()) == len(known.tensors)
            and all(map(is_, tensors, known.tensors))
            and not any([self._versions[path] != then.count for path, then in known.halves])
        )

    def _tensors(self) -> list[Tensor]:
        """All state."""
        return [*chain.from_iterable(map(dict.values, self.state.values()))]

    def _learnt(self, parameters: Mapping[str, Parameter]) -> _Known:
        """The parameters with a gradient by who moves them at which rate."""
        self._own(parameters)
        together: dict[Any, Together] = {}
        leaves: list[Leaf] = []
        idle: list[Leaf] = []
        halves: list[tuple[str, Version]] = []
        for path, w in parameters.items():
            if not isinstance(w.node, Leaf):
                continue
            if w.node.grad is None:
                idle.append(w.node)
                continue
            mover, paced = self._groups.mover(self, path)
            kept = self._state_of(path, w, mover)
            key = id(mover), id(paced), w.device, id(w.outline.scalar_type)
            some = together.get(key)
            if some is None:
                some = together[key] = Together(mover, paced, w.device)
            some.places.append(len(leaves))
            some.states.append(kept)
            leaves.append(w.node)
            if path in self._versions:
                halves.append((path, version_of(w)))
        ws = parameters.values()
        return _Known(
            list(parameters), [w.node or version_of(w) for w in ws], [w.outline for w in ws],
            [isinstance(w.node, Leaf) and w.node.grad is not None for w in ws], leaves, idle,
            self._tensors(), halves, list(together.values()),
        )  # fmt: skip

    def _tick(self, devices: Set[Device]) -> None:
        """Have the schedules of groups go on that nothing has followed in this step."""
        for each in (self, *self._groups.twins):
            for device in each._clocks.keys() & devices:
                each.rate_on(device)

    def counted(self, count: int) -> None:
        """Begin the update after `count` others."""
        self.__dict__["count"] = count  # no setting
        for clock in self._clocks.values():
            clock.ticked = False
        for twin in self._groups.twins:
            twin.counted(count)

    def prepare(self) -> bool:
        """Lay out the learning rates that a recorded step reads; whether it may be replayed: not
        where somebody else has written a parameter whose master it would read."""
        for each in (self, *self._groups.twins):
            for clock in each._clocks.values():
                clock.lay_out(each)
        return not self._versions or all(
            version_of(w).count == count
            for path, count in self._versions.items()
            if (w := self._owned[path]()) is not None
        )

    def replayed(self) -> None:
        """A recorded step was replayed: count it."""
        self.counted(self.count + 1)
        for path in self._versions:
            w = self._owned[path]()
            if w is not None:
                self._versions[path] = version_of(w).count

    def over(self, steps: int) -> None:
        """Give schedules that have no horizon of their own this one, those of groups too."""
        if isinstance(self.learning_rate, Schedule):
            self.learning_rate = self.learning_rate.over(steps)
        self._groups.over(steps)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        rate = self.learning_rate
        return rate(step) if isinstance(rate, Schedule) else rate

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "groups": self._groups.describe()}

    def _own(self, parameters: Mapping[str, Parameter]) -> None:
        if not self._owned:
            self._groups.check(parameters)
            if self.state:  # of a copy
                self.restore(self.tensors(), self.count, parameters)
        for path, w in parameters.items():
            owned = self._owned.get(path)
            if owned is None:
                self._owned[path] = ref(w)
            elif owned() is not w:
                raise SettingsError(
                    f"{self.kind}.update: this optimizer belongs to another model\n"
                    f"  it keeps the state of that model's {path}\n"
                    f"  make one for each model: {self.kind}(...)"
                )

    def rate_on(self, device: Device) -> Tensor:
        """The learning rate of the step under way, for parameters of a device."""
        clock = self._clocks.get(device)
        if clock is None:
            clock = self._clocks[device] = Clock(device)
        return clock.rate(self)

    def _state_of(self, path: str, w: Parameter, mover: Optimizer) -> State:
        """What is remembered of `w`, where and in the scalar type that it is now."""
        state = self.state.get(path)
        wide, has_master = w.scalar_type.accumulator, w.scalar_type.is_half and self.masters
        if state is None:
            like = w.detach().cast(wide)
            step = Tensor(np.zeros((), np.int64), device=w.device)
            state = {"step": step, **mover.remember(like)}
            self.state[path] = state
            if has_master:
                state["master"], self._versions[path] = like, version_of(w).count
        for name, each in state.items():
            if each.device is not w.device:
                state[name] = each = each.to(w.device)
            if each.scalar_type.is_float and each.scalar_type is not wide:
                state[name] = each.cast(wide)
        if has_master:
            stale = self._versions.get(path) != version_of(w).count
            if "master" not in state or stale:
                state["master"] = w.detach().cast(wide)
            self._versions[path] = version_of(w).count
        else:
            state.pop("master", None)
            self._versions.pop(path, None)
        return state

    # -- saving -------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """All state by path, `conv1.weight.velocity`, but for masters of parameters that somebody
        else has written since the last update: they begin anew."""
        return {
            f"{path}.{name}": each
            for path, state in self._current_state().items()
            for name, each in state.items()
        }

    def restore(
        self, tensors: Mapping[str, Tensor], count: int, parameters: Mapping[str, Parameter]
    ) -> None:
        """Take over saved state of a model with these parameters; refused as a whole where a
        tensor does not belong to one, or is not like it."""
        state: dict[str, State] = {}
        for name, each in tensors.items():
            path, _, what = name.rpartition(".")
            w = parameters.get(path)
            if w is None:
                raise CheckpointError(
                    f"{self.kind}: the file has state of {path}, which is no parameter here\n"
                    f"  parameters  {', '.join(parameters)}"
                )
            state.setdefault(path, {})[what] = each.to(w.device)
        for path, found in state.items():
            self._refuse_misfit(path, found, parameters[path])
        for path, found in state.items():  # in place where it fits: recordings go on with it
            kept = self.state.get(path, {})
            if {n: each.outline for n, each in kept.items()} == {
                n: each.outline for n, each in found.items()
            }:
                with no_grad():
                    for name, each in found.items():
                        kept[name][...] = each
                state[path] = kept
        self.state = state
        self._known = None  # it holds on to the state of before
        self.counted(count)
        self._owned = {path: ref(w) for path, w in parameters.items()}
        for mover in (self, *self._groups.twins):
            for clock in mover._clocks.values():
                clock.stand(count)
        self._versions = {
            path: version_of(parameters[path]).count
            for path, found in state.items()
            if "master" in found and parameters[path].scalar_type.is_half
        }

    def _refuse_misfit(self, path: str, found: State, w: Parameter) -> None:
        like = w.detach().cast(w.scalar_type.accumulator)
        remembered = self._groups.mover(self, path)[0].remember(like)
        wanted = {"step": ("i64", ())} | {name: _form(each) for name, each in remembered.items()}
        if w.scalar_type.is_half:
            wanted["master"] = _form(w)
        have = {name: _form(each) for name, each in found.items()}
        optional = {"master"}
        if {k: v for k, v in wanted.items() if k not in optional or k in have} != {
            k: v for k, v in have.items() if k not in optional or k in wanted
        }:
            raise CheckpointError(
                f"{self.kind}: the file's state of {path} does not fit\n"
                f"  here  {wanted}\n  file  {have}"
            )


def _form(tensor: Tensor) -> tuple[str, tuple[int, ...]]:
    """What state has to be like; floats are cast where it is used."""
    scalar_type = tensor.scalar_type
    return "float" if scalar_type.is_float else str(scalar_type), tensor.shape
