"""Logs: what is written is read back, by us and by TensorBoard."""

from __future__ import annotations

import struct
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph.errors import SettingsError
from autograph.logs import (
    Csv,
    JsonLines,
    MLflow,
    Several,
    WeightsAndBiases,
    closing,
    curves_of,
    read_log,
    record_of,
)
from autograph.tensorboard import TensorBoard, crc32c

RECORDS = [
    {"epoch": 1, "step": 10, "train_loss": 0.5},
    {"epoch": 2, "step": 20, "train_loss": float("nan"), "test_accuracy": 0.75},
]


def test_json_lines_are_read_back_nan_and_all(tmp_path: Path) -> None:
    with closing(JsonLines(tmp_path / "log.jsonl")) as log:
        for each in RECORDS:
            log.write(each)

    found = read_log(tmp_path / "log.jsonl")

    assert RECORDS[0] == found[0]
    assert np.isnan(found[1]["train_loss"])


def test_a_line_that_is_not_whole_yet_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"epoch": 1}\n{"epo')

    assert [{"epoch": 1}] == read_log(path)
    path.write_text('{"epo\n{"epoch": 1}\n')
    with pytest.raises(SettingsError, match="line 1 is not JSON"):
        read_log(path)


def test_a_table_gets_columns_that_come_later_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    for each in RECORDS:  # each as a process of its own would
        with closing(Csv(path)) as log:
            log.write(each)

    lines = path.read_text().splitlines()

    assert ["epoch,step,train_loss,test_accuracy", "1,10,0.5,", "2,20,nan,0.75"] == lines


def test_curves_take_the_later_of_two_records_of_one_epoch() -> None:
    records = [
        {"event": "epoch", "epoch": 1, "train": {"loss": 3.0}},
        {"event": "epoch", "epoch": 1, "train": {"loss": 2.0}},
        {"event": "saved", "epoch": 7, "train": {"loss": 9.0}},
        {"event": "epoch", "epoch": 2, "train": {"loss": 1.0}},
    ]

    assert [(1.0, 2.0), (2.0, 1.0)] == curves_of(records)["train_loss"]


def test_records_of_a_training() -> None:
    model = ag.layers.Dense.builder(inputs=2, outputs=2).build()
    data = ag.data.synthetic("diag", 50)
    (report,) = ag.fit(model, ag.optim.SGD(learning_rate=0.1), data, data, epochs=1)

    found = record_of(report, learning_rate=0.1)

    assert (1, 1, 0.1) == (found["epoch"], found["step"], found["learning_rate"])
    assert report.train.loss == found["train_loss"]
    assert report.test is not None
    assert report.test.accuracy == found["test_accuracy"]


def frames(path: Path) -> list[bytes]:
    """The messages of an event file, their checksums checked."""

    def masked(data: bytes) -> int:
        crc = crc32c(data)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    data, found, at = path.read_bytes(), [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        assert masked(data[at : at + 8]) == struct.unpack_from("<I", data, at + 8)[0]
        message = data[at + 12 : at + 12 + length]
        assert masked(message) == struct.unpack_from("<I", data, at + 12 + length)[0]
        found.append(message)
        at += 16 + length
    return found


def test_event_files_are_framed_and_hold_the_numbers(tmp_path: Path) -> None:
    with closing(TensorBoard(tmp_path)) as board:
        board.write(RECORDS[0])
        board.histogram("weights", [1.0, 2.0, np.inf], step=1)
        board.histogram("nothing", [], step=1)

    (path,) = tmp_path.iterdir()
    messages = frames(path)

    assert b"brain.Event:2" in messages[0]
    assert any(b"train/loss" in each and struct.pack("<f", 0.5) in each for each in messages)
    assert 4 == len(messages)


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    module = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="TensorBoard is not installed",
    )
    with closing(TensorBoard(tmp_path)) as board:
        for step in range(20):
            board.scalar("loss", 1 / (step + 1), step)
        board.histogram("weights", np.arange(100.0), step=3)
    found = module.EventAccumulator(str(tmp_path), size_guidance={"scalars": 0})
    found.Reload()

    scalars = found.Scalars("loss")

    assert list(range(20)) == [each.step for each in scalars]
    np.testing.assert_allclose([e.value for e in scalars], 1 / np.arange(1, 21), rtol=1e-6)
    assert 100 == found.Histograms("weights")[0].histogram_value.num


class Service(types.ModuleType):
    """Stands for a package that is not installed here; keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("service")
        self.told: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*given: Any, **named: Any) -> Service:
            self.told.append((name, given, named))
            return self

        return call


def test_services_are_imported_when_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    monkeypatch.setitem(sys.modules, "wandb", service)
    monkeypatch.setitem(sys.modules, "mlflow", service)

    with closing(Several([WeightsAndBiases(project="p"), MLflow()])) as log:
        log.write(RECORDS[0])

    names = [name for name, _, _ in service.told]
    assert ["init", "start_run", "log", "log_metrics", "finish", "end_run"] == names
    assert (RECORDS[0],) == service.told[2][1]


def test_a_service_that_is_missing_is_told_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)

    with pytest.raises(SettingsError, match="pip install wandb"):
        WeightsAndBiases()
