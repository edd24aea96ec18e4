"""Safetensors files: what is written is read back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from autograph import atomic, header
from autograph.files import read, read_foreign, write

from .written import ARRAYS, message_of

# -- what is written is read back ------------------------------------------------------


@pytest.mark.parametrize("dtype", header.DTYPES.values(), ids=str)
def test_every_scalar_type_and_layout_is_read_back(dtype: np.dtype[Any], tmp_path: Path) -> None:
    plain = np.arange(24).reshape(2, 3, 4).astype(dtype)
    arrays = {
        "plain": plain,
        "transposed": plain.T,
        "sliced": plain[:, ::2, ::-1],
        "spread": np.broadcast_to(plain[:1], (5, 3, 4)),
        "number": plain[0, 0, 1],
        "zero_d": plain[0, 0, 1, ...],
        "empty": plain[:, :0],
    }
    write(tmp_path / "f", arrays)
    found = read(tmp_path / "f").tensors

    assert sorted(arrays) == list(found)
    for name, array in arrays.items():
        assert (np.shape(array), dtype) == (found[name].shape, found[name].dtype)
        assert np.asarray(array).tobytes() == found[name].tobytes()
        assert found[name].flags.writeable
        assert found[name].flags.owndata


def test_big_endian_arrays_are_turned(tmp_path: Path) -> None:
    write(tmp_path / "f", {"x": np.arange(3, dtype=">i4")})

    assert [0, 1, 2] == read(tmp_path / "f").tensors["x"].tolist()


def test_the_safetensors_library_reads_what_is_written(good: Path) -> None:
    found = load_file(good)

    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert array.dtype == found[name].dtype
        np.testing.assert_array_equal(array, found[name])


def test_what_the_safetensors_library_writes_is_read_as_foreign(tmp_path: Path) -> None:
    path = tmp_path / "f"
    save_file(ARRAYS, path, metadata={"made by": "somebody", "else": "{"})
    found = read_foreign(path)

    assert {"made by": "somebody", "else": "{"} == found.metadata
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(array, found.tensors[name])
    assert "not written by autograph" in message_of(lambda: read(path))


def test_equal_content_gives_equal_bytes_in_any_order(tmp_path: Path) -> None:
    write(tmp_path / "a", ARRAYS, {"x": [1, 0.1, None, "é"]})
    write(tmp_path / "b", dict(reversed(ARRAYS.items())), {"x": [1, 0.1, None, "é"]})

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_tensor_begins_at_a_multiple_of_its_scalar_type(good: Path) -> None:
    file = read(good)

    start = len(file._header)
    assert all((start + each.begin) % each.dtype.itemsize == 0 for each in file.entries.values())


def test_metadata_is_read_back_in_order(tmp_path: Path) -> None:
    told = {"model": {"b": 1, "a": [1.5, "ü\n\u2028", {"deep": None}]}, "z": True}
    write(tmp_path / "f", {}, told)

    assert json.dumps(told) == json.dumps(read(tmp_path / "f").metadata)


def test_some_tensors_are_read_alone(good: Path) -> None:
    assert ["half", "a.step"] == list(read(good).take(["half", "a.step"]))


def test_arrays_outlive_the_file_and_its_truncation(good: Path) -> None:
    file = read(good)
    found = file.tensors
    os.truncate(good, 10)
    file.close()

    np.testing.assert_array_equal(ARRAYS["b.weight"], found["b.weight"])


def test_a_file_cut_off_while_it_is_read_is_refused(good: Path) -> None:
    file = read(good)
    os.truncate(good, good.stat().st_size - 1)

    assert "cut off while it was read" in message_of(lambda: file.tensors)


# -- what is refused to be written -----------------------------------------------------


@pytest.mark.parametrize(("arrays", "metadata", "says"), [
    ({"__metadata__": np.zeros(1)}, None, "no name for a tensor"),
    ({"x": np.array([object()])}, None, "arrays of object are not taken"),
    ({"x": np.array(["text"])}, None, "are not taken"),
    ({"x": np.zeros(1, np.complex64)}, None, "arrays of complex64 are not taken"),
    ({}, {"x": float("nan")}, "cannot be written as JSON"),
    ({}, {"x": {1, 2}}, "cannot be written as JSON"),
    ({}, {"x": "y" * header.HEADER_LIMIT}, "the header is too long"),
])  # fmt: skip
def test_what_no_reader_would_take_is_not_written(
    arrays: Any, metadata: Any, says: str, good: Path
) -> None:
    before = good.read_bytes()

    assert says in message_of(lambda: write(good, arrays, metadata))
    assert before == good.read_bytes()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "fifo"])
def test_only_ordinary_files_are_replaced(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "x")

    assert "no ordinary file" in message_of(lambda: write(tmp_path / "x", ARRAYS))
    assert [tmp_path / "x"] == list(tmp_path.iterdir())


def test_a_link_is_followed_and_stays(good: Path) -> None:
    link = good.with_name("link")
    link.symlink_to(good)
    write(link, {"x": np.zeros(1)})

    assert link.is_symlink()
    assert ["x"] == list(read(good).tensors)


def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 127)  # 254 bytes
    left = path.with_name(f".{'é' * 50}.0123456789abcdef.partial")
    left.write_bytes(b"left")
    write(path, ARRAYS)

    assert [path] == list(tmp_path.iterdir())


def test_leftovers_of_killed_writers_are_swept_and_nothing_else(good: Path) -> None:
    ours = good.with_name(f".{good.name}.0123456789abcdef.partial")
    others = [good.with_name(name) for name in (f".{good.name}.partial", ".x.partial", "y")]
    for each in [ours, *others]:
        each.write_bytes(b"left")
    temporary, descriptor = atomic._temporary(good)  # a writer that lives
    write(good, ARRAYS)

    assert not ours.exists()
    assert temporary.exists()
    assert all(each.exists() for each in others)
    os.close(descriptor)
    write(good, ARRAYS)

    assert not temporary.exists()
