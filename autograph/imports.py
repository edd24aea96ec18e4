"""Imports that wait until somebody wants a name of a package, or a package that an extra brings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from .errors import SettingsError


def modules_of(table: Mapping[str, str]) -> dict[str, str]:
    """The module of each name, of a table that has the names of each module, sorted.

    >>> modules_of({"sgd": "SGD", "adam": "Adam AdamW"})
    {'Adam': 'adam', 'AdamW': 'adam', 'SGD': 'sgd'}
    """
    return dict(sorted((name, at) for at, names in table.items() for name in names.split()))


def later(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package: its names from their modules, and the modules."""

    def found(name: str) -> Any:
        if name in modules:
            value = getattr(import_module(f".{modules[name]}", package), name)
            setattr(sys.modules[package], name, value)
            return value
        if name in modules.values():
            return import_module(f".{name}", package)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return found, lambda: sorted(modules)


def needed(package: str, caller: str, install: str = "") -> Any:
    """A package; refused with what to install, its own name unless said, where it is missing."""
    try:
        return import_module(package)
    except ImportError:
        raise SettingsError(
            f"{caller}: {package} is not installed\n  pip install {install or package}"
        ) from None
