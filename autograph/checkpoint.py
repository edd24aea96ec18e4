"""Checkpoints: one safetensors file that holds a model, its optimizer, and how far training came.

Tensors are named by path, `model.conv1.weight` and `optimizer.conv1.weight.velocity`; what else
there is to know is JSON. Nothing in a file is executed, or imported by name. Equal states give
equal bytes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from .device import HOST, Device
from .errors import AutographError, CheckpointError, SettingsError
from .files import File, read, write
from .fingerprint import compared, fingerprint
from .layers import Layer
from .layers.stored import (
    PREFIX,
    arrays_of,
    build,
    document_of,
    exchanged,
    named_tensors,
    refuse_differences,
    reseed,
    staged,
)
from .optim import Average, Optimizer
from .scalar_type import ScalarType
from .tensor import Tensor

Array = np.ndarray[Any, Any]

STATE, AVERAGE = "optimizer.", "average."


@dataclass(frozen=True)
class Snapshot:
    """All of a training state at one moment, on the host, shared with nobody."""

    arrays: dict[str, Array]
    document: dict[str, Any]

    @classmethod
    def of(
        cls,
        model: Layer,
        optimizer: Optimizer | None = None,
        progress: Mapping[str, Any] | None = None,
        average: Average | None = None,
    ) -> Snapshot:
        """Copy the state as it is now."""
        arrays = training_arrays(model, optimizer, average)
        copies = {name: np.array(each, order="C") for name, each in arrays.items()}
        return cls(copies, training_document(model, optimizer, progress, average))

    def write(self, path: str | Path) -> None:
        """Write it as a checkpoint."""
        write(path, self.arrays, self.document)


def save(
    path: str | Path,
    model: Layer,
    optimizer: Optimizer | None = None,
    progress: Mapping[str, Any] | None = None,
    average: Average | None = None,
) -> None:
    """Write a checkpoint: `progress` is any JSON that a training loop wants back.

    The file that was there stays until the new one is whole and on the disk.
    """
    if not isinstance(model, Layer):
        raise SettingsError(
            f"save: a {type(model).__name__} is no model\n  write  save(path, model, optimizer)"
        )
    document = training_document(model, optimizer, progress, average)
    write(path, training_arrays(model, optimizer, average), document)


def load(
    path: str | Path,
    *,
    layers: Iterable[type[Layer]] = (),
    device: Device | str = HOST,
    scalar_type: ScalarType | str | None = None,
) -> Layer:
    """The model in a file, rebuilt without its class.

    `layers` are classes that the file may name beside those of `autograph.layers`: own layers,
    and declared classes that the model shall be of. Scalar types are those of the file unless
    one is asked for.
    """
    with read(path) as file:
        return build(file, layers=layers, device=device, scalar_type=scalar_type)


def training_arrays(
    model: Layer, optimizer: Optimizer | None = None, average: Average | None = None
) -> dict[str, Array]:
    """The values of a training state, by the names that files give them."""
    arrays = arrays_of(named_tensors(model))
    for prefix, each in ((STATE, optimizer), (AVERAGE, average)):
        if each is not None:
            arrays |= arrays_of(each.tensors(), prefix)
    return arrays


def training_document(
    model: Layer,
    optimizer: Optimizer | None = None,
    progress: Mapping[str, Any] | None = None,
    average: Average | None = None,
) -> dict[str, Any]:
    """What of a training state is not in its tensors, as a JSON value of its own."""
    document = document_of(model)
    if optimizer is not None:
        document |= {
            "optimizer": optimizer.describe(),
            "updates": optimizer.count,
            "fingerprint": fingerprint(model.device),
        }
    if average is not None:
        document["average"] = average.describe()
    if progress is not None:
        document["progress"] = dict(progress)
    return copy.deepcopy(document)


class Checkpoint:
    """A checkpoint that is open: what it says of model, optimizer, average and progress, and its
    tensors.

    Opening reads and checks the header; tensors are read when they are asked for, and only if
    the checksum of the whole file is right.
    """

    model: dict[str, Any]  # the model's description
    optimizer: dict[str, Any] | None  # the optimizer's
    average: dict[str, Any] | None  # that of the average of the weights
    updates: int  # that the optimizer had made
    seed: int  # the model's, of its random streams
    fingerprint: dict[str, Any]  # of where it was saved
    progress: dict[str, Any]

    def __init__(self, file: File) -> None:
        told = file.metadata
        self.file = file
        self.model = _typed(file, "model", dict, None)
        self.progress = _typed(file, "progress", dict, {})
        self.updates = _typed(file, "updates", int, 0)
        self.seed = _typed(file, "seed", int, 0)
        self.fingerprint = _typed(file, "fingerprint", dict, {})
        self.optimizer = _typed(file, "optimizer", dict, {}) if "optimizer" in told else None
        self.average = _typed(file, "average", dict, {}) if "average" in told else None
        parts = (PREFIX, True), (STATE, "optimizer" in told), (AVERAGE, "average" in told)
        known = tuple(prefix for prefix, held in parts if held)
        for name in file.entries:
            if not name.startswith(known):
                raise CheckpointError(f"load: {file.path}: it has a tensor of nothing: {name!a}")

    @classmethod
    def open(cls, path: str | Path) -> Checkpoint:
        """Open a file and check its header."""
        return cls(read(path))

    @property
    def tensors(self) -> dict[str, Array]:
        """All arrays by name: `model.conv1.weight`."""
        return self.file.tensors

    def build(
        self,
        *,
        device: Device | str = HOST,
        layers: Iterable[type[Layer]] = (),
        scalar_type: ScalarType | str | None = None,
    ) -> Layer:
        """The model, as `load` gives it."""
        return build(self.file, layers=layers, device=device, scalar_type=scalar_type)

    def build_optimizer(
        self, model: Layer, optimizers: Iterable[type[Optimizer]] = ()
    ) -> Optimizer:
        """The optimizer with its state, for a model that `build` made; `optimizers` are classes
        that the file may name beside those of `autograph.optim`."""
        from .optim import optimizer_from_description

        told = self._optimizer_told()
        made = _in_file(self.file, lambda: optimizer_from_description(told, optimizers))
        _in_file(self.file, lambda: self._restore_into(made, model))
        return made

    def build_average(self, model: Layer) -> Average:
        """The average of the weights, for a model that `build` made."""
        settings = {name: each for name, each in (self.average or {}).items() if name != "kind"}
        made: Average = _in_file(self.file, lambda: Average.from_settings(settings))
        made.values = self._averages(model).values
        return made

    def restore(
        self,
        model: Layer,
        optimizer: Optimizer | None = None,
        pattern: str | Sequence[str] | None = None,
        *,
        average: Average | None = None,
    ) -> None:
        """Write the values into a model, the optimizer's state into one of the same kind, and
        the averages of the weights into an average.

        All stay where they are, and of their scalar types. With a pattern (`"conv*"`) only
        parameters and buffers whose paths match are written. If anything does not fit, nothing
        is changed.
        """
        averages = {} if average is None else self._averages(model).values
        if optimizer is not None and pattern is not None:
            raise SettingsError(
                "restore: an optimizer is restored whole\n  leave out  pattern, or the optimizer"
            )
        pairs = staged(self.file, model, pattern)
        if optimizer is not None:
            kind = self._optimizer_told().get("kind")
            if kind != optimizer.kind:
                here, there = {"kind": optimizer.kind}, {"kind": kind}
                refuse_differences(self.file.path, "the optimizer", here, there)
            trial = copy.copy(optimizer)
            trial.__post_init__()  # a state of its own, on which to see whether the file's fits
            _in_file(self.file, lambda: self._restore_into(trial, model))
            state = trial.tensors()  # masters are of the values that come
        with exchanged(pairs):
            if optimizer is not None:
                optimizer.restore(state, self.updates, model.named_parameters())
        if average is not None:
            average.values = averages
        if pattern is None:  # restored whole, its random streams go on as well
            reseed(model, self.seed)

    def _optimizer_told(self) -> dict[str, Any]:
        if self.optimizer is None:
            raise CheckpointError(
                f"load: {self.file.path}: it holds no optimizer\n"
                "  restore the model alone, or use a checkpoint that was saved with one"
            )
        return self.optimizer

    def _restore_into(self, optimizer: Optimizer, model: Layer) -> None:
        optimizer.restore(self._under(STATE), self.updates, model.named_parameters())

    def _averages(self, model: Layer) -> Average:
        """An average with the file's values."""
        if self.average is None:
            raise CheckpointError(
                f"load: {self.file.path}: it holds no average\n"
                "  leave out  average, or use a checkpoint that was saved with one"
            )
        made = Average()
        _in_file(self.file, lambda: made.restore(self._under(AVERAGE), model.named_parameters()))
        return made

    def _under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin so, by the rest."""
        names = [name for name in self.file.entries if name.startswith(prefix)]
        found = self.file.take(names).items()
        return {name.removeprefix(prefix): Tensor.borrow(each) for name, each in found}

    def compared(
        self,
        model: Layer,
        optimizer: Optimizer | None = None,
        changed: Mapping[str, tuple[Any, Any]] = MappingProxyType({}),
        average: Average | None = None,
    ) -> str:
        """ "exact" where a training of these two that goes on from here ends in the bits of the one
        that was saved; else what differs: threads 4 -> 2. `changed` are the caller's own
        differences, each as it is here and was there."""
        here, there = fingerprint(model.device), dict(self.fingerprint)
        here |= _scalar_types({path: each.dtype for path, each in named_tensors(model).items()})
        entries = self.file.entries.items()
        there |= _scalar_types(
            {name.removeprefix(PREFIX): each.dtype for name, each in entries if name[:6] == PREFIX}
        )
        here["frozen"] = ", ".join(document_of(model).get("frozen", []))
        there["frozen"] = ", ".join(map(str, _typed(self.file, "frozen", list, [])))
        both = {"optimizer": (optimizer, self.optimizer), "average": (average, self.average)}
        for what, (mine, kept) in both.items():
            if mine is not None:
                here |= {f"{what}.{name}": value for name, value in mine.describe().items()}
                there |= {f"{what}.{name}": value for name, value in (kept or {}).items()}
        here |= {name: now for name, (now, _) in changed.items()}
        there |= {name: then for name, (_, then) in changed.items()}
        return compared(here, there)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _scalar_types(dtypes: Mapping[str, Any]) -> dict[str, str]:
    """The scalar type of all tensors, or those of each."""
    told = {path: str(ScalarType(dtype)) for path, dtype in dtypes.items()}
    return told if len(set(told.values())) > 1 else {"scalar type": "".join(set(told.values()))}


def _typed(file: File, name: str, kind: type, default: Any) -> Any:
    value = file.metadata.get(name, default)
    if type(value) is not kind:
        raise CheckpointError(
            f"load: {file.path}: {name} in its metadata is no {kind.__name__}\n"
            f"  file  {type(value).__name__}"
        )
    return value


def _in_file(file: File, make: Any) -> Any:
    """What `make` makes; its errors name the file."""
    try:
        return make()
    except AutographError as error:
        if str(error).startswith("load: "):
            raise
        raise CheckpointError(f"load: {file.path}: {error}") from None
