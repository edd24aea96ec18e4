"""The embedded MNIST, and where data sets are looked for."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autograph.data import mnist_files as mnist
from autograph.data.fetch import fetch
from autograph.data.idx import write_idx
from autograph.data.mnist_files import (
    FASHION_MNIST,
    MNIST,
    SHAPES,
    fashion_mnist_arrays,
    mnist_arrays,
)
from autograph.data.unpack import unpacked_sha256
from autograph.errors import DataError

REPOSITORY = Path(__file__).parents[2]
EMBEDDED = REPOSITORY / "examples" / "mnist" / "data"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds what this machine has in its cache, nor downloads."""
    monkeypatch.delenv("AUTOGRAPH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(mnist, "fetch", lambda name, folder, *_, **__: pytest.fail(name))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> mnist._Source:
    """A data set in the place of MNIST, of empty arrays, that no folder has."""
    source = replace(MNIST, sha256=("",) * 4, repository=None)
    monkeypatch.setattr(mnist, "MNIST", source)
    return source


@pytest.mark.parametrize(
    ("name", "sha256"), list(zip(SHAPES, MNIST.sha256, strict=True)), ids=list(SHAPES)
)
def test_the_embedded_files_have_the_known_sums(name: str, sha256: str) -> None:
    assert sha256 == unpacked_sha256(EMBEDDED / f"{name}.gz", limit=50_000_000)


def test_the_readme_beside_the_files_tells_the_same_sums() -> None:
    text = (EMBEDDED / "README.md").read_text()

    for name, sha256 in zip(SHAPES, MNIST.sha256, strict=True):
        assert f"{sha256}  {name}" in text


def test_the_repository_has_mnist() -> None:
    train, test = mnist_arrays(download=False)

    assert (60_000, 1, 28, 28) == train.images.shape
    assert (10_000, 1, 28, 28) == test.images.shape
    assert {np.dtype(np.uint8)} == {array.dtype for split in (train, test) for array in split}
    assert [5, 0, 4, 1, 9] == train.labels[:5].tolist()
    assert [7, 2, 1, 0, 4] == test.labels[:5].tolist()
    assert [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949] == np.bincount(
        train.labels
    ).tolist()
    assert 33.318421 == pytest.approx(train.images.mean(), abs=1e-6)


def test_a_folder_may_have_the_files_unpacked(tmp_path: Path) -> None:
    for name in SHAPES:
        with gzip.open(EMBEDDED / f"{name}.gz") as packed, (tmp_path / name).open("wb") as file:
            shutil.copyfileobj(packed, file)

    assert (10_000,) == mnist_arrays(tmp_path).test.labels.shape


def test_the_folder_in_the_environment_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(EMBEDDED, tmp_path / "mnist")
    monkeypatch.setenv("AUTOGRAPH_DATA", str(tmp_path))

    assert tmp_path / "mnist" == next(iter(mnist._find(MNIST, None, False).values())).parent


def test_a_folder_that_is_named_is_the_only_one(tmp_path: Path) -> None:
    with pytest.raises(DataError) as info:
        mnist_arrays(tmp_path)

    assert str(info.value) == (
        "MNIST: files are missing\n"
        f"  {tmp_path}  has 0 of 4\n"
        "  wanted  train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte"
        " t10k-labels-idx1-ubyte, each gzipped (.gz) or not\n"
        "  put them there, or set AUTOGRAPH_DATA to the folder above a mnist/ that has all four"
    )


def test_fashion_mnist_is_looked_for_where_debian_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist, "FASHION_MNIST", replace(FASHION_MNIST, installed=tmp_path))
    with pytest.raises(DataError) as info:
        fashion_mnist_arrays(download=False)

    assert Path("/usr/share/datasets/fashion-mnist") == FASHION_MNIST.installed
    assert f"  {tmp_path}  has 0 of 4\n" in str(info.value)
    assert str(info.value).endswith("\n  or apt-get install dataset-fashion-mnist")


def test_another_data_set_under_the_same_names_is_refused() -> None:
    with pytest.raises(DataError) as info:
        fashion_mnist_arrays(EMBEDDED)

    assert str(info.value) == (
        f"{EMBEDDED / 'train-images-idx3-ubyte.gz'}: these are not the bytes that are wanted\n"
        f"  sha256 of the unpacked file  {MNIST.sha256[0]}\n"
        f"  wanted                       {FASHION_MNIST.sha256[0]}"
    )
    assert info.value.__notes__ == [
        "  it should be train-images-idx3-ubyte of Fashion-MNIST; replace it or remove it"
    ]


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    for name in SHAPES:
        write_idx(tmp_path / name, np.zeros(1, np.uint8))
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((60_001, 28, 28), np.uint8))

    with pytest.raises(DataError, match="the header asks for more memory than is allowed"):
        mnist_arrays(tmp_path)


def test_what_is_nowhere_is_downloaded_and_what_is_there_is_not(
    small: mnist._Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache" / "autograph" / "mnist"
    cache.mkdir(parents=True)
    (cache / "t10k-labels-idx1-ubyte").touch()
    fetched = {}

    def fetch(name: str, folder: Path, mirrors: tuple[str, ...], **settings: object) -> Path:
        fetched[name] = folder, mirrors, settings["size"]
        return folder / name

    monkeypatch.setattr(mnist, "fetch", fetch)

    paths = mnist._find(small, None, True)

    assert list(SHAPES) == list(paths)
    assert cache / "t10k-labels-idx1-ubyte" == paths["t10k-labels-idx1-ubyte"]
    assert {
        "train-images-idx3-ubyte.gz": (cache, MNIST.mirrors, 47_040_016),
        "train-labels-idx1-ubyte.gz": (cache, MNIST.mirrors, 60_008),
        "t10k-images-idx3-ubyte.gz": (cache, MNIST.mirrors, 7_840_016),
    } == fetched


def test_a_mirror_that_cannot_be_reached_says_what_to_do(
    small: mnist._Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = replace(small, mirrors=("http://127.0.0.1:9/",))
    monkeypatch.setattr(mnist, "MNIST", nowhere)
    monkeypatch.setattr(mnist, "fetch", fetch)
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(DataError) as info:
        mnist_arrays()

    assert str(info.value) == (
        "fetch: no mirror gave train-images-idx3-ubyte.gz\n"
        "  http://127.0.0.1:9/train-images-idx3-ubyte.gz\n"
        "    Connection refused\n"
        f"  put the file into {tmp_path / 'cache' / 'autograph' / 'mnist'},"
        " or set AUTOGRAPH_DATA to the folder above a mnist/ that has all four"
    )
