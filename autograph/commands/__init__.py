"""Commands of the command line: a module each, with `arguments(parser)` and `run(options)`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

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
