"""Packages that an extra brings: imported where they are needed, and not before."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import SettingsError


def needed(package: str, caller: str, install: str = "") -> Any:
    """A package; refused with what to install, its own name unless said, where it is missing."""
    try:
        return import_module(package)
    except ImportError:
        raise SettingsError(
            f"{caller}: {package} is not installed\n  pip install {install or package}"
        ) from None
