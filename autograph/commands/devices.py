"""List the devices that can be used now: the host first, then each CUDA device."""

from __future__ import annotations

import argparse

from ..device import Device
from . import print_json, table


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Print a row for each device."""
    rows = []
    for each in Device.available():
        free, total = (f"{size / 2**30:.1f} GiB" for size in each.memory())
        rows.append({"device": str(each), **each.info(), "free": free, "total": total})
    if options.json:
        print_json(rows)
        return 0
    heads = list(dict.fromkeys(name for row in rows for name in row))
    print(table(heads, [[row.get(name, "") for name in heads] for row in rows]))
    return 0
