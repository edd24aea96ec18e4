"""Live: a training in a thread of this process, whose scene is filled as it goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

from ..control import Control, Stopped
from ..data.dataset import Dataset
from ..data.named import TrainTest
from ..layers import Layer
from ..logs import record_of
from ..optim import Optimizer
from ..progress import Plain
from ..train import Report, fit
from .look import look
from .scene import Scene

PERIOD = 0.5  # seconds between two looks at the model


class Live:
    """Trains a model in a thread, and knows its scene.

    `start` begins, `update` answers the scene as it is now, `control` is what keys ask.
    """

    def __init__(
        self,
        model: Layer,
        optimizer: Optimizer,
        train: Dataset,
        test: Dataset,
        *,
        name: str = "",
        data_name: str = "",
        epochs: int = 10,
        control: Control | None = None,
        **settings: Any,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.data = TrainTest(train, test)
        self.scene = Scene(name=name or type(model).__name__, epochs=epochs)
        self.control = control or Control(save=self._save)
        self.error: BaseException | None = None
        self.reports: list[Report] = []
        self._data_name, self._settings = data_name, {"epochs": epochs, **settings}
        self._records: list[dict[str, Any]] = []
        self._looked = 0.0
        self._thread = threading.Thread(target=self._run, name="autograph-train", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def update(self) -> Scene:
        """The scene as it is now."""
        return self.scene

    def join(self, timeout: float | None = None) -> None:
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            for report in self._epochs():
                self.told(report)
            self.scene.state = "ended"
        except Stopped:
            self.scene.state, self.scene.note = "ended", "stopped"
        except BaseException as error:
            self.error = error
            self.scene.state, self.scene.note = "failed", str(error).splitlines()[0]

    def _epochs(self) -> Iterator[Report]:
        told: dict[str, Any] = {"watch": self.see, "control": self.control, **self._settings}
        return fit(self.model, self.optimizer, *self.data, **told)

    def see(self, name: str, done: int, count: int) -> None:
        """Called after each batch, in the thread that trains: take over how far it is."""
        scene = self.scene
        scene.state = "testing" if name == "test" else "training"
        scene.done, scene.count = done, count
        scene.learning_rate = self.optimizer.rate_at(max(self.optimizer.count - 1, 0))
        if self.control.paused:
            scene.state = "paused"

    def told(self, report: Report) -> None:
        """Take over what an epoch came to; and look at the model, but not too often."""
        scene = self.scene
        self.reports.append(report)
        self._records.append(record_of(report))
        scene.take_over(self._records)
        scene.done, scene.note = 0, str(report)
        if time.monotonic() - self._looked > PERIOD or report.epoch == scene.epochs:
            look(scene, self.model, self.data, self._data_name)
            self._looked = time.monotonic()

    def _save(self) -> None:
        from ..checkpoint import save

        path = f"{self.scene.name}.safetensors"
        save(path, self.model, self.optimizer)
        self.scene.note = f"saved {path}"


class LiveTraining(Live):
    """A `Training` of the command line, in a thread."""

    def __init__(self, training: Any) -> None:
        super().__init__(
            training.model,
            training.optimizer,
            *training.data,
            name=training.settings.model.rpartition(":")[2],
            data_name=training.settings.data,
            epochs=training.settings.epochs,
            control=training.control,
        )
        self._training = training

    def _epochs(self) -> Iterator[Report]:
        """None: the training tells of each itself."""
        self._training.run(Plain(), self.told, watch=self.see)
        return iter(())
