"""Following a run by its folder: what its log, its notes and its newest checkpoint say."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..checkpoint import load
from ..control import Control
from ..data.choose import choose
from ..data.named import TrainTest
from ..errors import AutographError, SettingsError
from ..layers import Layer
from ..logs import curves_of, read_log
from .look import look
from .scene import Scene

SILENCE = 5.0  # seconds without a note, after which a run is not at work


class Follower:
    """A scene of a run in a folder, in whatever process it trains, or has; `layers` are classes
    that its checkpoints may name."""

    def __init__(self, folder: str | Path, layers: Iterable[type[Layer]] = ()) -> None:
        self.folder = Path(folder)
        if not (self.folder / "log.jsonl").exists() and not (self.folder / "config.json").exists():
            raise SettingsError(
                f"view: {folder} is no run\n  write the folder that  train --run FOLDER  was given"
            )
        self.scene = Scene(name=self.folder.name)
        self.control = Control(self.folder)
        self._data: TrainTest | None = None
        self._seen: tuple[str, int] | None = None
        asked = self._json("asked.json")
        self._asked = {**self._json("config.json"), **asked}
        self._layers = list(layers)

    def update(self) -> Scene:
        """Look again."""
        scene = self.scene
        with suppress(FileNotFoundError):
            records = read_log(self.folder / "log.jsonl")
            scene.curves = dict(curves_of(records))
            self._tell(records)
        self._progress()
        if scene.state not in ("ended", "failed"):
            self.control.look()
            if self.control.paused:
                scene.state = "paused"
        self._checkpoint()
        return scene

    def _tell(self, records: list[dict[str, Any]]) -> None:
        scene = self.scene
        losses = scene.curves.get("train_loss", ())
        scene.epoch = int(losses[-1][0]) if losses else 0
        scene.epochs = int(self._asked.get("epochs", 0)) or scene.epoch
        events = [each for each in records if each.get("event") != "details"]
        if events:
            scene.note = f"{events[-1].get('time', '')} {events[-1].get('event', '')}".strip()
        rates = scene.curves.get("rate", ())
        scene.rate = rates[-1][1] if rates else None
        seconds = [each for _, each in scene.curves.get("seconds", ())][-5:]
        if seconds:
            scene.left = (scene.epochs - scene.epoch) * sum(seconds) / len(seconds)

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
        files = sorted((self.folder / "checkpoints").glob("step-*.safetensors"))
        if not files or "data" not in self._asked or not isinstance(self._asked["data"], str):
            return
        newest = files[-1]
        with suppress(AutographError, OSError):
            seen = newest.name, newest.stat().st_mtime_ns
            if seen != self._seen:
                self._seen = seen
                model = load(newest, layers=self._layers)
                look(self.scene, model, self._read_data(), self._asked["data"])

    def _read_data(self) -> TrainTest:
        if self._data is None:
            asked = self._asked
            names = ("seed", "test_share", "target")
            more = {name: asked[name] for name in names if name in asked}
            self._data = choose(asked["data"], **more)
        return self._data

    def _json(self, name: str) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            told = json.loads((self.folder / name).read_text())
            return told if isinstance(told, dict) else {}
        return {}
