"""A file from the first mirror that has it whole: resumed, checked, and put in place in one step.

The sha256 is of the unpacked bytes, because mirrors pack the same file differently.
"""

from __future__ import annotations

import http.client
import os
import re
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..atomic import sync_folder
from ..errors import DataError
from .unpack import unpacked_sha256

ATTEMPTS = 5  # for one mirror: the first, and those that resume it
PAUSE = 0.5  # seconds before an attempt that resumes
BLOCK = 1 << 16  # bytes
SLACK = 1 << 20  # packed, a file may be a little longer than unpacked
STALE = 3600.0  # seconds after which a partial file is nobody's


class _MirrorError(Exception):
    """A mirror does not give the file."""


class _BrokenOffError(Exception):
    """A mirror stopped in the middle of the file."""


def fetch(
    name: str,
    folder: str | Path,
    mirrors: Sequence[str],
    *,
    sha256: str,
    size: int,
    remedy: str = "",
    timeout: float = 30.0,
) -> Path:
    """Download `name` into `folder` from the first of `mirrors` that has it, and return its path.

    Args:
        sha256: of the unpacked file, in hexadecimal.
        size: of the unpacked file, in bytes; more is refused.
        remedy: what else the reader of an error can do.
        timeout: seconds to wait for a connection, and for the next bytes.
    """
    folder = Path(folder)
    target, partial = folder / name, folder / f".{name}.{secrets.token_hex(4)}.partial"
    reasons = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder, name)
        for mirror in mirrors:
            url = f"{mirror.rstrip('/')}/{name}"
            try:
                with partial.open("wb") as file:
                    _Transfer(url, file, size + SLACK, timeout).run()
                    file.flush()
                    os.fsync(file.fileno())
                _check(partial, sha256, size)
            except _MirrorError as error:
                reasons.append(f"  {url}\n    {error}\n")
            else:
                partial.replace(target)
                sync_folder(folder)
                return target
    except OSError as error:
        raise DataError(
            f"fetch: {name} cannot be written\n"
            f"  folder  {folder}\n"
            f"  reason  {error.strerror}\n"
            "  name a folder that can be written and has room"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    raise DataError(
        f"fetch: no mirror gave {name}\n"
        + "".join(reasons)
        + f"  put the file into {folder}"
        + (f", or {remedy}" if remedy else "")
    )


@dataclass
class _Transfer:
    """One URL on its way into a file."""

    url: str
    file: BinaryIO
    limit: int
    timeout: float
    version: str = ""  # what the server calls the bytes received so far

    def run(self) -> None:
        """Receive all of it; what breaks off is resumed, or begun again where it cannot be."""
        for _ in range(ATTEMPTS):
            try:
                return self._attempt()
            except _BrokenOffError as error:
                reason = str(error)
                time.sleep(PAUSE)
        raise _MirrorError(f"{reason}, and so {ATTEMPTS} times")

    def _attempt(self) -> None:
        start = self.file.tell() if self.version else 0
        request = urllib.request.Request(self.url, headers={"User-Agent": "autograph"})
        if start:
            request.add_header("Range", f"bytes={start}-")
            request.add_header("If-Range", self.version)
        with self._open(request) as response:
            if response.status != 206:
                start = 0
            elif not _begins_at(response, start):
                self.version = ""
                raise _BrokenOffError("the server resumed elsewhere")
            self.file.seek(start)
            self.file.truncate()
            self.version = _version(response)
            self._receive(response, None if response.length is None else start + response.length)

    def _open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        try:
            response: http.client.HTTPResponse = urllib.request.urlopen(
                request, timeout=self.timeout
            )
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and self.version:
                self.version = ""
                raise _BrokenOffError("the server refused to resume") from error
            raise _MirrorError(f"HTTP {error.code}: {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            raise _MirrorError(self._words(error)) from error
        return response

    def _receive(self, response: http.client.HTTPResponse, total: int | None) -> None:
        received = False
        while True:
            try:
                block = response.read1(BLOCK)
            except (OSError, http.client.HTTPException) as error:
                kind = _BrokenOffError if received else _MirrorError
                raise kind(self._words(error)) from error
            if not block:
                break
            received = True
            if self.file.tell() + len(block) > self.limit:
                raise _MirrorError(f"the file is longer than {self.limit:,} bytes")
            self.file.write(block)
        if total is not None and self.file.tell() < total:
            kind = _BrokenOffError if received else _MirrorError
            raise kind(f"the server stopped at {self.file.tell():,} of {total:,} bytes")

    def _words(self, error: Exception) -> str:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            return f"no answer for {self.timeout:g} seconds"
        if isinstance(reason, http.client.IncompleteRead):
            return f"the server stopped at {self.file.tell():,} bytes"
        return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def _begins_at(response: http.client.HTTPResponse, start: int) -> bool:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return found is not None and int(found[1]) == start


def _version(response: http.client.HTTPResponse) -> str:
    """What `If-Range` may hold; a weak tag says nothing about bytes."""
    tag: str = response.headers.get("ETag", "")
    date: str = response.headers.get("Last-Modified", "")
    return tag if tag.startswith('"') else date


def _check(path: Path, sha256: str, size: int) -> None:
    try:
        found = unpacked_sha256(path, limit=size)
    except DataError as error:
        raise _MirrorError(str(error).removeprefix(f"{path}: ").splitlines()[0]) from error
    if found != sha256:
        raise _MirrorError(
            "the unpacked bytes are not the ones that are wanted\n"
            f"      sha256  {found}\n"
            f"      wanted  {sha256}"
        )


def _sweep(folder: Path, name: str) -> None:
    """Remove what killed processes left, and nothing that a living one may be writing."""
    for path in folder.glob(f".{name}.*.partial"):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - STALE:
                path.unlink()
