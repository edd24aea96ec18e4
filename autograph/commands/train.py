"""Train a declared model on a data set and print a line for each epoch.

    python -m autograph train examples.mnist.lenet5:LeNet5 --epochs 5 --run runs/lenet5
    python -m autograph train --config lenet5.toml --set optimizer.momentum=0.8

Every setting is a flag, and may stand in a TOML or JSON file given with --config; flags stand
above the file. --schema prints what such a file may hold. With --run FOLDER the run keeps its
settings, logs and checkpoints there, and goes on from them if it is given again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from .. import ops
from ..atomic import write_whole
from ..checkpoint import save
from ..control import Control, Stopped
from ..data.catalogue import choose
from ..errors import SettingsError
from ..layers import Layer
from ..locate import class_of
from ..logs import Csv, JsonLines, Logger, Several, record_of
from ..optim import Optimizer, optimizer_from_description
from ..probe import norms
from ..progress import Bar, Plain, progress_bar
from ..tensor import Tensor
from ..train import Report, cross_entropy_loss, fit
from . import print_json
from .train_settings import TrainSettings, schema

ASKED = "asked.json"  # the settings of a run, in its folder
NOW = "now.json"  # how far its epoch is
PERIOD = 0.25  # seconds between two notes of that


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", nargs="?", metavar="MODULE:CLASS", help="or FILE.py:CLASS, a declared layer")
    add("--config", type=Path, metavar="FILE", help="settings in TOML or JSON")
    add("--schema", action="store_true", help="print the JSON schema of settings, and end")
    for name, kind, what in TrainSettings.flags():
        add(f"--{name.replace('_', '-')}", type=kind, metavar=kind.__name__.upper(), help=what)
    add("--learning-rate", type=float, metavar="FLOAT", help="of the optimizer")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="as optimizer.beta1=0.8")
    add("--tensorboard", type=Path, metavar="FOLDER", help="write event files there")
    add("--csv", type=Path, metavar="FILE", help="write a table there; a run keeps log.csv")
    add("--view", action="store_true", help="watch it in the live view (extra view)")
    add("--json", action="store_true", help="a JSON object for each epoch")


def run(options: argparse.Namespace) -> int:
    if options.schema:
        print_json(schema())
        return 0
    settings = settings_of(options)
    training = Training(settings, options)
    if options.view:
        from ..view import watch_training

        return watch_training(training)
    told: list[Report] = []
    try:
        with nullcontext(Plain()) if options.json else progress_bar() as bar:

            def tell(report: Report) -> None:
                told.append(report)
                bar.print(json.dumps(record_of(report)) if options.json else str(report))

            training.run(bar, tell)
    except Stopped:
        print("stopped, as it was asked", file=sys.stderr)
        return 0
    if not told:
        print(f"nothing to do: {settings.run} has its {settings.epochs} epochs", file=sys.stderr)
    return 0


# -- settings --------------------------------------------------------------------------


def settings_of(options: argparse.Namespace) -> TrainSettings:
    """The settings of the file, and above them those of the flags."""
    told = _read(options.config) if options.config else {}
    for name in ("model", *(name for name, _, _ in TrainSettings.flags())):
        value = getattr(options, name)
        if value is not None:
            told[name] = value
    told["target"] = _value(str(told.get("target", -1)))
    optimizer = told.get("optimizer")
    if isinstance(optimizer, str):
        told["optimizer"] = _value(optimizer) if optimizer.startswith("{") else {"kind": optimizer}
    changes = [_assignment(each) for each in options.set]
    if options.learning_rate is not None:
        changes.append((["optimizer", "learning_rate"], options.learning_rate))
    for path, value in changes:
        inner = told
        if path[0] == "optimizer":
            inner.setdefault("optimizer", dict(TrainSettings.OPTIMIZER))
        for each in path[:-1]:
            inner = inner.setdefault(each, {})
            if not isinstance(inner, dict):
                raise SettingsError(f"--set {'.'.join(path)}: {each} has no settings of its own")
        inner[path[-1]] = value
    if "model" not in told:
        raise SettingsError("train: there is no model\n  write  train MODULE:CLASS")
    return TrainSettings.from_settings(told)


def _read(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    try:
        told = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise SettingsError(f"{path}: {error}\n  it must be TOML (.toml) or JSON") from None
    if not isinstance(told, dict):
        raise SettingsError(f"{path}: settings are a table of names and values")
    return told


def _assignment(text: str) -> tuple[list[str], Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingsError(f"--set {text}: a name and a value are wanted\n  write  NAME=VALUE")
    return name.split("."), _value(value)


def _value(text: str) -> Any:
    """A JSON value; a word that is none is a string."""
    try:
        return json.loads(text)
    except ValueError:
        return text


# -- training --------------------------------------------------------------------------


class Training:
    """A training as settings describe it, ready to run."""

    def __init__(self, settings: TrainSettings, options: argparse.Namespace) -> None:
        self.settings = settings
        cls = class_of(settings.model)
        if not issubclass(cls, Layer):
            raise SettingsError(
                f"{settings.model} is no layer\n  write  class {cls.__name__}(Layer):"
            )
        self.data = choose(
            settings.data,
            seed=settings.seed,
            test_share=settings.test_share,
            target=settings.target,
        )
        self.model: Layer = cls.build(
            device=settings.device, scalar_type=settings.scalar_type, seed=settings.seed
        )
        self.optimizer: Optimizer = optimizer_from_description(settings.optimizer)
        self.folder = Path(settings.run) if settings.run else None
        self.control = Control(self.folder, save=self._save)
        self.options = options
        self._noted = 0.0

    def run(self, bar: Bar | Plain, tell: Callable[[Report], None], watch: Any = None) -> None:
        """Train to the end, telling each report."""
        settings = self.settings
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            told = {k: v for k, v in settings.describe().items() if k != "kind"}
            asked = json.dumps(told, indent=2, ensure_ascii=False)
            write_whole(self.folder / ASKED, [asked.encode()])

        def after_batch(name: str, done: int, count: int) -> None:
            for each in (bar.watch, watch):
                if each is not None:
                    each(name, done, count)
            self._note(name, done, count)

        loss = cross_entropy_loss if settings.loss == "cross_entropy" else mean_squared_error
        with closing(Several(list(self._loggers()))) as log:
            for report in fit(
                self.model,
                self.optimizer,
                self.data.train,
                self.data.test,
                epochs=settings.epochs,
                batch_size=settings.batch_size,
                test_batch_size=settings.test_batch_size,
                loss=loss,
                seed=settings.seed,
                watch=after_batch,
                run=self.folder,
                control=self.control,
            ):
                rate = self._rate()
                found = norms(self.model, self.data.train, loss=loss)
                log.write({"event": "details", **record_of(report, learning_rate=rate), **found})
                tell(report)
                if settings.checkpoint:
                    progress = report.progress.describe()
                    save(settings.checkpoint, self.model, self.optimizer, progress)

    def _loggers(self) -> list[Logger]:
        made: list[Logger] = []
        if self.folder is not None:
            made += [JsonLines(self.folder / "log.jsonl"), Csv(self.folder / "log.csv")]
        if self.options.csv:
            made.append(Csv(self.options.csv))
        if self.options.tensorboard:
            from ..tensorboard import TensorBoard

            made.append(TensorBoard(self.options.tensorboard))
        return made

    def _note(self, name: str, done: int, count: int) -> None:
        """Say in the run's folder how far the epoch is, a few times a second."""
        now = time.monotonic()
        if self.folder is not None and (now - self._noted > PERIOD or done == count):
            self._noted = now
            rate = self._rate()
            told = {"part": name, "done": done, "count": count, "learning_rate": rate}
            (self.folder / NOW).write_text(json.dumps(told), "utf-8")

    def _rate(self) -> float:
        """The learning rate of the last step."""
        return self.optimizer.rate_at(max(self.optimizer.count - 1, 0))

    def _save(self) -> None:
        save("asked.safetensors", self.model, self.optimizer)


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean squared error of outputs and targets of one shape."""
    return ops.mse_loss(outputs, targets)
