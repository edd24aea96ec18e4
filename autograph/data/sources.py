"""Data sets from files: CSV, NumPy, safetensors, and folders of images.

Nothing in a file is executed: pickled arrays are refused.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from ..errors import CheckpointError, DataError
from ..files import read_foreign
from .dataset import Dataset

Array = np.ndarray[Any, Any]
PICTURES = [".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"]


class Labelled(NamedTuple):
    """A data set, the names of its columns and those of its classes (none where targets are
    numbers)."""

    data: Dataset
    columns: tuple[str, ...]
    classes: tuple[str, ...]


def read_csv(
    path: str | Path, *, target: str | int = -1, header: bool = True, delimiter: str = ","
) -> Labelled:
    """A table of numbers, one column of which is the target: its name, or its place.

    Words in the target's column are classes, numbered in the order of the alphabet; whole numbers
    are classes as they stand, and other numbers f32 targets (N, 1).
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file, delimiter=delimiter) if row]
    except UnicodeDecodeError as error:
        raise DataError(f"read_csv: {path} is not UTF-8 ({error})\n  save it as UTF-8") from None
    names = rows.pop(0) if header and rows else [str(i) for i in range(len(rows[0]) if rows else 0)]
    if not rows:
        raise DataError(f"read_csv: {path} has no rows\n  it needs at least one under its header")
    place = _place_of(target, names, path)
    wrong = next((i for i, row in enumerate(rows) if len(row) != len(names)), None)
    if wrong is not None:
        raise DataError(
            f"read_csv: {path}: row {wrong + 1} has {len(rows[wrong])} values\n"
            f"  header  {len(names)} columns"
        )
    told = [row.pop(place).strip() for row in rows]
    columns = tuple(name for i, name in enumerate(names) if i != place)
    inputs = np.array(
        [[_number(each, path, i, name) for each, name in zip(row, columns, strict=True)]
         for i, row in enumerate(rows, 1)], np.float32
    )  # fmt: skip
    targets, classes = _targets(told)
    return Labelled(Dataset(inputs, targets), columns, classes)


def read_numpy(path: str | Path, inputs: str = "inputs", targets: str = "targets") -> Dataset:
    """The two arrays of an .npz file, by their names in it."""
    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            names = list(file) if hasattr(file, "files") else []
            _refuse_missing(path, (inputs, targets), names)
            return Dataset(file[inputs], file[targets])
    except (ValueError, OSError, TypeError, EOFError, BadZipFile, zlib.error) as error:
        if isinstance(error, DataError | FileNotFoundError):
            raise
        raise DataError(
            f"read_numpy: {path} cannot be read: {str(error).splitlines()[0]}\n"
            f"  write it with  np.savez(path, inputs=..., targets=...)"
        ) from None


def read_safetensors(path: str | Path, inputs: str = "inputs", targets: str = "targets") -> Dataset:
    """The two tensors of a safetensors file, by their names in it."""
    try:
        with read_foreign(path) as file:
            _refuse_missing(path, (inputs, targets), list(file.entries))
            arrays = file.take([inputs, targets])
    except CheckpointError as error:
        if not Path(path).exists():
            raise FileNotFoundError(f"there is no file {path}") from None
        raise DataError(str(error)) from None
    return Dataset(arrays[inputs], arrays[targets])


def read_images(folder: str | Path, size: tuple[int, int], *, channels: int = 3) -> Labelled:
    """Pictures in a folder for each class: images (N, C, H, W), u8 scaled to [0, 1] in batches.

    `size` is (height, width), to which pictures are scaled; `channels` 1 makes them grey. Classes
    are the folders' names in the order of the alphabet. Reading them needs Pillow.
    """
    classes = tuple(sorted(each.name for each in Path(folder).iterdir() if each.is_dir()))
    pixels: list[Array] = []
    targets: list[int] = []
    for label, name in enumerate(classes):
        for path in sorted((Path(folder) / name).iterdir()):
            if path.suffix.lower() in PICTURES:
                pixels.append(read_picture(path, (channels, *size), "read_images: "))
                targets.append(label)
    if not pixels:
        raise DataError(
            f"read_images: {folder} holds no pictures\n"
            f"  wanted  a folder for each class, in it files of  {' '.join(PICTURES)}"
        )
    data = Dataset(np.stack(pixels), np.array(targets), scale=1 / 255)
    return Labelled(data, (), classes)


def read_picture(path: str | Path, shape: tuple[int, ...], where: str = "") -> Array:
    """A picture scaled to a shape (C, H, W), u8; grey if C is 1. `where` begins its errors."""
    try:
        from PIL import Image
    except ImportError:
        raise DataError(f"{where}pictures need Pillow\n  pip install pillow") from None
    channels, height, width = shape
    try:
        with Image.open(path) as image:
            made = image.convert("L" if channels == 1 else "RGB").resize((width, height))
    except (OSError, ValueError) as error:
        raise DataError(f"{where}{path} is no picture ({error})") from None
    return np.asarray(made).reshape(height, width, channels).transpose(2, 0, 1)


def _place_of(target: str | int, names: Sequence[str], path: str | Path) -> int:
    if isinstance(target, str) and target in names:
        return names.index(target)
    if isinstance(target, int) and -len(names) <= target < len(names):
        return target % len(names)
    raise DataError(f"read_csv: {path} has no column {target!r}\n  columns  {', '.join(names)}")


def _number(text: str, path: str | Path, row: int, column: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(
            f"read_csv: {path}: row {row}, column {column}: {text!r} is no number\n"
            f"  leave such columns out, or write numbers for them"
        ) from None


def _targets(told: Sequence[str]) -> tuple[Array, tuple[str, ...]]:
    try:
        numbers = np.array([float(each) for each in told])
    except ValueError:
        classes = tuple(sorted(set(told)))
        places = {name: i for i, name in enumerate(classes)}
        return np.array([places[each] for each in told], np.int64), classes
    if all(each.lstrip("-").isdecimal() for each in told):
        return numbers.astype(np.int64), ()
    return numbers.astype(np.float32)[:, None], ()


def _refuse_missing(path: str | Path, wanted: Sequence[str], names: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise DataError(
            f"read: {path} has no array {', '.join(missing)}\n"
            f"  it has  {', '.join(names) or 'none with a name'}"
        )
