"""Tell what a file holds: the model and how far it came, and every tensor with its shape.

Nothing is built or executed. `--verify` reads all of it and checks the checksum. Files that
others wrote are told by their tensors alone.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from .. import layers
from ..errors import CheckpointError
from ..files import File
from ..header import NAMES
from ..settings import Described
from . import print_json, table


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a .safetensors file")
    parser.add_argument("--verify", action="store_true", help="read all of it, check the checksum")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Print what the file says of itself."""
    if not options.file.exists():
        raise FileNotFoundError(2, "no such file", str(options.file))
    if options.file.is_dir():
        held = [str(each) for each in sorted(options.file.rglob("*.safetensors"))[:4]]
        raise CheckpointError(
            f"{options.file} is a folder\n  write  {', or '.join(held) or 'a file'}"
        )
    with _opened(options.file) as file:
        if options.verify:
            file.verify()
        if options.json:
            print_json(_told(file, options.verify))
        else:
            print(_in_words(file, options.verify))
    return 0


def _opened(path: Path) -> File:
    """The file, by our rules; by those of plain safetensors if others wrote it."""
    try:
        return File(path)
    except CheckpointError as error:
        if "was not written by autograph" not in str(error):
            raise
        return File(path, foreign=True)


def _told(file: File, verified: bool) -> dict[str, Any]:
    tensors = {
        name: {"scalar_type": NAMES[each.dtype], "shape": list(each.shape)}
        for name, each in file.entries.items()
    }
    checksum = None if file.foreign else file.checksum
    told = {"file": str(file.path), "bytes": file.path.stat().st_size, "checksum": checksum}
    return {**told, "verified": verified, "metadata": file.metadata, "tensors": tensors}


def _in_words(file: File, verified: bool) -> str:
    lines = [f"{file.path}: {file.path.stat().st_size:,} bytes, {len(file.entries)} tensors"]
    if file.foreign:
        lines.append("  not written by autograph: it has no checksum")
    else:
        state = "right" if verified else "not checked, --verify does"
        lines.append(f"  sha256 {str(file.checksum)[:16]}... {state}")
    for name, value in file.metadata.items():
        match name, value:
            case "model", {"fields": dict(fields), "name": name}:
                lines.append(f"\nmodel {name}")
                width = max(map(len, fields), default=0)
                lines += [f"  {each:<{width}}  {_layer(part)}" for each, part in fields.items()]
            case (("model" | "optimizer" | "progress"), dict()):
                lines.append(f"\n{name} {_layer(value)}")
            case _:
                lines.append(f"{name} {value}")
    rows = [
        (name, NAMES[each.dtype], each.shape, f"{each.end - each.begin:,}")
        for name, each in sorted(file.entries.items())
    ]
    return "\n".join([*lines, "", table(("tensor", "type", "shape", "bytes"), rows, "bytes")])


def _layer(part: Any) -> str:
    """A layer's kind and those of its settings that are something."""
    if not isinstance(part, dict):
        return str(part)
    if isinstance(part.get("fields"), dict):
        inner = ", ".join(f"{name}: {_layer(each)}" for name, each in part["fields"].items())
        return f"{part.get('name', 'Sequential')}({inner})"
    kind = str(part.get("kind", ""))
    usual = _defaults(kind)
    settings = [
        f"{name}={_short(value)}"
        for name, value in part.items()
        if name != "kind" and value not in (None, False) and _short(value) != usual.get(name)
    ]
    return f"{kind}({', '.join(settings)})"


def _defaults(kind: str) -> dict[str, Any]:
    """The settings that a layer has unless somebody says others."""
    if kind not in layers.KINDS:
        return {}
    told = [(each.name, each.default) for each in fields(getattr(layers, f"{kind}Builder"))]
    return {k: v.describe() if isinstance(v, Described) else _short(v) for k, v in told}


def _short(value: Any) -> Any:
    """Sizes that are all the same as one."""
    same = isinstance(value, list | tuple) and len(set(map(repr, value))) == 1
    return value[0] if same else value
