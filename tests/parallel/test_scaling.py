"""The model of step time agrees with what can be counted by hand."""

from __future__ import annotations

import pytest

from autograph.parallel.scaling import Job, Link, limits

NEAR, FAR = Link(1e-6, 100e9), Link(10e-6, 10e9)


def job(**changes: float) -> Job:
    settings = {"compute": 0.01, "nbytes": 40e6, "bucket_bytes": 8e6, "last_bytes": 8e6, **changes}
    return Job(near=NEAR, far=FAR, **settings)  # type: ignore[arg-type]


def test_one_rank_computes_and_nothing_else() -> None:
    assert job().step(1) == 0.01
    assert job().efficiency(1) == 1


def test_only_the_last_bucket_is_waited_for_where_the_link_is_fast() -> None:
    # 8 MB over 2 ranks: 2 messages of 1 us, each byte sent once at 100 GB/s
    expected = 0.01 + 2e-6 + 8e6 / 100e9

    assert job().step(2) == pytest.approx(expected)


def test_without_buckets_nothing_overlaps() -> None:
    expected = 0.01 + 2e-6 + 40e6 / 100e9

    assert job(bucket_bytes=40e6, last_bytes=40e6).step(2) == pytest.approx(expected)


def test_buckets_double_from_the_last_one() -> None:
    doubled = job(last_bytes=2**21, bucket_bytes=2**23, nbytes=15 * 2**20)

    assert [each / 2**20 for each in doubled.buckets(2)] == [1, 8, 4, 2]
    assert [each / 2**20 for each in doubled.buckets(8)] == [3, 8, 4]
    assert [each / 2**20 for each in doubled.buckets(64)] == [7, 8]


def test_averages_take_something_from_backward() -> None:
    expected = 0.01 + 0.5 * 4 * (2e-6 + 8e6 / 100e9) + 2e-6 + 8e6 / 100e9

    assert job(contention=0.5).step(2) == pytest.approx(expected)


def test_a_slow_link_is_never_idle_once_it_has_begun() -> None:
    slow = Job(
        compute=0.01, nbytes=40e6, bucket_bytes=8e6, last_bytes=8e6, near=Link(0, 1e9), far=FAR
    )
    first = 0.01 / 3 + 0.01 * 2 / 3 / 5

    assert slow.step(2) == pytest.approx(first + 40e6 / 1e9)


def test_between_machines_each_rank_sends_its_part() -> None:
    one = job(bucket_bytes=40e6, last_bytes=40e6)
    within = 14 * (1e-6 + 40e6 / 8 / 100e9)
    between = 2 * (10e-6 + 40e6 / 8 / 2 / 10e9)

    assert one.step(16) == pytest.approx(0.01 + within + between)


def test_efficiency_never_rises_with_ranks() -> None:
    found = [efficiency for _, _, efficiency, _ in limits(job(), most=4096)]

    assert found == sorted(found, reverse=True)
