"""Run a benchmark of the repository: `bench` lists them, `bench NAME [ARGUMENTS]` runs one.

Benchmarks are in the repository, not in the package: run this in a clone.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from pathlib import Path

from ..errors import SettingsError
from . import table


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="which; all are listed without it")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="ARGUMENTS", help="for it")


def run(options: argparse.Namespace) -> int:
    """List benchmarks, or run one in a process of its own and answer its exit code."""
    folder = next(
        (each / "benches" for each in (Path.cwd(), Path(__file__).parents[2])
         if (each / "benches").is_dir()), None
    )  # fmt: skip
    if folder is None:
        raise SettingsError("there are no benchmarks here\n  run this in a clone of the repository")
    known = {path.stem: path for path in sorted(folder.glob("*.py")) if path.stem != "__init__"}
    if options.name is None:
        print(table(("bench", "what it measures"), [(n, _first(p)) for n, p in known.items()]))
        return 0
    if options.name not in known:
        raise SettingsError(f"there is no bench {options.name!r}\n  known: {', '.join(known)}")
    command = [sys.executable, "-m", f"benches.{options.name}", *options.rest]
    return subprocess.run(command, cwd=folder.parent, check=False).returncode


def _first(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").splitlines()[0]
