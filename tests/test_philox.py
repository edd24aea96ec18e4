"""Philox4x32-10 against the known answers that its authors publish, and what is drawn from it."""

from __future__ import annotations

import numpy as np
import pytest

from autograph import Tensor, random_normal, random_uniform
from autograph.philox import normals, permutation, philox, stream, uniforms, words

# Random123, tests/kat_vectors: counter, key, answer.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def hexadecimal(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_published_answers(counter: str, key: str, answer: str) -> None:
    found = philox(tuple(hexadecimal(key)), tuple(hexadecimal(counter)))

    assert hexadecimal(answer) == found.tolist()


def test_many_counters_at_once_are_each_alone() -> None:
    counters = np.arange(5)
    together = philox((1, 2), (counters, 7, 8, 9))

    assert together.shape == (5, 4)
    for i in range(5):
        assert philox((1, 2), (i, 7, 8, 9)).tolist() == together[i].tolist()


def test_words_can_be_entered_anywhere() -> None:
    key = stream(0, "w")

    assert words(key, 40)[12:].tolist() == words(key, 28, start=3).tolist()
    assert words(key, 7).tolist() == words(key, 40)[:7].tolist()
    assert words(key, 0).size == 0


def test_streams_differ_by_seed_and_by_every_name() -> None:
    keys = {stream(seed, *names) for seed in (0, 1) for names in ((), ("a",), ("a", "b"), ("b",))}

    assert len(keys) == 8
    assert stream(0, "a", 1) == stream(0, "a", "1")
    assert stream(1, "1") != stream(11)


@pytest.mark.parametrize("scalar_type", ["bf16", "f16", "f32"])
def test_rounding_leads_no_uniform_number_out_of_its_interval(scalar_type: str) -> None:
    for low, high in ((0.0, 1.0), (-1.0, 0.3), (5.0, 7.0)):
        found = random_uniform(20_000, low, high, seed=2, scalar_type=scalar_type).cast("f64")

        assert low <= found.min().item() <= found.max().item() < high


def test_uniforms_fill_their_interval_evenly() -> None:
    found = uniforms(stream(0), 20_000)

    assert found.min() >= 0
    assert found.max() < 1
    counts = np.histogram(found, bins=20, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 45  # chi-square of 19 degrees: 1 in 1,000 is 43.8


def test_normals_have_the_moments_of_the_normal_distribution() -> None:
    found = normals(stream(0), 50_001)

    assert found.shape == (50_001,)
    assert np.isfinite(found).all()
    assert abs(found.mean()) < 0.015
    assert abs(found.var() - 1) < 0.02
    assert abs((found**4).mean() - 3) < 0.15


def test_fewer_numbers_are_the_first_of_more() -> None:
    key = stream(3, "x")

    for draw in (uniforms, normals):
        assert draw(key, 5).tolist() == draw(key, 100)[:5].tolist()


def test_a_permutation_holds_every_number_once() -> None:
    found = permutation(stream(0, "epoch", 1), 1000)

    assert sorted(found.tolist()) == list(range(1000))
    assert found.tolist() != permutation(stream(0, "epoch", 2), 1000).tolist()
    assert found.tolist() == permutation(stream(0, "epoch", 1), 1000).tolist()


def test_random_tensors_are_chosen_by_seed_and_key() -> None:
    def drawn(**choice: object) -> list[float]:
        return random_uniform((2, 3), -1.0, 1.0, **choice).tolist()

    assert drawn(seed=0, key="a") == drawn(seed=0, key="a")
    assert drawn(seed=0, key="a") != drawn(seed=0, key="b")
    assert drawn(seed=0, key="a") != drawn(seed=1, key="a")
    assert random_normal(4, 5.0, 0.0, seed=0).tolist() == [5.0] * 4
    assert isinstance(random_normal((2,), seed=0, scalar_type="bf16"), Tensor)
