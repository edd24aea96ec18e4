"""Memory over many training steps of LeNet5, beside torch's: the peak, and whether it grows.

`python -m benches.memory [--steps 20000]`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .images import stored
from .results import save
from .timing import environment, from_here, peak

LOOKS = 5  # at the memory in use, the first a tenth of the way


def resident() -> float:
    """MiB that this process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def watched(module: str, path: str, steps: int) -> dict[str, Any]:
    """In this process: memory before the first step, in between and at its peak."""
    run = importlib.import_module(module).runs(path, "train", 100)
    before = from_here()
    marks = [steps // 10 + i * (steps - steps // 10) // (LOOKS - 1) for i in range(LOOKS)]
    found, done = [], 0
    for mark in marks:
        for _ in range(mark - done):
            run()
        done = mark
        found.append(resident())
    return {
        "before MiB": before,
        "steps": marks,
        "MiB": found,
        "growth MiB": found[-1] - found[0],
        "peak MiB": peak(),
        "added MiB": peak() - before,
    }


def measured(steps: int) -> list[dict[str, Any]]:
    """A row for each framework."""
    rows = []
    for name in ("autograph", "torch"):
        call = [sys.executable, "-m", __spec__.name, "--watch", name, "--steps", str(steps)]
        done = subprocess.run(
            [*call, "--path", stored()], env=environment(), capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        rows.append({"bench": f"LeNet5 train f32 b100, {name}", **json.loads(done.stdout)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--watch", help=argparse.SUPPRESS)  # one framework, in this process
    parser.add_argument("--path", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watch:
        print(json.dumps(watched(f"benches.{options.watch}_lenet5", options.path, options.steps)))
        return
    rows = measured(options.steps)
    for row in rows:
        between = ", ".join(
            f"{mib:.1f} after {step}" for step, mib in zip(row["steps"], row["MiB"], strict=True)
        )
        print(
            f"{row['bench']}: peak {row['peak MiB']:.1f} MiB, {row['added MiB']:.1f} added; "
            f"{between}"
        )
    save("memory", rows)


if __name__ == "__main__":
    main()
