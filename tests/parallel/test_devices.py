"""Ranks with a GPU each do what one GPU does, and end with equal bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autograph.device import Device

from .launch import finish, missing, start

NAMES = (
    "plain", "uneven", "dropped", "adam", "synced", "overlapped", "sharded", "scattered", "between",
    "clipped", "refused",
)  # fmt: skip


@pytest.mark.device
def test_gpus_do_what_one_does(tmp_path: Path) -> None:
    count = sum(each.kind == "cuda" for each in Device.available())
    if missing() or count < 2:
        pytest.skip(missing() or f"there are {count} CUDA devices")
    for ranks in (1, min(count, 4)):
        here = tmp_path / str(ranks)
        here.mkdir()
        started = start(ranks, "tests.parallel.worker", here, *NAMES, AUTOGRAPH_TEST_DEVICE="cuda")
        code, told = finish(started)
        assert code == 0, told
    for name in NAMES:
        expected = dict(np.load(tmp_path / "1" / f"{name}-0.npz"))
        first, *others = (
            dict(np.load(tmp_path / str(ranks) / f"{name}-{rank}.npz")) for rank in range(ranks)
        )
        for path in [each for each in expected if each.startswith("model.")]:
            for other in others:
                np.testing.assert_array_equal(first[path], other[path], err_msg=path)
            np.testing.assert_allclose(first[path], expected[path], rtol=0, atol=1e-6)
