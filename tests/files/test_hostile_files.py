"""Hostile files: nothing that is wrong is read."""

from __future__ import annotations

import json
import os
import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autograph import files, header
from autograph.errors import CheckpointError
from autograph.files import read, read_foreign, write

from ..fresh import printed
from .written import ARRAYS, entry, message_of, raw, refused

HEADERS: dict[str, tuple[Any, bytes, str]] = {
    "an entry that is a list": ({"x": []}, b"", "has not dtype"),
    "a key too many": ({"x": {**entry(), "more": 1}}, bytes(4), "has not dtype"),
    "a key missing": ({"x": {"dtype": "F32", "shape": []}}, b"", "has not dtype"),
    "an unknown type": ({"x": entry("F4")}, bytes(4), "scalar type is not taken"),
    "a type that is a list": ({"x": entry(["F32"])}, bytes(4), "scalar type is not taken"),
    "a negative size": ({"x": entry(shape=[-1])}, bytes(4), "its shape is none"),
    "a size that is true": ({"x": entry(shape=[True])}, bytes(4), "its shape is none"),
    "a size that is a float": ({"x": entry(shape=[1.0])}, bytes(4), "its shape is none"),
    "a huge size": ({"x": entry(shape=[2**70])}, bytes(4), "its shape is none"),
    "a huge shape": ({"x": entry(shape=[2**20] * 30)}, bytes(4), "shape is too large"),
    "a huge shape of nothing": (
        {"x": entry(shape=[2**40, 2**40, 0], offsets=[0, 0])},
        b"",
        "shape is too large",
    ),
    "many axes": ({"x": entry(shape=[1] * 33)}, bytes(4), "its shape is none"),
    "offsets beyond the end": ({"x": entry(offsets=[0, 5])}, bytes(4), "not in the file"),
    "offsets backwards": ({"x": entry(offsets=[4, 0])}, bytes(4), "not in the file"),
    "negative offsets": ({"x": entry(offsets=[-4, 0])}, bytes(4), "not in the file"),
    "three offsets": ({"x": entry(offsets=[0, 4, 4])}, bytes(4), "not in the file"),
    "offsets of 2^63": ({"x": entry(offsets=[2**63, 2**63 + 4])}, bytes(4), "not in the file"),
    "a size that overflows": ({"x": entry(shape=[2**62, 4])}, bytes(4), "its shape is none"),
    "too few bytes": ({"x": entry(shape=[2])}, bytes(4), "its shape and its bytes differ"),
    "an overlap": (
        {"x": entry(offsets=[0, 4]), "y": entry(offsets=[2, 6])},
        bytes(6),
        "has an overlap",
    ),
    "a hole": ({"x": entry(), "y": entry(offsets=[5, 9])}, bytes(9), "has a hole"),
    "a hole before": ({"x": entry(offsets=[1, 5])}, bytes(5), "do not fill the data"),
    "bytes after": ({"x": entry()}, bytes(5), "do not fill the data"),
    "bytes and no tensor": ({}, bytes(1), "do not fill the data"),
    "one tensor twice": ({"x": entry(), "y": entry()}, bytes(4), "has an overlap"),
    "metadata that is a list": ({"__metadata__": []}, b"", "no table of strings"),
    "metadata of numbers": ({"__metadata__": {"x": 1}}, b"", "no table of strings"),
    "duplicate keys": (b'{"x":{},"x":{}}', b"", "is there twice"),
    "duplicate keys within": (b'{"x":{"dtype":"U8","dtype":"U8"}}', b"", "is there twice"),
    "NaN": (b'{"x":NaN}', b"", "NaN is no number"),
    "infinity": (b'{"x":-Infinity}', b"", "-Infinity is no number"),
    "an overflowing float": (b'{"x":1e999}', b"", "too large"),
    "an integer of many digits": (b'{"x":' + b"9" * 5000 + b"}", b"", "too large"),
    "deep lists": (b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}", b"", "nested too deeply"),
    "deeper lists": (b'{"x":' + b"[" * 10**6, b"", "nested too deeply"),
    "deep objects": (b'{"x":' * 150 + b"1" + b"}" * 150, b"", "nested too deeply"),
    "a lone surrogate": (b'{"\\ud800":1}', b"", "is damaged"),
    "bad UTF-8": (b'{"\xff":1}', b"", "is damaged"),
    "a list": (b"[]", b"", "no JSON object"),
    "spaces first": (b" {}", b"", "no JSON object"),
    "a byte order mark": (b"\xef\xbb\xbf{}", b"", "no JSON object"),
    "two values": (b"{}{}", b"", "is damaged"),
    "half a value": (b'{"x":', b"", "is damaged"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_hostile_header_is_refused(case: str, tmp_path: Path) -> None:
    told, data, says = HEADERS[case]

    assert says in refused(raw(tmp_path / "f", told, data))


OTHERS = {
    "nothing": b"",
    "nine bytes": bytes(9),
    "a zip": b"PK\x03\x04" + bytes(60),
    "a pickle": b"\x80\x05\x95" + bytes(60),
    "JSON": b'{"x": 1}' * 8,
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(60),
    "text": b"hello, world, this is a text",
    "zeros": bytes(4096),
    "a length beyond the end": struct.pack("<Q", 1000) + b"{}",
    "a length of 2^64 - 1": b"\xff" * 8 + b"{}",
    "a length of 2^63": struct.pack("<Q", 2**63) + b"{}",
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_format_is_refused(case: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(OTHERS[case])

    refused(tmp_path / "f")


def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero"), Path("/dev/null")):
        assert "no ordinary file" in refused(path)
    assert "no such file" in refused(tmp_path / "absent")


def test_bytes_that_are_no_bool_are_refused(tmp_path: Path) -> None:
    path = raw(tmp_path / "f", {"x": entry("BOOL", [2], [0, 2])}, b"\x01\x02")

    assert "bytes above 1" in message_of(lambda: read_foreign(path).tensors)


@pytest.mark.parametrize(("document", "says"), [
    ("[]", "format is not known"),
    ("{}", "format is not known"),
    ('{"format":1}', "format is not known"),
    ('{"format":"other/1"}', "format is not known"),
    ('{"format":"autograph/2"}', "a newer version of autograph wrote"),
    ('{"format":"autograph/0"}', "no checksum"),
    ('{"format":"autograph/99999999999"}', "format is not known"),
    ('{"format":"autograph/1"}', "no checksum"),
    ('{"format":"autograph/1","checksum":7}', "no checksum"),
    (f'{{"format":"autograph/1","checksum":"{"A" * 64}"}}', "no checksum"),
    (f'{{"format":"autograph/1","checksum":"{"a" * 64}"}}', "its checksum is wrong"),
    (f'{{"format":"autograph/1","checksum":"{"a" * 64}","x":"{"a" * 64}"}}', "no checksum"),
    ('{"format":"autograph/1","format":"autograph/1"}', "is there twice"),
    ('{"format":NaN}', "NaN is no number"),
    ("null", "its format is not known"),
    ("12", "its format is not known"),
    ("[" * 10**5, "nested too deeply"),
    ("", "is damaged"),
])  # fmt: skip
def test_hostile_metadata_is_refused(document: str, says: str, tmp_path: Path) -> None:
    path = raw(tmp_path / "f", {"__metadata__": {"autograph": document}})

    assert says in refused(path, foreign=False)


def test_a_newer_file_tells_which_version_it_needs(tmp_path: Path) -> None:
    document = '{"format":"autograph/7","library":"9.1"}'
    path = raw(tmp_path / "f", {"__metadata__": {"autograph": document}})

    assert (
        f"load: {path}: a newer version of autograph wrote this file\n"
        "  file  autograph/7, by autograph 9.1\n"
        "  here  autograph/1\n"
        "  install  autograph 9.1  or a later one"
    ) == refused(path, foreign=False)


def test_an_older_file_is_migrated(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def renamed(document: Any, entries: Any) -> Any:
        names = {"half": "whole"}
        return {**document, "more": 1}, {names.get(n, n): each for n, each in entries.items()}

    monkeypatch.setattr(files, "FORMAT", 3)
    monkeypatch.setattr(files, "MIGRATIONS", {1: lambda *both: both, 2: renamed})
    found = read(good)

    assert {"model", "more"} == found.metadata.keys()
    assert [1.5, -2] == found.tensors["whole"].tolist()
    monkeypatch.setattr(files, "MIGRATIONS", {2: renamed})
    assert "its format is not known" in refused(good, foreign=False)


def test_names_in_a_file_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    said = refused(raw(tmp_path / "f", {"\x1b]0;owned\x07\u202e" + "x" * 10**5: []}))

    assert said.removeprefix(f"load: {tmp_path}").replace("\n", "").isprintable()
    assert len(said) < 1000


def test_a_flipped_bit_anywhere_is_detected(good: Path) -> None:
    whole = good.read_bytes()
    with good.open("r+b", buffering=0) as file:
        for place, byte in enumerate(whole):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), place)
                message_of(lambda: read(good).tensors)
            os.pwrite(file.fileno(), bytes([byte]), place)

    assert ARRAYS.keys() == read(good).tensors.keys()


def test_every_truncation_is_detected(good: Path) -> None:
    for size in reversed(range(good.stat().st_size)):
        os.truncate(good, size)
        refused(good)


def mutation(rng: random.Random, whole: bytes) -> bytes:
    """The bytes with one to four things done to them."""
    made = bytearray(whole)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(made) + 1)
        part = made[place : place + rng.choice((1, 2, 8, 40))]
        match rng.randrange(7):
            case 0:
                made[place : place + 1] = rng.randbytes(1)
            case 1:
                del made[place : place + len(part)]
            case 2:
                made[place:place] = rng.randbytes(rng.choice((1, 8, 100)))
            case 3:
                made[place:place] = part * rng.choice((1, 2, 50))
            case 4:
                made[place : place + 1] = rng.choice(b'{}[]",:0123456789eE-\\').to_bytes()
            case 5:
                made[place : place + len(part)] = bytes(len(part))
            case 6:
                made[:8] = struct.pack("<Q", rng.choice((0, 1, 2, place, 2**31, 2**63)))
    return bytes(made)


@pytest.mark.parametrize("seed", range(4))
def test_no_mutation_crashes_hangs_or_is_read(seed: int, good: Path) -> None:
    """Thousands of mutations: refused by `read`; by `read_foreign` refused or read whole."""
    rng, whole, path = random.Random(seed), good.read_bytes(), good.with_name("mutant")
    for _ in range(1000):
        mutant = mutation(rng, whole)
        if mutant == whole:
            continue
        path.write_bytes(mutant)
        message_of(lambda: read(path).tensors)
        try:
            found = read_foreign(path).tensors
        except CheckpointError:
            continue
        assert sum(each.nbytes for each in found.values()) <= len(mutant)


sizes = st.integers(-1, 9) | st.sampled_from([2**31, 2**53, 2**64])
tables = st.dictionaries(
    st.text(max_size=3) | st.just("__metadata__"),
    st.fixed_dictionaries(
        {
            "dtype": st.sampled_from([*header.DTYPES, "F4", "", None]),
            "shape": st.lists(sizes, max_size=3),
            "data_offsets": st.lists(sizes, min_size=1, max_size=3),
        }
    )
    | st.recursive(
        st.none() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    ),
    max_size=4,
)


@settings(max_examples=150)
@given(tables, st.binary(max_size=9), st.integers(-2, 2))
def test_any_header_is_refused_or_read_as_it_says(
    tmp_path: Path, told: dict[str, Any], data: bytes, more: int
) -> None:
    text = json.dumps(told).encode()
    path = raw(tmp_path / "f", text, data, length=max(len(text) + more, 0))
    try:
        found = read_foreign(path).tensors
    except CheckpointError:
        return
    for name, array in found.items():
        begin, end = told[name]["data_offsets"]
        start = len(text) + 8 + max(more, -len(text))

        assert path.read_bytes()[start + begin : start + end] == array.tobytes()


# -- memory and time -------------------------------------------------------------------

COSTLY: dict[str, Callable[[], bytes]] = {
    "empty lists": lambda: b'{"x":[' + b"[]," * (header.HEADER_LIMIT // 3 - 8) + b"[]]}",
    "small keys": lambda: (
        b"{" + b",".join(b'"%x":[]' % i for i in range(header.HEADER_LIMIT // 12)) + b"}"
    ),
    "many tensors": lambda: (
        b"{"
        + b",".join(
            b'"%x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i
            for i in range(header.HEADER_LIMIT // 60)
        )
        + b"}"
    ),
    "one duplicate at the end": lambda: (
        b"{" + b",".join(b'"%x":0' % i for i in range(header.HEADER_LIMIT // 12)) + b',"0":0}'
    ),
    "digits": lambda: b'{"x":' + b"7" * (header.HEADER_LIMIT - 8) + b"}",
    "JSON in JSON": lambda: (
        b'{"__metadata__":{"autograph":"[' + b"[]," * (header.HEADER_LIMIT // 3 - 16) + b'[]]"}}'
    ),
}
MEASURE = """
import re, sys, time
from autograph.files import read, read_foreign
from autograph.errors import CheckpointError
peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
for call in (read, read_foreign):
    before, start = peak(), time.process_time()
    try:
        call(sys.argv[1]).tensors
    except CheckpointError as error:
        assert len(str(error)) < 1000
    print(peak() - before, time.process_time() - start)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("case", COSTLY)
def test_the_most_costly_headers_stay_within_memory_and_time(case: str, tmp_path: Path) -> None:
    path = raw(tmp_path / "f", COSTLY[case]())
    for line in printed(MEASURE, path).splitlines():
        kilobytes, seconds = map(float, line.split())

        assert kilobytes < 256 << 10
        assert seconds < 8  # of the processor, whatever else the machine does


def test_memory_is_set_aside_only_once_the_checksum_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autograph.files.UNVERIFIED", 100)
    write(tmp_path / "f", {"x": np.zeros(100)})
    assert read(tmp_path / "f").tensors["x"].size == 100
    with (tmp_path / "f").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    monkeypatch.setattr("autograph.files._empty", lambda *_: pytest.fail("set aside"))
    file = read(tmp_path / "f")

    assert "checksum is wrong" in message_of(lambda: file.tensors)
