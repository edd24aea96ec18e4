"""MNIST and Fashion-MNIST as NumPy arrays: where their files are, and what their bytes must be."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .fetch import fetch
from .idx import read_idx

SHAPES = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}


class Split(NamedTuple):
    """One half of a data set."""

    images: NDArray[np.uint8]  # (N, 1, 28, 28)
    labels: NDArray[np.uint8]  # (N,)


class Splits(NamedTuple):
    """60,000 images to train on and 10,000 to test on."""

    train: Split
    test: Split


@dataclass(frozen=True)
class _Source:
    """A data set of four files: what their bytes must be, and where they may be."""

    name: str
    slug: str  # its folder in $AUTOGRAPH_DATA and in the cache
    sha256: tuple[str, ...]  # of the unpacked files, in the order of SHAPES
    mirrors: tuple[str, ...]
    repository: Path | None = None
    installed: Path | None = None
    package: str = ""  # the command that installs it there


MNIST = _Source(
    name="MNIST",
    slug="mnist",
    sha256=(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    repository=Path(__file__).parents[2] / "examples" / "mnist" / "data",
)

FASHION_MNIST = _Source(
    name="Fashion-MNIST",
    slug="fashion-mnist",
    sha256=(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    installed=Path("/usr/share/datasets/fashion-mnist"),
    package="apt-get install dataset-fashion-mnist",
)


def mnist_arrays(folder: str | Path | None = None, *, download: bool = True) -> Splits:
    """MNIST: images (N, 1, 28, 28) and labels (N,), both u8, checked byte for byte.

    The four files, gzipped or not, are taken from `folder` if it is given; else from the first that
    has them of $AUTOGRAPH_DATA/mnist, the repository, and the cache; else they are downloaded.
    """
    return _arrays(MNIST, folder, download)


def fashion_mnist_arrays(folder: str | Path | None = None, *, download: bool = True) -> Splits:
    """Fashion-MNIST: images (N, 1, 28, 28) and labels (N,), both u8, checked byte for byte.

    The four files, gzipped or not, are taken from `folder` if it is given; else from the first that
    has them of $AUTOGRAPH_DATA/fashion-mnist, the cache, and where Debian's package
    dataset-fashion-mnist puts them; else they are downloaded.
    """
    return _arrays(FASHION_MNIST, folder, download)


def _arrays(source: _Source, folder: str | Path | None, download: bool) -> Splits:
    paths = _find(source, folder, download)
    images, labels, test_images, test_labels = (
        _read(source, name, path, sha256)
        for (name, path), sha256 in zip(paths.items(), source.sha256, strict=True)
    )
    return Splits(Split(images[:, None], labels), Split(test_images[:, None], test_labels))


def _read(source: _Source, name: str, path: Path, sha256: str) -> NDArray[Any]:
    try:
        return read_idx(path, sha256=sha256, limit=_size(name))
    except DataError as error:
        error.add_note(f"  it should be {name} of {source.name}; replace it or remove it")
        raise


def _find(source: _Source, folder: str | Path | None, download: bool) -> dict[str, Path]:
    """The paths of the four files, in the order of SHAPES; downloaded if they are nowhere."""
    home, cache = _home(source), _cache(source)
    known = [home, source.repository, cache, source.installed]
    places = [place for place in known if place] if folder is None else [Path(folder)]
    for place in places:
        paths = _inside(place)
        if len(paths) == len(SHAPES):
            return paths
    remedy = f"set AUTOGRAPH_DATA to the folder above a {source.slug}/ that has all four"
    if source.package:
        remedy += f",\n  or {source.package}"
    if folder is not None or not download:
        counts = [f"  {place}  has {len(_inside(place))} of {len(SHAPES)}\n" for place in places]
        raise DataError(
            f"{source.name}: files are missing\n"
            + "".join(counts)
            + f"  wanted  {' '.join(SHAPES)}, each gzipped (.gz) or not\n"
            + f"  put them there, or {remedy}"
        )
    target = home or cache
    have = _inside(target)
    return {
        name: have.get(name)
        or fetch(
            f"{name}.gz", target, source.mirrors, sha256=sha256, size=_size(name), remedy=remedy
        )
        for name, sha256 in zip(SHAPES, source.sha256, strict=True)
    }


def _size(name: str) -> int:
    """Of an unpacked file, in bytes: four of magic, four an axis, and the values."""
    return 4 + 4 * len(SHAPES[name]) + math.prod(SHAPES[name])


def _inside(folder: Path) -> dict[str, Path]:
    """Which of the four files a folder has, gzipped or not."""
    candidates = {name: (folder / f"{name}.gz", folder / name) for name in SHAPES}
    found = {name: next(filter(Path.exists, paths), None) for name, paths in candidates.items()}
    return {name: path for name, path in found.items() if path is not None}


def _home(source: _Source) -> Path | None:
    """The data set's folder in $AUTOGRAPH_DATA."""
    data = os.environ.get("AUTOGRAPH_DATA")
    return Path(data) / source.slug if data else None


def _cache(source: _Source) -> Path:
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "autograph" / source.slug
