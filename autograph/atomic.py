"""Files replaced in one step: whoever reads sees the old bytes or the new, whatever happens."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import CheckpointError

REMEDIES = {
    errno.ENOSPC: "free some space, or save elsewhere",
    errno.EDQUOT: "free some space, or save elsewhere",
    errno.EFBIG: "raise the limit on file sizes, or save elsewhere",
    errno.EROFS: "save where files can be written",
    errno.EACCES: "save where files can be written",
    errno.EPERM: "save where files can be written",
    errno.ENOENT: "make the folder first",
}


def write_whole(path: str | Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Replace a file by these bytes in one step that survives a crash: a temporary file beside
    it, synced, renamed, and the folder synced. What killed writers left is removed."""
    target = Path(os.path.realpath(path))
    with told(path, "save"):
        if target.exists() and not target.is_file():
            raise CheckpointError("this is no ordinary file\n  choose another path")
        sweep(target.parent, target.name)
        temporary, descriptor = _temporary(target)
        try:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
            temporary.replace(target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        finally:
            os.close(descriptor)
        sync_folder(target.parent)


def _temporary(target: Path) -> tuple[Path, int]:
    """A new file beside the target, locked for as long as it is open."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    while True:
        path = target.with_name(f".{_short(target.name)}.{secrets.token_hex(8)}.partial")
        descriptor = os.open(path, flags, 0o666)
        with suppress(OSError):  # where files cannot be locked, they are not swept either
            lock(descriptor)
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # somebody swept it before it was locked


def _short(name: str) -> str:
    """What temporary files of a name are called by: names are of 255 bytes at most."""
    return name if len(os.fsencode(name)) < 230 else name[:50]


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove temporary files of a name, or of all, whose writers are gone."""
    wanted = ".+" if name is None else re.escape(_short(name))
    pattern = re.compile(rf"\.{wanted}\.[0-9a-f]{{16}}\.partial")
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    for path in folder.iterdir():
        if pattern.fullmatch(path.name):
            with suppress(OSError):
                found = os.open(path, flags)
                try:
                    lock(found)  # fails while its writer lives
                    path.unlink()
                finally:
                    os.close(found)


def lock(descriptor: int) -> None:
    """Hold a file for as long as it is open, or raise BlockingIOError; nothing where files
    cannot be locked."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sync_folder(folder: Path) -> None:
    """Make new names last: a rename is in the folder, not in the file."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def told(path: str | Path, verb: str) -> Iterator[None]:
    """Errors within the block say which file it was, and are CheckpointErrors."""
    place = f"{verb}: {os.fspath(path)}: "
    try:
        yield
    except CheckpointError as error:
        if str(error).startswith(f"{verb}: "):
            raise
        raise CheckpointError(place + str(error)) from None
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        if verb == "save":
            remedy = REMEDIES.get(error.errno or 0, "try again")
            words += f"\n  what was there is untouched\n  {remedy}"
        raise CheckpointError(place + words) from error
