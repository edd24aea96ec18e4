"""Writes the tables of the README from the results: `python -m benches.readme`.

They stand between two markers; everything else is left as it is. Nothing is measured here, and
without results nothing is written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .results import FILE, ROOT, peers_of

DEVICE = ROOT / "benches" / "device.json"  # brought from a machine with a device
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
PEERS = ("torch", "torch, best variant", "JAX jit")


def tables(results: dict[str, Any]) -> Iterator[str]:
    """The lines between the markers."""
    for name in ("lenet5", "nets"):
        if name not in results:
            continue
        table = results[name]
        yield ""
        yield "| | autograph | of torch | of torch's best variant | of JAX jit | times the floor |"
        yield "|---|---|---|---|---|---|"
        for bench in dict.fromkeys(row["bench"] for row in table["rows"]):
            rows = [row for row in table["rows"] if row["bench"] == bench]
            yield _line(bench, rows)
            if any(row["contender"] == "autograph captured" for row in rows):
                yield _line(f"{bench}, captured", rows, "autograph captured")
        yield ""
        yield _place(table)
    yield from _devices(results)
    if "overhead" in results:
        ratios = [row["ratio"] for row in results["overhead"]["rows"] if "backward" in row["bench"]]
        yield ""
        yield (
            f"An op on eight numbers, recorded and walked back, takes {min(ratios):.2f} to "
            f"{max(ratios):.2f} of torch's time."
        )


def _devices(results: dict[str, Any]) -> Iterator[str]:
    """The tables of what ran on a device."""
    for table in (results[name] for name in results if "device" in results[name]):
        yield ""
        names = ("autograph", "eager", "of torch eager", "of torch's best", "of JAX jit")
        yield f"| {table['device']} | {' | '.join(names)} |"
        yield "|---|---|---|---|---|---|"
        for bench in dict.fromkeys(row["bench"] for row in table["rows"]):
            rows = [row for row in table["rows"] if row["bench"] == bench]
            times = {row["contender"]: row["median ms"] for row in rows if "median ms" in row}
            for name in times:
                if not name.startswith("autograph") or name.endswith((", eager", ", called")):
                    continue
                eager = times.get(f"{name}, eager")
                ratios = peers_of(rows, name)
                cells = [f"{times[name] * 1e3:,.0f} us", f"{eager * 1e3:,.0f} us" if eager else ""]
                cells += [f"{ratios[each]:.2f}" if each in ratios else "" for each in PEERS]
                about = name.removeprefix("autograph").lstrip(", ")
                yield f"| {bench}{about and f', {about}'} | {' | '.join(cells)} |"
        yield ""
        versions = ", ".join(f"{name} {value}" for name, value in table["versions"].items())
        yield (
            f"Medians of one run on one {table['device']} ({versions}), at commit "
            f"{table['commit']}, {table['when'][:10]}. Steps are captured, as are those of torch's "
            f"best, which is compiled as well; ratios are autograph's time over the other's."
        )
        if any("no masters" in row["contender"] for row in table["rows"]):
            yield (
                'Beside bf16 parameters autograph keeps f32 masters, but for "no masters"; torch '
                "keeps none here."
            )


def _line(bench: str, rows: list[dict[str, Any]], name: str = "autograph") -> str:
    own = next((row for row in rows if row["contender"] == name), {})
    if "median ms" not in own:
        return f"| {bench} | failed | | | | |"
    ratios = peers_of(rows, name)
    cells = [f"{ratios[each]:.2f}" if each in ratios else "" for each in PEERS]
    floor = f"{own['x floor']:.1f}" if "x floor" in own else ""
    return f"| {bench} | {own['median ms']:.2f} ms | {' | '.join(cells)} | {floor} |"


def _place(table: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in table["versions"].items())
    return (
        f"Medians of one run on {table['cores']} cores of {table['processor']} ({versions}), at "
        f"commit {table['commit']}, {table['when'][:10]}. Ratios are autograph's time over the "
        f"other's; the floor is the time that the multiply-adds alone take on this machine."
    )


def written(text: str, results: dict[str, Any]) -> str:
    """The README with its tables made anew."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"README.md: no place for the tables\n  write  {BEGIN}\n  and    {END}")
    return "\n".join([before + BEGIN, *tables(results), "", END + after])


def main() -> None:
    readme = ROOT / "README.md"
    if not FILE.exists():
        raise SystemExit(f"{FILE}: no results\n  run  python -m benches")
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else readme
    results = json.loads(FILE.read_text())
    if DEVICE.exists():
        results |= json.loads(DEVICE.read_text())
    file.write_text(written(file.read_text(), results))


if __name__ == "__main__":
    main()
