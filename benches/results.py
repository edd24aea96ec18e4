"""What was measured, as rows for tables and as a JSON file with versions, processor and commit."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import floor
from .timing import Contender, Times, race, versions

ROOT = Path(__file__).parents[1]
FILE = ROOT / "benches" / "results.json"

Row = dict[str, Any]


def processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def commit() -> str:
    """The commit that is measured, with + where files differ from it; "" outside of git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=10"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def place() -> dict[str, Any]:
    """Where and with what something was measured."""
    return {
        "processor": processor(),
        "cores": floor.cores(),
        "load": [round(each, 2) for each in os.getloadavg()],
        "commit": commit(),
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "versions": versions(),
    }


def raced(
    name: str,
    contenders: Sequence[Contender],
    *,
    operations: float = 0,
    scalar_type: str = "f32",
    **settings: Any,
) -> list[Row]:
    """Rows of a race of contenders, in ms: the times, their ratio to autograph's peers, and the
    multiple of the time that `operations` take at the floor of the same run."""
    found = race([*contenders, *(floor.CONTENDERS if operations else ())], **settings)
    limit = 0.0
    if operations:
        limit = operations / floor.rates(found)[f"floor {scalar_type}"] * 1e-6
    return [row_of(name, each.name, found[each.name][""], limit=limit) for each in contenders]


def row_of(bench: str, contender: str, times: Times, *, limit: float = 0.0) -> Row:
    """One contender's row; without runs it says why."""
    row: Row = {"bench": bench, "contender": contender}
    if times.error or not times.times:
        return {**row, "error": times.error or "no runs"}
    row |= {
        "median ms": times.median * 1e3,
        "p10 ms": times.p10 * 1e3,
        "runs": len(times.times),
        "peak MiB": times.peak,
        "added MiB": times.added,
    }
    if limit:
        row |= {"floor ms": limit, "x floor": times.median * 1e3 / limit}
    return row


def peers_of(rows: Sequence[Row], ours: str = "autograph") -> dict[str, float]:
    """The time of `ours` over that of each other contender, and of torch's best."""
    medians = {each["contender"]: each["median ms"] for each in rows if "median ms" in each}
    own = medians.get(ours)
    if own is None:
        return {}
    ratios = {name: own / ms for name, ms in medians.items() if name != ours}
    torch = [ms for name, ms in medians.items() if name.startswith("torch")]
    return {**ratios, "torch, best variant": own / min(torch)} if torch else ratios


def shown(rows: Sequence[Row]) -> str:
    """Rows as a table of text, autograph's time over each in the last column."""
    names = f"{'median':>10}{'p10':>10}{'x floor':>9}{'MiB':>7}{'added':>7}{'autograph / it':>16}"
    lines = [" " * 34 + names]
    for bench in dict.fromkeys(each["bench"] for each in rows):
        group = [each for each in rows if each["bench"] == bench]
        ratios = peers_of(group)
        lines.append(bench)
        for each in group:
            name = f"  {each['contender']:32}"
            if "error" in each:
                lines.append(f"{name}  failed: {each['error'][:70]}")
                continue
            over = f"{each['x floor']:9.1f}" if "x floor" in each else " " * 9
            ratio = ratios.get(each["contender"])
            lines.append(
                f"{name}{each['median ms']:8.3f}ms{each['p10 ms']:8.3f}ms{over}"
                f"{each['peak MiB']:7.0f}{each['added MiB']:7.0f}"
                + (f"{ratio:16.2f}" if ratio is not None else "")
            )
    return "\n".join(lines)


def save(table: str, rows: Sequence[Mapping[str, Any]], file: Path = FILE, **more: Any) -> None:
    """Write a table into the file of results, beside the tables that are there."""
    known = json.loads(file.read_text()) if file.exists() else {}
    known[table] = {**place(), **more, "rows": list(rows)}
    file.write_text(json.dumps(known, indent=1) + "\n")
