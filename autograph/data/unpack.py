"""A file read unpacked, whether it is gzipped or not. It knows nothing about what the bytes mean.

Reads are as long as the caller asks, so a small file that unpacks to a huge one costs no memory.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError

BLOCK = 1 << 20  # bytes
GZIP_MAGIC = b"\x1f\x8b"
DEFLATE_RATIO = 1032  # one byte of deflate holds at most so many


@dataclass(frozen=True)
class Unpacked:
    """An open file: `stream` gives unpacked bytes, at most `bound` of them."""

    stream: io.BufferedIOBase
    name: str
    bound: int
    gzipped: bool


@contextmanager
def unpacked(source: str | Path | bytes) -> Iterator[Unpacked]:
    """Open a path or bytes for reading; damaged gzip inside the block becomes a DataError."""
    file: io.BufferedIOBase
    if isinstance(source, bytes):
        name, file, size = "bytes", io.BytesIO(source), len(source)
    else:
        name, path = str(source), Path(source)
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
                raise DataError(f"{name}: this is not a file")
            file, size = path.open("rb"), status.st_size
        except OSError as error:
            raise DataError(f"{name}: cannot be read: {error.strerror}") from error
    with file:
        gzipped = file.read(2) == GZIP_MAGIC
        file.seek(0)
        try:
            if not gzipped:
                yield Unpacked(file, name, size, gzipped)
            else:
                with gzip.GzipFile(fileobj=file, mode="rb") as stream:
                    yield Unpacked(stream, name, size * DEFLATE_RATIO, gzipped)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(
                f"{name}: the gzip data is damaged or cut off\n  {error}\n  fetch the file again"
            ) from error


def unpacked_sha256(source: str | Path | bytes, *, limit: int) -> str:
    """The sha256 of the unpacked bytes in hexadecimal; more than `limit` bytes are refused."""
    digest, count = hashlib.sha256(), 0
    with unpacked(source) as file:
        while block := file.stream.read(BLOCK):
            count += len(block)
            if count > limit:
                raise DataError(f"{file.name}: unpacks to more than {limit:,} bytes")
            digest.update(block)
    return digest.hexdigest()
