"""Downloads, against a server on this machine that misbehaves as told."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from autograph.data import fetch as fetching
from autograph.data.fetch import fetch
from autograph.errors import DataError

WHOLE = random.Random(0).randbytes(300_000)
PACKED = gzip.compress(WHOLE, mtime=0)
SHA256 = hashlib.sha256(WHOLE).hexdigest()
OTHER = gzip.compress(WHOLE[::-1], mtime=0)


@dataclass
class Behaviour:
    """How one mirror answers."""

    body: bytes = PACKED
    status: int = 200
    stop_after: list[int] = field(default_factory=list)  # bytes of the 1st, 2nd, … answer
    resumes: bool = True  # knows Range
    tag: str = '"one"'
    tells_length: bool = True
    chunked: bool = False
    hangs: bool = False
    shift: int = 0  # a resumed answer begins so many bytes late
    answers: int = 0
    ranges: list[str | None] = field(default_factory=list)  # what was asked for


class Handler(BaseHTTPRequestHandler):
    """GET /MIRROR/NAME, answered as `server.mirrors[MIRROR]` says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        mirror = self.server.mirrors[self.path.split("/")[1]]  # type: ignore[attr-defined]
        mirror.ranges.append(self.headers["Range"])
        self.close_connection = True
        if mirror.hangs:
            self.server.released.wait()  # type: ignore[attr-defined]
            return
        if mirror.status != 200:
            self.send_error(mirror.status)
            return
        start = 0
        if self.headers["Range"] and mirror.resumes and self.headers["If-Range"] == mirror.tag:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            start += mirror.shift
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-/{len(mirror.body)}")
        else:
            self.send_response(200)
        if mirror.tag:
            self.send_header("ETag", mirror.tag)
        if mirror.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif mirror.tells_length:
            self.send_header("Content-Length", str(len(mirror.body) - start))
        self.end_headers()
        stops = mirror.stop_after[mirror.answers : mirror.answers + 1]
        mirror.answers += 1
        part = mirror.body[start:][: stops[0] if stops else None]
        if mirror.chunked:
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.write(b"" if stops else b"0\r\n\r\n")
        else:
            self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setattr(fetching, "PAUSE", 0.0)
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.mirrors, server.released = {}, threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.released.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


class Fetched:
    """`fetch` of the file from mirrors that behave as told."""

    def __init__(self, server: ThreadingHTTPServer, folder: Path) -> None:
        self.server, self.folder = server, folder

    def url(self, mirror: int) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{mirror}/"

    def __call__(self, *behaviours: Behaviour, timeout: float = 10.0) -> Path:
        mirrors = {str(i): behaviour for i, behaviour in enumerate(behaviours)}
        self.server.mirrors = mirrors  # type: ignore[attr-defined]
        urls = [self.url(i) for i in range(len(behaviours))]
        return fetch("file.gz", self.folder, urls, sha256=SHA256, size=300_000, timeout=timeout)

    def refused(self, *behaviours: Behaviour, timeout: float = 10.0) -> str:
        """The error, which leaves nothing behind."""
        with pytest.raises(DataError) as info:
            self(*behaviours, timeout=timeout)
        assert [] == list(self.folder.iterdir())
        return str(info.value).replace(self.url(0), "http://0/").replace(self.url(1), "http://1/")


@pytest.fixture
def fetched(server: ThreadingHTTPServer, tmp_path: Path) -> Fetched:
    return Fetched(server, tmp_path / "cache")


def holds(path: Path, data: bytes = PACKED) -> bool:
    """Whether the file is there, whole and alone."""
    return path.read_bytes() == data and list(path.parent.iterdir()) == [path]


def test_a_whole_file_is_put_in_place(fetched: Fetched) -> None:
    path = fetched(Behaviour())

    assert holds(path)
    assert fetched.folder / "file.gz" == path


def test_a_mirror_may_pack_otherwise_or_not_at_all(fetched: Fetched) -> None:
    assert holds(fetched(Behaviour(body=WHOLE)), WHOLE)
    assert holds(fetched(Behaviour(body=gzip.compress(WHOLE, 1))), gzip.compress(WHOLE, 1))


def test_a_file_without_a_length_or_in_chunks_is_taken(fetched: Fetched) -> None:
    assert holds(fetched(Behaviour(tells_length=False)))
    assert holds(fetched(Behaviour(chunked=True)))


def test_an_old_file_is_replaced(fetched: Fetched) -> None:
    fetched.folder.mkdir()
    (fetched.folder / "file.gz").write_bytes(b"old")

    assert holds(fetched(Behaviour()))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_broken_transfer_is_resumed_where_it_stopped(fetched: Fetched, chunked: bool) -> None:
    mirror = Behaviour(stop_after=[100_000, 50_000], chunked=chunked)

    assert holds(fetched(mirror))
    assert [None, "bytes=100000-", "bytes=150000-"] == mirror.ranges


def test_a_server_without_range_is_asked_again_from_the_start(fetched: Fetched) -> None:
    mirror = Behaviour(stop_after=[100_000], resumes=False)

    assert holds(fetched(mirror))
    assert [None, "bytes=100000-"] == mirror.ranges


@pytest.mark.parametrize("tag", ["", 'W/"weak"'])
def test_bytes_that_have_no_name_are_not_resumed(fetched: Fetched, tag: str) -> None:
    mirror = Behaviour(stop_after=[100_000], tag=tag)

    assert holds(fetched(mirror))
    assert [None, None] == mirror.ranges


def test_a_file_that_changed_meanwhile_is_begun_again(fetched: Fetched) -> None:
    class Changing(Behaviour):
        """Has other bytes, longer ones, under another tag, for its first answer."""

        def __getattribute__(self, name: str) -> object:
            if name in ("body", "tag") and len(super().__getattribute__("ranges")) < 2:
                return {"body": bytes(400_000), "tag": '"zero"'}[name]
            return super().__getattribute__(name)

    mirror = Changing(stop_after=[350_000])

    assert len(PACKED) < 350_000
    assert holds(fetched(mirror))
    assert [None, "bytes=350000-"] == mirror.ranges


def test_a_part_that_begins_elsewhere_is_not_joined(fetched: Fetched) -> None:
    mirror = Behaviour(stop_after=[100_000], shift=1)

    assert holds(fetched(mirror))
    assert [None, "bytes=100000-", None] == mirror.ranges


def test_a_refusal_to_resume_begins_again(fetched: Fetched) -> None:
    class Refusing(Behaviour):
        """Answers a Range with 416."""

        def __getattribute__(self, name: str) -> object:
            ranges = super().__getattribute__("ranges")
            return 416 if name == "status" and ranges[-1] else super().__getattribute__(name)

    mirror = Refusing(stop_after=[100_000])

    assert holds(fetched(mirror))
    assert [None, "bytes=100000-", None] == mirror.ranges


def test_a_mirror_that_always_breaks_off_is_given_up(fetched: Fetched) -> None:
    message = fetched.refused(Behaviour(stop_after=[10] * 100))

    assert message == (
        "fetch: no mirror gave file.gz\n"
        "  http://0/file.gz\n"
        f"    the server stopped at 50 of {len(PACKED):,} bytes, and so 5 times\n"
        f"  put the file into {fetched.folder}"
    )


def test_a_missing_file_is_sought_at_the_next_mirror(fetched: Fetched) -> None:
    first, second = Behaviour(status=404), Behaviour()

    assert holds(fetched(first, second))
    assert ([None], [None]) == (first.ranges, second.ranges)


def test_a_file_half_fetched_is_not_joined_to_another_mirrors(fetched: Fetched) -> None:
    first = Behaviour(body=OTHER, stop_after=[1000, 0])

    assert holds(fetched(first, Behaviour()))
    assert [None, "bytes=1000-"] == first.ranges


def test_every_refusal_is_told(fetched: Fetched) -> None:
    message = fetched.refused(Behaviour(status=404), Behaviour(body=OTHER))

    assert message == (
        "fetch: no mirror gave file.gz\n"
        "  http://0/file.gz\n"
        "    HTTP 404: Not Found\n"
        "  http://1/file.gz\n"
        "    the unpacked bytes are not the ones that are wanted\n"
        f"      sha256  {hashlib.sha256(WHOLE[::-1]).hexdigest()}\n"
        f"      wanted  {SHA256}\n"
        f"  put the file into {fetched.folder}"
    )


@pytest.mark.parametrize(("behaviour", "reason"), [
    (Behaviour(body=PACKED[:-100]), "the gzip data is damaged or cut off"),
    (Behaviour(body=PACKED[:-100], tells_length=False), "the gzip data is damaged or cut off"),
    (Behaviour(body=gzip.compress(WHOLE + b"x")), "unpacks to more than 300,000 bytes"),
    (Behaviour(body=gzip.compress(bytes(1 << 26))), "unpacks to more than 300,000 bytes"),
    (Behaviour(body=bytes(2_000_000)), "the file is longer than 1,348,576 bytes"),
    (Behaviour(body=b""), "the unpacked bytes are not the ones that are wanted"),
    (Behaviour(status=500), "HTTP 500: Internal Server Error"),
    (Behaviour(stop_after=[0]), f"the server stopped at 0 of {len(PACKED):,} bytes"),
])  # fmt: skip
def test_what_is_not_the_file_is_refused(
    fetched: Fetched, behaviour: Behaviour, reason: str
) -> None:
    assert f"\n    {reason}\n" in fetched.refused(behaviour) + "\n"


def test_a_server_that_does_not_answer_is_not_waited_for(fetched: Fetched) -> None:
    message = fetched.refused(Behaviour(hangs=True), timeout=0.2)

    assert "\n    no answer for 0.2 seconds\n" in message


def test_a_machine_that_is_not_there_is_told(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    with pytest.raises(DataError) as info:
        fetch("a", tmp_path, ["http://127.0.0.1:9"], sha256="", size=1, remedy="look elsewhere")

    assert str(info.value) == (
        "fetch: no mirror gave a\n"
        "  http://127.0.0.1:9/a\n"
        "    Connection refused\n"
        f"  put the file into {tmp_path}, or look elsewhere"
    )


def test_a_folder_that_cannot_be_made_is_told(fetched: Fetched, tmp_path: Path) -> None:
    fetched.folder.write_text("a file")
    with pytest.raises(DataError) as info:
        fetched(Behaviour())

    assert str(info.value) == (
        "fetch: file.gz cannot be written\n"
        f"  folder  {fetched.folder}\n"
        "  reason  File exists\n"
        "  name a folder that can be written and has room"
    )


def test_the_bytes_are_synced_before_the_name_and_the_folder_after(
    fetched: Fetched, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, fsync = [], os.fsync

    def record(descriptor: int) -> None:
        fsync(descriptor)
        names = sorted(path.suffix for path in fetched.folder.iterdir())
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), names))

    monkeypatch.setattr(os, "fsync", record)
    fetched(Behaviour())

    assert [(False, [".partial"]), (True, [".gz"])] == synced


def test_a_full_disk_is_told_and_leaves_nothing(
    fetched: Fetched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    assert "\n  reason  No space left on device\n" in fetched.refused(Behaviour())


def test_partial_files_of_killed_processes_do_not_pile_up(fetched: Fetched) -> None:
    fetched.folder.mkdir()
    old, new = (fetched.folder / f".file.gz.{name}.partial" for name in ("old", "new"))
    old.touch()
    new.touch()
    os.utime(old, (time.time() - 7200,) * 2)

    path = fetched(Behaviour())

    assert {path, new} == set(fetched.folder.iterdir())
