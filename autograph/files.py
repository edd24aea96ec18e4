"""Safetensors files that can be trusted: written whole or not at all, checked before they are read.

A file of autograph has one metadata key, JSON, with a sha256 over all of the file. It knows
nothing of models.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, cast
from weakref import finalize

import numpy as np

from .atomic import told, write_whole
from .errors import CheckpointError, MemoryLimitError
from .header import LENGTH, METADATA, NAMES, Entry, decode, dumps, encode, length_of, loads, shown

Array = np.ndarray[Any, Any]

KEY = "autograph"
FORMAT = 1

# From a version to the next: what a migration answers of a document and its entries, of which it
# may change the names. Whoever changes what files hold raises FORMAT and writes one.
Migration = Callable[[dict[str, Any], dict[str, Entry]], tuple[dict[str, Any], dict[str, Entry]]]
MIGRATIONS: dict[int, Migration] = {}

BLANK = "0" * 64  # stands for the checksum while it is computed
BLOCK = 1 << 20  # bytes read at once
UNVERIFIED = 64 << 20  # bytes that may be set aside before the checksum is known to be right


# -- writing ---------------------------------------------------------------------------


def write(
    path: str | Path, tensors: Mapping[str, Array], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write arrays and JSON metadata; the file that was there stays until the new one is safe.

    The same arrays and metadata give the same bytes, whatever order the arrays are in.
    """
    from . import __version__

    with told(path, "save"):
        arrays = {name: _plain(name, tensors[name]) for name in sorted(tensors)}
        arrays = dict(sorted(arrays.items(), key=lambda item: -item[1].itemsize))  # aligned
        entries, end = {}, 0
        for name, array in arrays.items():
            begin, end = end, end + array.nbytes
            entries[name] = Entry(array.dtype, tensors[name].shape, begin, end)
        document = {"format": f"{KEY}/{FORMAT}", "library": __version__, "checksum": BLANK}
        document |= metadata or {}
        try:
            header = encode(entries, {KEY: dumps(document)})
        except (TypeError, ValueError) as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f"the metadata cannot be written as JSON: {error}") from None
        pieces = [_bytes_of(array) for array in arrays.values()]
        digest = sha256(header)
        for piece in pieces:
            digest.update(piece)
        write_whole(path, [header.replace(BLANK.encode(), digest.hexdigest().encode(), 1), *pieces])


def _plain(name: str, array: Array) -> Array:
    """The array in C order and little endian, as files have it."""
    if name == METADATA or not isinstance(name, str):
        raise CheckpointError(f"{name!r} is no name for a tensor\n  choose another")
    array = np.asarray(array)
    array = np.require(array, array.dtype.newbyteorder("<"), "C")
    if array.dtype not in NAMES:
        raise CheckpointError(
            f"{name}: arrays of {array.dtype} are not taken\n  taken  {', '.join(NAMES.values())}"
        )
    return array


# -- reading ---------------------------------------------------------------------------


class File:
    """A safetensors file that is open: `metadata`, `entries`, and `tensors` when asked for.

    Opening reads and checks the header alone. Arrays are copies, read once the checksum is
    known to be right.
    """

    path: Path
    metadata: dict[str, Any]
    entries: dict[str, Entry]

    def __init__(self, path: str | Path, *, foreign: bool = False) -> None:
        self.path = Path(path)
        self.foreign = foreign
        with told(path, "load"):
            self._descriptor = _open(path)
            self.close = finalize(self, os.close, self._descriptor)
            status = os.fstat(self._descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise CheckpointError("this is no ordinary file")
            start = self._at(0, min(16, status.st_size))
            length = length_of(start, status.st_size)
            self._header = self._at(0, LENGTH + length)
            entries, table = decode(self._header[LENGTH:], status.st_size - len(self._header))
            self.entries, self.metadata = entries, table
            if not foreign:
                self.metadata, self.entries = self._document(table, entries)

    def _document(
        self, table: Mapping[str, str], entries: dict[str, Entry]
    ) -> tuple[dict[str, Any], dict[str, Entry]]:
        """The JSON that autograph wrote, without what only files know of, and the entries; both
        as files of today have them."""
        if KEY not in table:
            raise CheckpointError(
                "this safetensors file was not written by autograph\n"
                "  write  autograph.files.read_foreign(path)  for its tensors alone"
            )
        document = loads(table[KEY], "the metadata")
        kind = document.get("format") if isinstance(document, dict) else None
        version = re.fullmatch(rf"{KEY}/([0-9]{{1,9}})", kind) if isinstance(kind, str) else None
        if version is None:
            raise CheckpointError(f"its format is not known\n  file  {shown(kind)}")
        number, library = int(version[1]), document.pop("library", None)
        if number > FORMAT:
            writer = shown(library).strip("'") if isinstance(library, str) else "unknown"
            raise CheckpointError(
                f"a newer version of autograph wrote this file\n"
                f"  file  {kind}, by autograph {writer}\n  here  {KEY}/{FORMAT}\n"
                f"  install  autograph {writer}  or a later one"
            )
        self.checksum = document.pop("checksum", None)
        sound = isinstance(self.checksum, str) and re.fullmatch("[0-9a-f]{64}", self.checksum)
        if not sound or self._header.count(self.checksum.encode()) != 1:
            raise CheckpointError("it has no checksum: it is damaged")
        del document["format"]
        for each in range(number, FORMAT):
            if each not in MIGRATIONS:
                raise CheckpointError(f"its format is not known\n  file  {kind}")
            document, entries = MIGRATIONS[each](document, entries)
        return document, entries

    @cached_property
    def tensors(self) -> dict[str, Array]:
        """All arrays by name, sorted."""
        return self.take(sorted(self.entries))

    def take(self, names: Iterable[str]) -> dict[str, Array]:
        """Some of the arrays; the checksum of the whole file is checked."""
        wanted = list(names)
        if sum(self.entries[name].end - self.entries[name].begin for name in wanted) > UNVERIFIED:
            self.verify()
        arrays = self._read(set(wanted))
        return {name: arrays[name] for name in wanted}

    def verify(self) -> None:
        """Refuse the file if its checksum is not that of its bytes."""
        self._read(set())

    def _read(self, wanted: set[str]) -> dict[str, Array]:
        """The wanted arrays, every byte of the file having gone through the checksum."""
        arrays: dict[str, Array] = {}
        with told(self.path, "load"):
            digest = None if self.foreign else sha256(self._blanked())
            place, skipped = len(self._header), memoryview(bytearray(BLOCK))
            for name, entry in self.entries.items():
                size, target = entry.end - entry.begin, None
                if name in wanted:
                    arrays[name] = _empty(name, entry)
                    target = _bytes_of(arrays[name])
                for start in range(0, size, BLOCK):
                    count = min(BLOCK, size - start)
                    part = skipped[:count] if target is None else target[start : start + count]
                    self._into(part, place + entry.begin + start)
                    if digest is not None:
                        digest.update(part)
                bools = target is not None and entry.dtype == np.bool_
                if bools and (arrays[name].view(np.uint8) > 1).any():
                    raise CheckpointError(f"{shown(name)}: it is BOOL and has bytes above 1")
            if digest is not None and digest.hexdigest() != self.checksum:
                raise CheckpointError(
                    f"it is damaged: its checksum is wrong\n"
                    f"  file      {self.checksum}\n  computed  {digest.hexdigest()}\n"
                    f"  use another copy of it, or an earlier checkpoint"
                )
        return arrays

    def _blanked(self) -> bytes:
        assert self.checksum is not None
        return self._header.replace(self.checksum.encode(), BLANK.encode())

    def _at(self, offset: int, count: int) -> bytes:
        made = bytearray(count)
        self._into(memoryview(made), offset)
        return bytes(made)

    def _into(self, target: memoryview, offset: int) -> None:
        """Fill memory from the file: reading, where mapping the file would end the process if
        somebody cut it off meanwhile."""
        while target:
            count = os.preadv(self._descriptor, [target], offset)
            if not count:
                raise CheckpointError("the file was cut off while it was read")
            target, offset = target[count:], offset + count

    def __enter__(self) -> File:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(path: str | Path) -> File:
    """Open a file that autograph wrote: `read(path).tensors`, `read(path).metadata`."""
    return File(path)


def read_foreign(path: str | Path) -> File:
    """Open any safetensors file. Its metadata is a table of strings, and it has no checksum."""
    return File(path, foreign=True)


def _bytes_of(array: Array) -> memoryview:
    return memoryview(cast(Any, array.reshape(-1).view(np.uint8)))


def _open(path: str | Path) -> int:
    flags = os.O_RDONLY
    for name in ("O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"):  # never wait for a FIFO
        flags |= getattr(os, name, 0)
    return os.open(path, flags)


def _empty(name: str, entry: Entry) -> Array:
    try:
        return np.empty(entry.shape, entry.dtype)
    except MemoryError:
        raise MemoryLimitError(
            f"load: the host has no memory for {shown(name)}\n"
            f"  asked for  {entry.end - entry.begin} bytes\n  load it on a larger machine"
        ) from None
