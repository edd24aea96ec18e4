"""Described values: frozen or plain dataclasses of validated settings, told and read as JSON.

Builders of layers, optimizers and schedules are such values; a checkpoint holds them.
"""

from __future__ import annotations

import json
from dataclasses import fields
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeVar, cast, dataclass_transform

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated_dataclass

from .errors import SettingsError

C = TypeVar("C")

Share = Annotated[float, Field(ge=0, le=1)]

CONFIG = ConfigDict(
    extra="forbid",
    strict=True,
    validate_default=True,
    defer_build=True,
    arbitrary_types_allowed=True,
    allow_inf_nan=False,
)


class SettingsType(type):
    """The type of described values: settings that do not fit are told one line each."""

    if not TYPE_CHECKING:  # checkers see the arguments of each class instead

        def __call__(cls, *unnamed: Any, **settings: Any) -> Any:
            if unnamed:
                raise SettingsError(
                    f"{cls.title()}: settings are given by name\n  takes  {', '.join(cls.names())}"
                )
            try:
                return super().__call__(**{name: _bare(each) for name, each in settings.items()})
            except ValidationError as error:
                raise SettingsError(explain(cls, error)) from None


class Described(metaclass=SettingsType):
    """Base class of described values; decorate subclasses with `described`."""

    kind: ClassVar[str] = "Described"

    @classmethod
    def title(cls) -> str:
        """How messages call this class."""
        return cls.kind

    @classmethod
    def names(cls) -> list[str]:
        """The settings, in order."""
        return [field.name for field in fields(cast(Any, cls))]

    def describe(self) -> dict[str, Any]:
        """A JSON value from which an equal value is made again."""
        return {"kind": self.kind} | {name: plain(getattr(self, name)) for name in self.names()}

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """The value of settings read from JSON."""
        nested = {name: each for name, each in settings.items() if isinstance(each, Described)}
        if nested:
            return cls(**settings)
        try:
            return cast(Self, _adapter(cls).validate_json(json.dumps(settings)))
        except ValidationError as error:
            raise SettingsError(explain(cls, error)) from None


@cache
def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    """What reads the settings of a class; made once, for that takes milliseconds."""
    return TypeAdapter(cls)


def plain(value: Any) -> Any:
    """The value as JSON has it, described values by what they are."""
    if isinstance(value, Described):
        return value.describe()
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return value


def _bare(value: Any) -> Any:
    """The value with numbers of Python in the place of NumPy's."""
    if isinstance(value, np.generic):
        return value.item()
    return tuple(map(_bare, value)) if type(value) is tuple else value


@dataclass_transform(kw_only_default=True)
def described(cls: type[C]) -> type[C]:
    """Make `cls` a keyword-only dataclass of validated settings, known by its name."""
    made = cast(Any, validated_dataclass(cls, kw_only=True, config=CONFIG, eq=False))
    made.kind = cls.__name__
    return cast(type[C], made)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def frozen(cls: type[C]) -> type[C]:
    """`described`, and never changed: equal settings make equal values."""
    made = cast(Any, validated_dataclass(cls, frozen=True, kw_only=True, config=CONFIG))
    made.kind = cls.__name__
    return cast(type[C], made)


def explain(cls: Any, error: ValidationError) -> str:
    """Pydantic's findings, one line a setting."""
    findings: dict[str, tuple[str, str]] = {}
    for finding in error.errors():
        own = finding.get("ctx", {}).get("error")
        if isinstance(own, SettingsError):  # raised by the class itself, about several settings
            return str(own)
        name, given, says = str(finding["loc"][0]), repr(finding["input"]), finding["msg"]
        if finding["type"] in ("missing", "missing_argument"):
            given, says = "missing", "this setting has no default"
        if finding["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            says = f"no such setting; {_meant(name, cls.names())}"
        findings.setdefault(name, (given, says))
    count = f"{len(findings)} settings are" if len(findings) > 1 else "a setting is"
    wide = max(12, *(len(name) + 2 for name in findings))
    lines = [f"  {name:<{wide}}{given:<11} {says}" for name, (given, says) in findings.items()]
    return "\n".join([f"{cls.title()}: {count} wrong", *lines])


def _meant(name: str, known: list[str]) -> str:
    """What somebody who wrote `name` is told; "lr" means learning_rate."""
    initials = {"".join(word[:1] for word in each.split("_")): each for each in known}
    near = initials.get(name) or next(iter(get_close_matches(name, known, n=1)), None)
    return f"did you mean {near}?" if near else f"there are: {', '.join(known) or 'none'}"
