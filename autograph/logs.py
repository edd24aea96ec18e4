"""Logs of a run: one record for each epoch, written as JSON lines, CSV, or to somebody's service.

A logger has `write(record)` and `close()`; a record is a flat table of names and numbers, such as
`record_of(report)` makes of what `fit` yields.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing as closing  # a log, whatever happens in the block
from pathlib import Path
from typing import IO, Any, Protocol

from .errors import SettingsError
from .imports import needed
from .train import Report

Record = Mapping[str, Any]
Points = list[tuple[float, float]]  # (epoch, value)
EVENTS = ("epoch", "details")  # of a run's log, that say numbers of an epoch


class Logger(Protocol):
    """Somewhere that records go."""

    def write(self, record: Record) -> None:
        """Keep a record, so that it is there even if the process ends right after."""

    def close(self) -> None:
        """End the log."""


def record_of(report: Report, **more: Any) -> dict[str, Any]:
    """What an epoch came to, flat: `train_loss`, `test_accuracy` and so on; and what is added."""
    told: dict[str, Any] = {"epoch": report.epoch, "step": report.progress.step}
    for name, stats in (("train", report.train), ("test", report.test)):
        if stats is not None:
            told[f"{name}_loss"] = stats.loss
            if stats.accuracy is not None:
                told[f"{name}_accuracy"] = stats.accuracy
    return {**told, "seconds": report.seconds, "rate": report.rate, **more}


class JsonLines:
    """A file of one JSON object a line; records are added to what is there.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "log.jsonl"
    >>> with closing(JsonLines(path)) as log:
    ...     log.write({"epoch": 1, "train_loss": 0.25})
    >>> path.read_text()
    '{"epoch": 1, "train_loss": 0.25}\\n'
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def write(self, record: Record) -> None:
        """Add a line; NaN and the infinities, which JSON has not, as words."""
        line = json.dumps({k: _told(v) for k, v in record.items()}) + "\n"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)

    def close(self) -> None:
        """Nothing is open between two lines."""


class Csv:
    """A table with a column for each name; one that comes later is a column that comes last."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._columns: list[str] = []
        if self._path.exists():
            with self._path.open(newline="", encoding="utf-8") as file:
                self._columns = next(csv.reader(file), [])

    def write(self, record: Record) -> None:
        """Add a row."""
        new = [name for name in record if name not in self._columns]
        if new:
            rows = []
            if self._columns:
                with self._path.open(newline="", encoding="utf-8") as file:
                    rows = list(csv.DictReader(file))
            self._columns += new
            with self._path.open("w", newline="", encoding="utf-8") as file:
                self._table(file).writeheader()
                self._table(file).writerows(rows)
        with self._path.open("a", newline="", encoding="utf-8") as file:
            self._table(file).writerow(record)

    def close(self) -> None:
        """Nothing is open between two rows."""

    def _table(self, file: IO[str]) -> csv.DictWriter[str]:
        return csv.DictWriter(file, self._columns, lineterminator="\n")


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The records of a file of JSON lines; a last line that is not whole yet is left out."""
    records = []
    lines = Path(path).read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            if number == len(lines):
                break
            raise SettingsError(f"log: {path}: line {number} is not JSON") from None
        if isinstance(record, dict):
            records.append({name: _number(value) for name, value in record.items()})
    return records


def _told(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _number(value: Any) -> Any:
    return float(value) if value in ("nan", "inf", "-inf") else value


def flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A record without tables in it.

    >>> flat({"epoch": 1, "train": {"loss": 0.5}})
    {'epoch': 1, 'train_loss': 0.5}
    """
    found: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}_")
        else:
            found[f"{prefix}{name}"] = value
    return found


def curves_of(records: Iterable[Mapping[str, Any]]) -> dict[str, Points]:
    """The points of every number of the records that say an epoch; of two of one epoch, as a run
    has that went back, the later."""
    found: dict[str, dict[float, float]] = {}
    for record in map(flat, records):
        epoch = record.get("epoch")
        if not isinstance(epoch, int | float) or record.get("event", "epoch") not in EVENTS:
            continue
        for name, value in record.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                found.setdefault(name, {})[float(epoch)] = float(value)
    return {name: sorted(points.items()) for name, points in found.items()}


class WeightsAndBiases:
    """Records to Weights & Biases, whose package is imported here and nowhere else."""

    def __init__(self, **settings: Any) -> None:
        self._run = needed("wandb", "logs").init(**settings)

    def write(self, record: Record) -> None:
        """Log a record under its step."""
        self._run.log(dict(record), step=record.get("step"))

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


class MLflow:
    """Records to MLflow, whose package is imported here and nowhere else."""

    def __init__(self, **settings: Any) -> None:
        self._mlflow = needed("mlflow", "logs")
        self._mlflow.start_run(**settings)

    def write(self, record: Record) -> None:
        """Log the numbers of a record under its step."""
        numbers = {k: float(v) for k, v in record.items() if isinstance(v, int | float)}
        self._mlflow.log_metrics(numbers, step=record.get("step"))

    def close(self) -> None:
        """End the run."""
        self._mlflow.end_run()


class Several:
    """Records to several loggers.

    with closing(Several([JsonLines("log.jsonl"), TensorBoard("events")])) as log:
        for report in ag.fit(model, optimizer, train, test):
            log.write(record_of(report))
    """

    def __init__(self, loggers: Sequence[Logger]) -> None:
        self.loggers = tuple(loggers)

    def write(self, record: Record) -> None:
        """Write to each."""
        for each in self.loggers:
            each.write(record)

    def close(self) -> None:
        """Close each."""
        for each in self.loggers:
            each.close()
