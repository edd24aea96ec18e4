"""N ranks do what one process does with N times the batch, and end with equal bits."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autograph.checkpoint import Checkpoint

from . import worker
from .launch import finish, missing, start

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

EQUAL = (
    "plain", "uneven", "few", "dropped", "parts", "adam", "synced", "synced_uneven", "sent",
    "overlapped", "sharded", "scattered", "between", "refused", "clipped", "own_loop",
    "tiny", "grouped",
)  # fmt: skip
OTHERS = (
    "norms", "rounded", "sharded_rounded", "halves", "begun", "begun_sharded", "signalled",
    "disagreeing",
)  # fmt: skip
FOUR = ("plain", "few", "sharded", "tiny", "grouped", "resumed", "resumed_sharded")
RESUMED = {"resumed": "plain", "resumed_sharded": "adam"}
Found = dict[str, np.ndarray[Any, Any]]
Ran = Callable[[str, int], list[Found]]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """What each rank found in a check, started with 2 and with 4."""
    out = tmp_path_factory.mktemp("ranks")
    for ranks, names in ((2, EQUAL + OTHERS), (4, FOUR)):
        here = out / str(ranks)
        here.mkdir()
        if ranks == 4:  # what two ranks began
            worker.trained(None, 20, run=here / "elsewhere", stop_after=2)
            shutil.copytree(out / "2" / "begun_sharded", here / "elsewhere_sharded")
            for each in (here / "elsewhere_sharded" / "checkpoints").glob("*24.safetensors"):
                each.unlink()  # what is left has two of three epochs
        code, told = finish(start(ranks, "tests.parallel.worker", here, *names))
        assert code == 0, told

    def found(name: str, ranks: int) -> list[Found]:
        files = [out / str(ranks) / f"{name}-{rank}.npz" for rank in range(ranks)]
        return [dict(np.load(each)) for each in files]

    found.out = out  # type: ignore[attr-defined]
    return found


def alone(name: str, folder: Path) -> Found:
    """What one process finds."""
    found: Found = worker.CHECKS[name](None, 1, folder)
    return found


def weights(found: Found) -> Found:
    begin = "model.", "dense", "conv"
    return {path: each for path, each in found.items() if path.startswith(begin)}


@pytest.mark.parametrize(
    ("name", "ranks"), [(name, 2) for name in EQUAL] + [(name, 4) for name in FOUR]
)
def test_ranks_do_what_one_process_does(name: str, ranks: int, ran: Ran, tmp_path: Path) -> None:
    expected = alone(RESUMED.get(name, name), tmp_path)
    found = ran(name, ranks)[0]

    for path, each in weights(expected).items():
        np.testing.assert_allclose(found[path], each, rtol=0, atol=1e-6, err_msg=path)
    for path in ("losses", "tests"):
        if path in expected:
            last = found[path][-1]
            np.testing.assert_allclose(last, expected[path][-1], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "ranks"), [(name, 2) for name in EQUAL + OTHERS] + [(name, 4) for name in FOUR]
)
def test_ranks_end_with_equal_bits(name: str, ranks: int, ran: Ran) -> None:
    first, *others = ran(name, ranks)

    for other in others:
        for path in first:
            if path not in ("held", "warned", "few"):
                np.testing.assert_array_equal(first[path], other[path], err_msg=path)


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("sent", "plain"), ("overlapped", "plain"), ("refused", "plain"),
        ("sharded", "adam"), ("scattered", "adam"), ("sharded_rounded", "rounded"),
    ],
)  # fmt: skip
def test_sums_do_not_depend_on_how_they_travel(name: str, like: str, ran: Ran) -> None:
    expected, found = ran(like, 2)[0], ran(name, 2)[0]

    for path, each in weights(expected).items():
        np.testing.assert_array_equal(found[path], each, err_msg=path)


def test_all_ranks_record_a_step_or_none_does(ran: Ran) -> None:
    one, other = (str(each["warned"]) for each in ran("refused", 2))

    assert "runs eagerly: another rank has to" in one
    assert "it reads the values of a tensor" in other


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("model", ("the model is another on rank 1", "'name': 'Chance'", "'name': 'Net'")),
        ("scalar type", ("the model is another on rank 1", "'bf16 (3, 1, 3, 3)", "'f32 (3, 1")),
        ("optimizer", ("the optimizer is another on rank 1", "momentum': 0.5", "momentum': 0.1")),
        ("sharded optimizer", ("the optimizer is another on rank 1", "'Adam'", "'SGD'")),
        ("seed", ("what fit is asked is another on rank 1", "'seed': 1", "'seed': 0")),
        ("batch", ("what fit is asked is another on rank 1", "size': 22", "size': 20")),
        ("parts", ("what fit is asked is another on rank 1", "batches': 2", "batches': 1")),
        ("policy", ("what fit is asked is another on rank 1", "'skip'", "'stop'")),
        ("data", ("what fit is asked is another on rank 1", "'samples': 150, 'hash'")),
        ("later", ("the model is another on rank 1", "learns: False", "learns: True")),
        ("few", ("a batch has fewer samples than there are ranks", "batch  1", "ranks  2")),
        ("update", ("the ranks have no average of their gradients", "replica.backward(loss)")),
    ],
)  # fmt: skip
def test_ranks_that_disagree_are_told_so(what: str, words: tuple[str, ...], ran: Ran) -> None:
    for each in ran("disagreeing", 2):
        for word in words:
            assert word in str(each[what])


def test_rounded_gradients_are_close(ran: Ran) -> None:
    expected, found = ran("plain", 2)[0], ran("rounded", 2)[0]

    for path, each in weights(expected).items():
        assert 0 < np.abs(found[path] - each).max() < 2e-3


def test_a_model_of_halves_keeps_its_masters_in_parts(ran: Ran, tmp_path: Path) -> None:
    expected, found = alone("halves", tmp_path), ran("halves", 2)[0]

    for path, each in weights(expected).items():
        got = found[path].view(each.dtype).astype(np.float32)  # .npz knows no bf16
        np.testing.assert_allclose(got, each.astype(np.float32), rtol=1.6e-2, atol=2e-3)


@pytest.mark.parametrize("ranks", [2, 4])
def test_each_rank_keeps_its_part_of_the_optimizer(ranks: int, ran: Ran, tmp_path: Path) -> None:
    expected = alone("sharded", tmp_path)
    whole = sum(each.nbytes for path, each in expected.items() if path.startswith("optimizer."))
    found = ran("sharded", ranks)

    for each in found:
        assert each["held"] < whole / ranks + 100


def test_a_file_has_the_optimizer_whole(ran: Any, tmp_path: Path) -> None:
    expected = alone("sharded", tmp_path)
    newest = ran.out / "2" / "sharded" / "checkpoints" / "step-000000024.safetensors"
    with Checkpoint.open(newest) as checkpoint:
        for path, each in expected.items():
            if path.startswith(("model.", "optimizer.")):
                np.testing.assert_allclose(checkpoint.tensors[path], each, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "like"), [("begun", "plain"), ("signalled", "plain"), ("begun_sharded", "adam")]
)
def test_a_run_goes_on_bit_for_bit_with_as_many_ranks(name: str, like: str, ran: Ran) -> None:
    expected, found = ran(like, 2)[0], ran(name, 2)[0]

    assert found["resumed"] == "exact"
    for path, each in weights(expected).items():
        np.testing.assert_array_equal(found[path], each, err_msg=path)


@pytest.mark.parametrize(("name", "ranks"), [("resumed", 1), ("resumed_sharded", 2)])
def test_a_run_that_goes_on_with_other_ranks_says_so(name: str, ranks: int, ran: Ran) -> None:
    found = ran(name, 4)[0]

    assert len(found["losses"]) == 1
    assert f"ranks {ranks} -> 4" in str(found["resumed"])
