"""A class by what a person writes, MODULE:CLASS or FILE.py:CLASS; never by what a file says."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from .errors import SettingsError
from .layers import Layer


def class_of(place: str) -> Any:
    """The class that MODULE:CLASS or FILE.py:CLASS names, found from the current folder."""
    module, colon, name = place.rpartition(":")
    if not colon or not module or not name:
        raise SettingsError(
            f"{place!r} names no class\n  write MODULE:CLASS, as in examples.mnist.lenet5:LeNet5"
        )
    folder = Path.cwd()
    if module.endswith(".py"):
        path = Path(module).resolve()
        if not path.exists():
            raise FileNotFoundError(2, "no such file", module)
        folder, module = path.parent, path.stem
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise SettingsError(f"{module} imports {error.name}, which is not installed") from None
        raise SettingsError(
            f"there is no module {module}\n  run this in the folder that holds it, not in {folder}"
        ) from None
    if not isinstance(getattr(found, name, None), type):
        known = [
            each.__name__
            for each in vars(found).values()
            if isinstance(each, type) and issubclass(each, Layer) and each.__module__ == module
        ]
        raise SettingsError(
            f"{module} has no class {name}\n  its layers are {', '.join(known) or 'none'}"
        )
    return getattr(found, name)
