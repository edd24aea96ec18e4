"""All runs of a folder: what each has come to, and the one of them that is shown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..control import Control
from ..errors import SettingsError
from ..layers import Layer
from .follow import Follower, is_run
from .scene import RunLine, Scene


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
