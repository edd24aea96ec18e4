"""From a CUDA source file and its constants to machine code, once: the code is kept on disk.

A source file holds kernels that are templates over one `Spec`, a struct of types and numbers
that is written here from Python values. It knows nothing of devices: any architecture can be
compiled for anywhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from ...errors import KernelError
from . import nvrtc

HEADERS = Path(__file__).parent  # scalar.cuh, tile.cuh and the others that kernels include

C_TYPES = {
    "bool": "bool",
    "uint8": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "uint64": "uint64",
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "int64": "int64",
    "float16": "f16",
    "bfloat16": "bf16",
    "float32": "float",
    "float64": "double",
}

Constant = bool | int | float | str


def c_type(dtype: object) -> str:
    """What a NumPy dtype is called in the sources."""
    return C_TYPES[np.dtype(dtype).name]  # type: ignore[call-overload]


@cache
def expand(path: Path) -> str:
    """A source file with its headers in place, each once, and every line numbered as it was."""
    return _expand(path, set())


def _expand(path: Path, seen: set[Path]) -> str:
    if path in seen:
        return ""
    seen.add(path)
    lines = [f'#line 1 "{path.name}"']
    for number, line in enumerate(path.read_text().splitlines(), 1):
        include = re.match(r'#include "([^"]+)"', line)
        if include is None:
            lines.append("" if line.startswith("#pragma once") else line)
            continue
        beside = path.parent / include[1]
        lines.append(_expand(beside if beside.exists() else HEADERS / include[1], seen))
        lines.append(f'#line {number + 1} "{path.name}"')
    return "\n".join(lines)


def spec_text(constants: Mapping[str, Constant]) -> str:
    """The struct `Spec`: text is a type, or a whole member when it ends with `}` or `;`."""
    lines = []
    for name, value in constants.items():
        if isinstance(value, str):
            lines.append(value if value[-1] in "};" else f"using {name} = {value};")
        elif isinstance(value, bool):
            lines.append(f"static constexpr bool {name} = {str(value).lower()};")
        elif isinstance(value, int):
            kind = "int" if abs(value) < 2**31 else "long long"
            lines.append(f"static constexpr {kind} {name} = {value};")
        else:
            lines.append(f"static constexpr double {name} = {value!r};")
    return '\n#line 1 "Spec"\nstruct Spec {\n' + "".join(f"    {x}\n" for x in lines) + "};\n"


def compile_kernel(
    source: Path | str, kernel: str, constants: Mapping[str, Constant], architecture: int
) -> tuple[str, bytes]:
    """The name and machine code of `kernel<Spec>`, from the cache if it was compiled before.

    `source` is a file, or a text that may include the shared headers.
    """
    text = expand(source) if isinstance(source, Path) else expand_text(source)
    text += spec_text(constants)
    instance = f"{kernel}<Spec>"
    key = f"{nvrtc.version()} {architecture} {instance}\n{text}"
    entry = cache_folder() / f"{kernel}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.cubin"
    found = _read_entry(entry)
    if found is None:
        try:
            found = nvrtc.compile_text(text, instance, architecture)
        except nvrtc.CompileFailure as failure:
            raise KernelError(_explain(str(failure), text, instance, constants)) from None
        _write_entry(entry, found)
    return found


@cache
def expand_text(text: str) -> str:
    """A source text with its headers in place, each once."""
    seen: set[Path] = set()
    parts = [
        _expand(HEADERS / include[1], seen)
        for include in re.finditer(r'^#include "([^"]+)"$', text, re.MULTILINE)
    ]
    rest = re.sub(r'^#include "[^"]+"$', "", text, flags=re.MULTILINE)
    return "\n".join([*parts, '#line 1 "generated"', rest])


def _explain(log: str, text: str, instance: str, constants: Mapping[str, Constant]) -> str:
    """The compiler's first complaint, with the line that it is about."""
    error = re.search(r"^(.+?)\((\d+)\): (?:catastrophic )?error: (.*)$", log, re.MULTILINE)
    given = ", ".join(f"{k} = {v}" for k, v in constants.items() if "\n" not in str(v))
    if error is None:
        return f"{instance}: it does not compile\n  with      {given}\n{log}"
    file, line, what = error.groups()
    return (
        f"{file}, line {line}: {what}\n"
        f"  line      {_line_of(text, file, int(line)).strip()}\n"
        f"  kernel    {instance}\n"
        f"  with      {given}"
    )


def _line_of(text: str, file: str, wanted: int) -> str:
    """Line `wanted` of `file` in an expanded text."""
    here, number = "", 0
    for line in text.splitlines():
        mark = re.match(r'#line (\d+) "(.*)"', line)
        if mark:
            here, number = mark[2], int(mark[1]) - 1
            continue
        number += 1
        if here == file and number == wanted:
            return line
    return ""


# -- The cache: a checksum, the kernel's name, the code -----------------------------------


@cache
def cache_folder() -> Path:
    """$AUTOGRAPH_CACHE, else ~/.cache/autograph, else a folder that dies with this process."""
    for base in (os.environ.get("AUTOGRAPH_CACHE"), "~/.cache/autograph"):
        if not base:
            continue
        try:
            folder = Path(base).expanduser() / "cuda"
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except (OSError, RuntimeError):  # read-only, no room, or no home
            continue
    temporary = tempfile.TemporaryDirectory(prefix="autograph-")
    _temporary.append(temporary)
    return Path(temporary.name)


_temporary: list[tempfile.TemporaryDirectory[str]] = []


def _read_entry(path: Path) -> tuple[str, bytes] | None:
    """What was kept, unless it is missing or damaged."""
    try:
        checksum, name, code = path.read_bytes().split(b"\n", 2)
    except (OSError, ValueError):
        return None
    if hashlib.sha256(name + b"\n" + code).hexdigest().encode() != checksum:
        return None
    return name.decode(), code


def _write_entry(path: Path, entry: tuple[str, bytes]) -> None:
    """Keep an entry; where that fails (a full disk), it is compiled again next time."""
    body = entry[0].encode() + b"\n" + entry[1]
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        Path(file.name).replace(path)
    except OSError:
        Path(file.name).unlink(missing_ok=True)
