"""Groups: other settings of an optimizer for parameters whose paths fit a pattern.

    AdamW(groups={"*.bias": {"weight_decay": 0.0}, "body.*": {"learning_rate": 1e-4}})

Patterns are those of shell names: `*` is any text, dots included. Where several fit one path,
the later setting stands. Clipping is of all gradients together and belongs to no group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, cast

from ..errors import SettingsError
from ..settings import plain
from .schedule import Schedule
from .schedules import schedule_of

if TYPE_CHECKING:
    from .optimizer import Optimizer

GroupSettings = dict[str, dict[str, Any]]
SHARED = {"clip_norm", "clip_value", "masters", "groups"}  # settings of the optimizer as a whole


class Groups:
    """Who moves which parameter: the optimizer itself, or a twin with other settings."""

    def __init__(self, optimizer: Optimizer, settings: Mapping[str, Mapping[str, Any]]) -> None:
        self.settings = {
            pattern: {
                name: schedule_of(value) if isinstance(value, dict) else value  # read from a file
                for name, value in changes.items()
            }
            for pattern, changes in settings.items()
        }
        self.twins: list[Optimizer] = []  # with other settings
        self._twins: dict[tuple[str, ...], Optimizer] = {}  # by patterns
        self._patterns: dict[str, tuple[str, ...]] = {}  # that fit a path
        self._is_checked = False
        for pattern, changes in self.settings.items():
            unknown = [name for name in changes if name in SHARED or name not in optimizer.names()]
            if unknown:
                known = [name for name in optimizer.names() if name not in SHARED]
                raise SettingsError(
                    f"{optimizer.kind}: groups[{pattern!r}] changes what is no setting of a group\n"
                    f"  given  {', '.join(unknown)}\n  known  {', '.join(known)}"
                )
            self._twin(optimizer, (pattern,))  # refuses values that do not fit

    def mover(self, optimizer: Optimizer, path: str) -> tuple[Optimizer, Optimizer]:
        """(Who moves the parameter at a path, whose learning rate it follows)."""
        patterns = self._patterns.get(path)
        if patterns is None:
            patterns = tuple(each for each in self.settings if fnmatchcase(path, each))
            self._patterns[path] = patterns
        if not patterns:
            return optimizer, optimizer
        twin = self._twin(optimizer, patterns)
        paced = any("learning_rate" in self.settings[each] for each in patterns)
        return twin, twin if paced else optimizer

    def _twin(self, optimizer: Optimizer, patterns: tuple[str, ...]) -> Optimizer:
        twin = self._twins.get(patterns)
        if twin is None:
            changes: dict[str, Any] = {}
            for each in patterns:
                changes |= self.settings[each]
            twin = cast("Optimizer", replace(cast(Any, optimizer), **changes, groups={}))
            twin.count = optimizer.count
            self._twins[patterns] = twin
            self.twins.append(twin)
        return twin

    def changed(self, name: str, value: Any) -> None:
        """A setting of the optimizer has another value: of the groups that have none of their own
        as well."""
        for patterns, twin in self._twins.items():
            if name not in SHARED and not any(name in self.settings[each] for each in patterns):
                setattr(twin, name, value)

    def over(self, steps: int) -> None:
        """Give the groups' schedules without a horizon this one."""
        for changes in self.settings.values():
            if isinstance(rate := changes.get("learning_rate"), Schedule):
                changes["learning_rate"] = rate.over(steps)
        for twin in self.twins:
            twin.over(steps)

    def check(self, paths: Iterable[str]) -> None:
        """Refuse a pattern that fits no parameter: once, for others may bring a part of them."""
        if self._is_checked:
            return
        names = list(paths)
        for pattern in self.settings:
            if not any(fnmatchcase(path, pattern) for path in names):
                raise SettingsError(
                    f"groups: {pattern!r} fits no parameter\n  parameters  {', '.join(names)}"
                )
        self._is_checked = True

    def describe(self) -> dict[str, Any]:
        """The settings as JSON."""
        return plain(self.settings)
