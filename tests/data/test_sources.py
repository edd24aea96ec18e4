"""Data sets from files, cut in two, and drawn by a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autograph.data import (
    Dataset,
    choose,
    class_weights,
    iris,
    mapped,
    read_csv,
    read_images,
    read_numpy,
    read_safetensors,
    synthetic,
    train_test_split,
    transformed,
)
from autograph.data.catalogue import NAMES
from autograph.data.points import SYNTHETIC
from autograph.data.prefetch import Prefetched, prefetched
from autograph.data.transforms import Normalise
from autograph.errors import DataError
from autograph.files import write


def test_iris_has_the_means_that_fisher_printed() -> None:
    data = iris()

    assert (150, 4) == data.inputs.shape
    assert [50, 50, 50] == np.bincount(data.targets).tolist()
    # Table I of 1936, in the order of the file.
    expected = [
        [5.006, 3.428, 1.462, 0.246],
        [5.936, 2.770, 4.260, 1.326],
        [6.588, 2.974, 5.552, 2.026],
    ]
    means = [data.inputs[data.targets == each].mean(0) for each in range(3)]
    np.testing.assert_allclose(means, expected, atol=5e-4)


def test_a_csv_with_words_as_classes(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,kind,b\n1,red,2.5\n3,blue,4\n")

    found = read_csv(path, target="kind")

    assert ("a", "b") == found.columns
    assert ("blue", "red") == found.classes
    assert [1, 0] == found.data.targets.tolist()
    assert [[1, 2.5], [3, 4]] == found.data.inputs.tolist()


def test_a_csv_with_numbers_as_targets(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("1;2;0.5\n3;4;1\n")

    found = read_csv(path, header=False, delimiter=";").data

    assert [[0.5], [1.0]] == found.targets.tolist()


@pytest.mark.parametrize(("text", "says"), [
    ("a,b\n1,2\n3\n", "row 2 has 1 values"),
    ("a,b\nx,2\n", "row 1, column a: 'x' is no number"),
    ("a,b\n", "has no rows"),
    ("", "has no rows"),
])  # fmt: skip
def test_a_wrong_csv_is_told_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)

    with pytest.raises(DataError, match=says):
        read_csv(path)


def test_a_csv_of_excel_is_read_and_one_in_another_encoding_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("sky,a\nclear,1\n", "utf-8-sig")

    assert ("a",) == read_csv(path, target="sky").columns
    path.write_text("a,sky\n1,h\u00e9las\n", "latin-1")
    with pytest.raises(DataError, match="is not UTF-8"):
        read_csv(path)


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n")

    with pytest.raises(DataError, match=r"no column 'c'\n  columns  a, b"):
        read_csv(path, target="c")


def test_arrays_of_numpy_and_safetensors_files(tmp_path: Path) -> None:
    x, t = np.arange(6, dtype=np.float32).reshape(3, 2), np.array([0, 1, 0])
    np.savez(tmp_path / "data.npz", inputs=x, targets=t)
    write(tmp_path / "data.safetensors", {"inputs": x, "targets": t})

    for found in (
        read_numpy(tmp_path / "data.npz"),
        read_safetensors(tmp_path / "data.safetensors"),
    ):
        np.testing.assert_array_equal(found.inputs, x)
        np.testing.assert_array_equal(found.targets, t)
    with pytest.raises(DataError, match="has no array labels"):
        read_numpy(tmp_path / "data.npz", targets="labels")


def test_what_is_no_file_of_numpy_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.npz"
    np.savez(whole, inputs=np.ones((3, 2)), targets=np.arange(3))
    content, path = whole.read_bytes(), tmp_path / "x.npz"
    for wrong in (b"", b"PK", content[:60], content[:-9], content.replace(b"\xf0?", b"\xf1?")):
        path.write_bytes(wrong)
        with pytest.raises(DataError, match="cannot be read"):
            read_numpy(path)
    for wrong in (b"", content):
        path.write_bytes(wrong)
        with pytest.raises(DataError, match=r"is no \.npy file"):
            mapped(path, path)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", inputs=np.array([{}], object), targets=np.zeros(1))

    with pytest.raises(DataError, match="cannot be read"):
        read_numpy(tmp_path / "data.npz")


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")
    for name, grey in (("cat", 0), ("dog", 255)):
        (tmp_path / name).mkdir()
        image.new("L", (4, 6), grey).save(tmp_path / name / "one.png")

    found = read_images(tmp_path, (3, 2), channels=1)

    assert ("cat", "dog") == found.classes
    assert (2, 1, 3, 2) == found.data.inputs.shape
    assert [0, 255] == found.data.inputs.mean((1, 2, 3)).tolist()
    with pytest.raises(DataError, match="holds no pictures"):
        read_images(tmp_path / "cat", (3, 2))


@pytest.mark.parametrize("name", SYNTHETIC)
def test_synthetic_sets_are_drawn_by_their_seed(name: str) -> None:
    first, again, other = (synthetic(name, 300, seed=seed) for seed in (1, 1, 2))

    np.testing.assert_array_equal(first.inputs, again.inputs)
    assert not np.array_equal(first.inputs, other.inputs)
    assert 0.3 < first.targets.mean() < 0.7
    assert np.abs(first.inputs).max() < 2


def test_a_split_keeps_the_shares_of_classes_and_every_sample() -> None:
    data = Dataset(np.arange(100.0)[:, None], np.repeat([0, 1], [80, 20]))

    parts = train_test_split(data, 0.25, seed=3)

    assert [20, 5] == np.bincount(parts.test.targets).tolist()
    both = np.concatenate([parts.train.inputs, parts.test.inputs])[:, 0]
    np.testing.assert_array_equal(np.sort(both), np.arange(100))
    with pytest.raises(DataError, match="leaves one part empty"):
        train_test_split(Dataset(np.zeros((2, 1)), np.zeros((2, 1))), 0.1)


def test_both_parts_of_a_split_are_seen_through_the_transforms_of_the_whole() -> None:
    whole = transformed(
        Dataset(np.full((10, 3), 5.0, np.float32), np.arange(10) % 2),
        Normalise(mean=3.0, deviation=2.0),
    )
    for data in (whole, prefetched(whole)):
        for part in train_test_split(data, 0.2):
            assert isinstance(part, Prefetched) == isinstance(data, Prefetched)
            batch = next(part.batches(4))

            np.testing.assert_array_equal(batch.inputs.numpy(), 1.0)  # (5 - 3) / 2


def test_class_weights_make_classes_count_alike() -> None:
    data = Dataset(np.zeros((8, 1)), np.repeat([0, 2], [6, 2]))

    weights = class_weights(data, classes=4)

    np.testing.assert_allclose(weights, [8 / 24, 0, 1, 0])


def test_data_sets_are_chosen_by_name_or_file(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n" + "1,0\n2,1\n" * 5)

    assert 8 == len(choose(str(tmp_path / "table.csv")).train)
    assert 120 == len(choose("iris").train)
    assert set(SYNTHETIC) < set(NAMES)
    with pytest.raises(DataError, match="there is no data set 'moons'"):
        choose("moons")
