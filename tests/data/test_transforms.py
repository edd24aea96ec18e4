"""Transforms: what they do to images, and that chance is keyed by seed, epoch and sample."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

import autograph as ag
from autograph.data import Dataset
from autograph.data.dataset import Batch
from autograph.data.prefetch import Prefetched, ahead, mapped, prefetched
from autograph.data.through import Transformed, transformed
from autograph.data.transforms import (
    QUANTILES,
    Cutout,
    Mixup,
    Normalise,
    Pad,
    RandomCrop,
    RandomFlip,
    RandomRotation,
    Transform,
    _beta_quantiles,
    warped,
)
from autograph.errors import DataError, SettingsError, ShapeError
from autograph.layers import Dense, Flatten, Layer, sequential
from autograph.optim import SGD

from ..fake_device import fake_devices

IMAGES = np.random.default_rng(0).random((12, 2, 6, 5)).astype(np.float32)
DATA = Dataset(IMAGES, np.arange(12) % 3)
RANDOM = [
    RandomCrop(padding=2),
    RandomFlip(),
    RandomRotation(degrees=20),
    Cutout(size=3),
    Mixup(classes=3),
]


def inputs(data: Dataset, size: int = 12) -> np.ndarray:
    return np.concatenate([batch.inputs.numpy() for batch in data.batches(size)])


def test_normalise_and_pad() -> None:
    normalised = inputs(transformed(DATA, Normalise(mean=(0.5, 0.25), deviation=2.0)))
    padded = inputs(transformed(DATA, Pad(padding=1, value=7.0)))

    expected = (IMAGES - np.array([0.5, 0.25], np.float32)[:, None, None]) / 2
    np.testing.assert_allclose(normalised, expected, rtol=1e-6)
    np.testing.assert_array_equal(padded[:, :, 1:-1, 1:-1], IMAGES)
    assert (padded[:, :, 0] == 7).all()


def test_a_crop_moves_every_image_by_whole_pixels() -> None:
    found = inputs(transformed(DATA, RandomCrop(padding=2)))
    padded = np.pad(IMAGES, ((0, 0), (0, 0), (2, 2), (2, 2)))

    moves = set()
    for before, after in zip(padded, found, strict=True):
        fits = [
            (i, j)
            for i in range(5)
            for j in range(5)
            if np.array_equal(before[:, i : i + 6, j : j + 5], after)
        ]
        assert 1 == len(fits)
        moves.add(fits[0])
    assert len(moves) > 3


def test_a_flip_turns_about_half_of_the_images() -> None:
    found = inputs(transformed(DATA, RandomFlip()))

    turned = [np.array_equal(a, b[:, :, ::-1]) for a, b in zip(found, IMAGES, strict=True)]
    kept = [np.array_equal(a, b) for a, b in zip(found, IMAGES, strict=True)]
    assert all(a != b for a, b in zip(turned, kept, strict=True))
    assert 2 < sum(turned) < 10
    np.testing.assert_array_equal(inputs(transformed(DATA, RandomFlip(chance=0.0))), IMAGES)


def test_a_quarter_turn_is_numpys() -> None:
    square = ag.Tensor(IMAGES[:, :, :5])
    zero = ag.zeros(12)

    turned = warped(square, ((zero, zero + 1, zero), (zero - 1, zero, zero)))

    np.testing.assert_allclose(turned, np.rot90(IMAGES[:, :, :5], 1, (2, 3)), atol=1e-6)


def test_between_pixels_lies_their_mean() -> None:
    image = ag.Tensor(np.array([[[[0.0, 2.0, 4.0]]]], np.float32))
    one, zero = ag.ones(1), ag.zeros(1)

    moved = warped(image, ((one, zero, zero), (zero, one, zero + 0.5)))

    np.testing.assert_allclose(moved.numpy().ravel(), [1, 3, 2])  # half of what is outside, 0


def test_a_cutout_is_a_square_of_zeros() -> None:
    ones = Dataset(np.ones((40, 1, 8, 8), np.float32), np.zeros(40))

    found = inputs(transformed(ones, Cutout(size=3)), 40)

    holes = (found == 0).sum(axis=(1, 2, 3))
    assert {9} < set(holes.tolist()) <= {4, 6, 9}
    for image in found[:, 0] == 0:
        rows, columns = image.any(1).sum(), image.any(0).sum()
        assert rows * columns == image.sum()


def test_mixup_mixes_inputs_and_targets_alike() -> None:
    x = np.eye(3, dtype=np.float32)[np.arange(30) % 3]
    (batch,) = transformed(Dataset(x, np.arange(30) % 3), Mixup(classes=3, alpha=0.5)).batches(30)

    np.testing.assert_allclose(batch.inputs.numpy(), batch.targets.numpy())
    np.testing.assert_allclose(batch.targets.numpy().sum(axis=1), 1, rtol=1e-6)
    assert ((batch.targets.numpy() > 0.05) & (batch.targets.numpy() < 0.95)).any()


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 2.0])
def test_the_table_of_mixup_has_the_moments_of_its_distribution(alpha: float) -> None:
    values = _beta_quantiles(alpha).astype(np.float64)

    assert QUANTILES == len(values)
    assert (np.diff(values) >= 0).all()
    np.testing.assert_allclose(values.mean(), 0.5, rtol=1e-6)
    np.testing.assert_allclose(values.var(), 1 / (4 * (2 * alpha + 1)), rtol=2e-3)


@pytest.mark.parametrize("transform", RANDOM, ids=lambda each: each.kind)
def test_chance_follows_from_seed_epoch_and_sample(transform: Transform) -> None:
    def epoch(number: int, size: int = 12, seed: int = 0) -> list[np.ndarray]:
        data = transformed(DATA, transform, seed=seed)
        order = data.order(5, number)
        batches = [b.inputs.numpy() for b in data.batches(size, order=order)]
        return [each for batch in batches for each in batch[np.argsort(order)] if size == 12]

    first = epoch(1)

    np.testing.assert_array_equal(first, epoch(1))
    assert not np.array_equal(first, epoch(2))
    assert not np.array_equal(first, epoch(1, seed=1))


def test_batches_of_another_size_see_the_same_images() -> None:
    data = transformed(DATA, *RANDOM[:4])
    order = data.order(0, 3)

    whole = np.concatenate([b.inputs.numpy() for b in data.batches(12, order=order)])
    parts = np.concatenate([b.inputs.numpy() for b in data.batches(5, order=order)])

    np.testing.assert_allclose(whole, parts, atol=1e-6)


def test_an_epoch_of_transformed_data_trains_and_resumes() -> None:
    @sequential(input=(2, 6, 5))
    class Small(Layer):
        flatten: Flatten
        dense: Dense = Dense.builder(outputs=3, bias=True)

    def data() -> Transformed:
        return transformed(DATA, RandomCrop(padding=1), RandomFlip())

    one, other = Small.build(), Small.build()
    optimizer = SGD(learning_rate=0.1)
    reports = list(ag.fit(one, SGD(learning_rate=0.1), data(), epochs=4, batch_size=5))
    for report in ag.fit(other, optimizer, data(), epochs=4, batch_size=5):
        if report.epoch == 2:
            break
    list(ag.fit(other, optimizer, data(), progress=report.progress))  # another data set object

    assert 4 == len(reports)
    np.testing.assert_array_equal(one.dense.weight, other.dense.weight)


@pytest.mark.parametrize("transform", RANDOM, ids=lambda each: each.kind)
def test_a_device_throws_the_same_and_nothing_is_read_from_it(transform: Transform) -> None:
    def batches(device: str) -> list[Batch]:
        data = transformed(DATA, transform)
        order = data.order(0, 1)
        return list(data.batches(5, device=device, order=order))

    with fake_devices() as platform:
        before = platform.read
        there = batches("fake:1")
        reads = platform.read - before
        values = [each.numpy() for batch in there for each in batch]

    assert 0 == reads
    here = [each.numpy() for batch in batches("host") for each in batch]
    for a, b in zip(here, values, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)  # compiled kernels round some sums once


def test_another_transform_is_another_data_set() -> None:
    plain, flipped = transformed(DATA), transformed(DATA, RandomFlip())

    assert plain.hash() != flipped.hash() == transformed(DATA, RandomFlip()).hash()
    assert isinstance(plain, Transformed)


def test_what_does_not_fit_is_refused() -> None:
    flat = Dataset(np.zeros((2, 3), np.float32), np.zeros(2))

    with pytest.raises(ShapeError, match=r"Cutout: a batch of images is \(N, C, H, W\)"):
        inputs(transformed(flat, Cutout(size=2)))
    with pytest.raises(SettingsError, match="a number for each channel"):
        inputs(transformed(DATA, Normalise(mean=(1.0, 2.0, 3.0), deviation=1.0)))
    with pytest.raises(SettingsError, match="chance"):
        RandomFlip(chance=2.0)


# -- in the background -----------------------------------------------------------------


def test_batches_made_ahead_are_the_same() -> None:
    order = DATA.order(0, 1)

    found = list(prefetched(DATA).batches(5, order=order, start=1))

    for a, b in zip(found, DATA.batches(5, order=order, start=1), strict=True):
        np.testing.assert_array_equal(a.inputs, b.inputs)
        np.testing.assert_array_equal(a.targets, b.targets)


def test_transforms_run_in_the_background_in_whatever_order_both_are_asked_for() -> None:
    flipped = transformed(DATA, RandomFlip(), seed=3)
    both = transformed(flipped, Pad(padding=1))
    order = both.order(0, 2)
    expected = [batch.inputs.numpy() for batch in both.batches(7, order=order)]

    for made in (prefetched(both), transformed(prefetched(flipped), Pad(padding=1))):
        assert isinstance(made, Prefetched)
        assert both.hash() == made.hash()
        np.testing.assert_array_equal(order, made.order(0, 2))
        found = [batch.inputs.numpy() for batch in made.batches(7, order=order)]
        assert all(map(np.array_equal, expected, found))
    assert DATA.lives_on(ag.Device("host"))


def test_files_are_read_as_they_are_needed(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    np.save(tmp_path / "t.npy", DATA.targets)

    data = mapped(tmp_path / "x.npy", tmp_path / "t.npy")

    assert isinstance(data, Prefetched)
    assert isinstance(data.inputs.base, np.memmap)
    np.testing.assert_array_equal(inputs(data, 5), IMAGES)
    model = Dense.builder(inputs=5, outputs=2).build()
    ((report),) = ag.fit(model, SGD(learning_rate=0.0), data, epochs=1, loss=lambda y, t: y.mean())
    assert 12 == report.train.count


def test_an_error_in_the_background_is_raised_and_leaving_ends_the_thread() -> None:
    def broken() -> object:
        yield 1
        raise DataError("the disk is gone")

    source = ahead(broken())  # type: ignore[arg-type]
    assert 1 == next(source)
    with pytest.raises(DataError, match="the disk is gone"):
        next(source)
    endless = ahead(iter(int, 1))
    assert 0 == next(endless)
    endless.close()  # type: ignore[attr-defined]
    assert not [each for each in threading.enumerate() if each.name == "autograph-prefetch"]


def test_batches_are_named_tuples_of_tensors() -> None:
    batch = next(transformed(DATA, RandomFlip()).batches(3))

    assert isinstance(batch, Batch)
    assert "f32" == str(batch.inputs.scalar_type)
