"""Commands of the command line, one module each, which has `arguments(parser)` and `run(options)`."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import SettingsError

COMMANDS = {
    "doctor": "what this machine can do, what is missing, and a check that training works",
    "devices": "the devices that can be used now",
    "inspect": "what a checkpoint or a safetensors file holds",
    "summary": "shapes, parameters and work of a declared model",
    "train": "train a declared model on a data set",
    "predict": "read inputs with a trained model",
    "bench": "run the repository's benchmarks",
    "warmup": "compile the host's kernels ahead of their first use",
    "view": "watch a run, or look at one that has ended",
}


def in_one_line(error: BaseException) -> str:
    """An error with its notes as one line: what is wrong first, what to do last."""
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"there is no file {error.filename}"
    text = "\n".join([str(error), *getattr(error, "__notes__", ())])
    parts = [" ".join(line.split()).rstrip(",") for line in text.splitlines() if line.strip()]
    return "; ".join(parts)


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
            f"there is no module {module}\n  run this in the folder that holds it, {folder} does not"
        ) from None
    if not isinstance(getattr(found, name, None), type):
        from ..layers import Layer

        known = [n for n, v in vars(found).items() if isinstance(v, type) and issubclass(v, Layer)]
        raise SettingsError(
            f"{module} has no class {name}\n  its layers are {', '.join(known) or 'none'}"
        )
    return getattr(found, name)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], right: str = "") -> str:
    """Columns in line under their heads; those whose heads are in `right` end at one edge."""
    lines = [[str(each) for each in row] for row in [head, *rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    on_right = [each in right.split() for each in head]
    return "\n".join(
        "  ".join(
            each.rjust(width) if to_right else each.ljust(width)
            for each, width, to_right in zip(line, widths, on_right, strict=True)
        ).rstrip()
        for line in lines
    )


def print_json(value: Any) -> None:
    """A value as JSON on the standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))
