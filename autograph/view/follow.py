"""Following a run by its folder: what its log, its notes and its newest checkpoint say; or all runs
of a folder."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..checkpoint import load
from ..control import Control
from ..data.catalogue import choose
from ..data.named import TrainTest
from ..errors import AutographError, SettingsError
from ..layers import Layer
from ..logs import flat, read_log
from .look import look
from .scene import RunLine, Scene

SILENCE = 5.0  # seconds without a note, after which a run is not at work


def note_of(event: dict[str, Any]) -> str:
    """A record of a run's log in words: 13:50:12 epoch 3, test loss 0.039, accuracy 98.8%."""
    clock = str(event.get("time", ""))[11:19]
    told = flat(event)
    words = [f"{told.get('event', '')} {told.get('epoch', '')}".strip()]
    for part in ("test", "train"):
        if f"{part}_loss" in told:
            words.append(f"{part} loss {told[f'{part}_loss']:.4g}")
            accuracy = told.get(f"{part}_accuracy")
            words += [] if accuracy is None else [f"accuracy {accuracy:.2%}"]
            break
    words += [str(told[name]) for name in ("error", "what") if name in told]
    return f"{clock}  {', '.join(words)}".strip()


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return any((folder / name).exists() for name in ("log.jsonl", "config.json"))


class Follower:
    """A scene of a run in a folder, in whatever process it trains, or has.

    `layers` are classes that its checkpoints may name. In the `background` models are looked at
    by a thread, so that `update` never waits for one.
    """

    def __init__(
        self,
        folder: str | Path,
        layers: Iterable[type[Layer]] = (),
        *,
        background: bool = False,
    ) -> None:
        self.folder, self._background = Path(folder), background
        if not is_run(self.folder):
            raise SettingsError(
                f"view: {folder} is no run\n  write the folder that  train --run FOLDER  was given"
            )
        self.scene = Scene(name=self.folder.name)
        self.control = Control(self.folder)
        self._data: TrainTest | None = None
        self._seen: tuple[str, int] | None = None
        self._looking: threading.Thread | None = None
        self._read: tuple[int, int] | None = None  # size and time of the log that was read
        self._asked = {**self._json("config.json"), **self._json("asked.json")}
        self._layers = list(layers)

    def changed(self) -> float:
        """When the run last wrote its log; 0 if it has none yet."""
        with suppress(FileNotFoundError):
            return (self.folder / "log.jsonl").stat().st_mtime
        return 0.0

    def update(self, *, looks: bool = True) -> Scene:
        """Look again, at the newest checkpoint too unless said."""
        scene, log = self.scene, self.folder / "log.jsonl"
        with suppress(FileNotFoundError):
            now = log.stat().st_size, log.stat().st_mtime_ns
            if now != self._read:
                self._read, records = now, read_log(log)
                scene.epochs = int(self._asked.get("epochs", 0))
                scene.take_over(records)
                events = [each for each in records if each.get("event") != "details"]
                if events:
                    scene.note = note_of(events[-1])
        self._progress()
        if scene.state not in ("ended", "failed"):
            self.control.look()
            if self.control.paused:
                scene.state = "paused"
        if looks:
            self._checkpoint()
        return scene

    def _progress(self) -> None:
        scene, path = self.scene, self.folder / "now.json"
        told = self._json("now.json")
        scene.done, scene.count = int(told.get("done", 0)), int(told.get("count", 0))
        scene.learning_rate = told.get("learning_rate", scene.learning_rate)
        silent = True
        with suppress(FileNotFoundError):
            silent = time.time() - path.stat().st_mtime > SILENCE
        if scene.epochs and scene.epoch >= scene.epochs:
            scene.state = "ended"
        elif silent:
            scene.state = "at rest"
        else:
            scene.state = "testing" if told.get("part") == "test" else "training"

    def _checkpoint(self) -> None:
        """Look at the newest checkpoint, if there is a newer one than was looked at."""
        if self._looking is not None and self._looking.is_alive():
            return
        files = sorted((self.folder / "checkpoints").glob("step-*.safetensors"))
        if not files or "data" not in self._asked or not isinstance(self._asked["data"], str):
            return
        with suppress(OSError):
            seen = files[-1].name, files[-1].stat().st_mtime_ns
            if seen == self._seen:
                return
            self._seen = seen
            self._looking = threading.Thread(target=self._look, args=(files[-1],), daemon=True)
            self._looking.start()
            if not self._background:
                self._looking.join()

    def _look(self, file: Path) -> None:
        with suppress(AutographError, OSError):
            model = load(file, layers=self._layers)
            look(self.scene, model, self._read_data(), self._asked["data"])

    def _read_data(self) -> TrainTest:
        if self._data is None:
            names = {"seed", "test_share", "target"} & self._asked.keys()
            self._data = choose(self._asked["data"], **{name: self._asked[name] for name in names})
        return self._data

    def _json(self, name: str) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            told = json.loads((self.folder / name).read_text("utf-8"))
            return told if isinstance(told, dict) else {}
        return {}


class Runs:
    """The scene of one run of a folder, with a line for each; runs that begin are taken in."""

    def __init__(
        self,
        folder: str | Path,
        layers: Iterable[type[Layer]] = (),
        *,
        background: bool = False,
    ) -> None:
        self.folder, self.layers, self.background = Path(folder), list(layers), background
        self.followers: dict[str, Follower] = {}
        self.chosen = ""
        self._find()
        if not self.followers:
            raise SettingsError(
                f"view: {folder} is no run, and holds none\n"
                f"  write the folder that  train --run FOLDER  was given, or the one it lies in"
            )

    @property
    def control(self) -> Control:
        """What is asked of the run that is shown."""
        return self.followers[self.chosen].control

    def update(self) -> Scene:
        """Look again: at all logs, and at the model of the run that is shown."""
        self._find()
        lines = []
        for name, each in self.followers.items():
            scene = each.update(looks=name == self.chosen)
            lines.append(RunLine(name, scene.state, scene.epoch, scene.epochs, scene.curves))
        shown = self.followers[self.chosen].scene
        shown.runs = lines
        return shown

    def choose(self, by: int) -> None:
        """Show the run so many places further down."""
        names = list(self.followers)
        self.chosen = names[(names.index(self.chosen) + by) % len(names)]

    def _find(self) -> None:
        for path in sorted(each for each in self.folder.iterdir() if is_run(each)):
            if path.name not in self.followers:
                made = Follower(path, self.layers, background=self.background)
                self.followers[path.name] = made
        self.followers = dict(sorted(self.followers.items()))
        if not self.chosen and self.followers:
            self.chosen = max(self.followers, key=lambda name: self.followers[name].changed())
