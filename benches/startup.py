"""How long it takes to begin: imports, and a fresh process to its first trained step.

"cold" compiles every kernel into an empty folder, "warm" finds them there.
`python -m benches.startup`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from .images import stored
from .results import save
from .timing import environment

REPEATS = 5
STEP = "from benches import {0}_lenet5 as net; net.runs({1!r}, 'train', 100)()"


def began(code: str, variables: Mapping[str, str] | None = None) -> tuple[float, float]:
    """Seconds until a process that runs `code` has ended, and seconds of processor time."""
    before, start = os.times(), perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment(variables), check=True)
    took, after = perf_counter() - start, os.times()
    used = after.children_user + after.children_system
    return took, used - before.children_user - before.children_system


def row(name: str, code: str, repeats: int = REPEATS, **variables: str) -> dict[str, Any]:
    """The medians of a few processes."""
    runs = [began(code, variables) for _ in range(repeats)]
    wall, cpu = (statistics.median(each) for each in zip(*runs, strict=True))
    return {"bench": name, "seconds": wall, "processor seconds": cpu}


def measured() -> list[dict[str, Any]]:
    """All rows."""
    rows = [
        row("python", "pass"),
        row("import numpy, pydantic", "import numpy, pydantic"),
        row("import autograph", "import autograph"),
        row("import torch", "import torch"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        step = STEP.format("autograph", stored())
        rows.append(row("first step, autograph, cold", step, 1, AUTOGRAPH_CACHE=folder))
        rows.append(row("first step, autograph, warm", step, AUTOGRAPH_CACHE=folder))
    rows.append(row("first step, torch", STEP.format("torch", stored())))
    rows.append(row("first step, JAX", STEP.format("jax", stored()), 3))
    return rows


def main() -> None:
    rows = measured()
    print(f"{'':30}{'seconds':>9}{'processor':>11}")
    for each in rows:
        print(f"{each['bench']:30}{each['seconds']:9.2f}{each['processor seconds']:11.2f}")
    save("startup", rows)


if __name__ == "__main__":
    main()
