"""Data sets, and the batches drawn from them by a keyed order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..device import HOST, Device
from ..errors import DataError, SettingsError
from ..philox import permutation, stream
from ..scalar_type import ScalarType
from ..tensor import Tensor, no_grad

SHARE = 0.5  # of a device's free memory, that a data set may take to live there


class Batch(NamedTuple):
    """Some samples: inputs (N, ...) and targets (N, ...)."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples in memory: inputs (N, ...) and targets (N, ...).

    Floats, and integers where `scale` is given, become the model's scalar type in a batch,
    times `scale`: `Dataset(images, labels, scale=1 / 255)`. Other integers stay what they are.
    On a device the whole set is moved there once, if it fits, and batches are gathered there.

    >>> data = Dataset(np.zeros((5, 3), np.float32), np.arange(5))
    >>> [batch.targets.tolist() for batch in data.batches(2)]
    [[0, 1], [2, 3], [4]]
    """

    inputs: np.ndarray[Any, Any]
    targets: np.ndarray[Any, Any]
    scale: float | None = None
    _placed: dict[Device, tuple[Tensor, Tensor] | None] = field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        for name in ("inputs", "targets"):
            array = np.ascontiguousarray(getattr(self, name))
            if array.dtype.kind in "OSUMm":
                raise DataError(
                    f"Dataset: {name} are {array.dtype}, and not numbers\n"
                    f"  write  np.unique(labels, return_inverse=True)[1]  for classes of words"
                )
            object.__setattr__(self, name, array)
        if len(self.inputs) != len(self.targets):
            raise DataError(
                f"Dataset: inputs and targets are not of one length\n"
                f"  inputs   {self.inputs.shape}\n  targets  {self.targets.shape}"
            )
        if not len(self.inputs):
            raise DataError("Dataset: there are no samples\n  give at least one")

    def __len__(self) -> int:
        return len(self.inputs)

    def order(self, seed: int, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The order of an epoch, a function of its key alone: any place is reached at once."""
        return permutation(stream(seed, "shuffle", epoch), len(self))

    def batches(
        self,
        size: int,
        *,
        device: Device | str = HOST,
        scalar_type: ScalarType | str = ScalarType.F32,
        order: np.ndarray[Any, Any] | None = None,
        start: int = 0,
    ) -> Iterator[Batch]:
        """Batches of `size` from batch number `start` on, as they stand or in an `order`; the
        last may be smaller."""
        if size < 1:
            raise SettingsError(f"batches: size is {size}\n  write 1 or more")
        device, scalar_type = Device(device), ScalarType(scalar_type)
        resident = self._on(device)
        if order is None:
            order = np.arange(len(self))
        places = Tensor.borrow(order).to(device)
        for first in range(start * size, len(order), size):
            part = places[first : first + size]
            if resident is None:
                yield self._moved(order[first : first + size], device, scalar_type)
            else:
                yield self.take(part, scalar_type)

    def lives_on(self, device: Device) -> bool:
        """Whether the whole set is, or fits and now is, on a device."""
        return self._on(device) is not None

    def take(self, places: Tensor, scalar_type: ScalarType) -> Batch:
        """The samples at some places, gathered on the device where the places and the set live."""
        resident = self._on(places.device)
        assert resident is not None, f"the set does not fit on {places.device}"
        inputs, targets = resident
        return Batch(self._gathered(inputs, places, scalar_type), ops.gather_rows(targets, places))

    def part(self, places: np.ndarray[Any, Any]) -> Dataset:
        """The samples at some places, or under a mask (N,), as a data set of this kind."""
        return replace(self, inputs=self.inputs[places], targets=self.targets[places])

    def hash(self) -> str:
        """A digest of all samples: another one is another data set."""
        digest = sha256(repr((self.inputs.shape, self.targets.shape, self.scale)).encode())
        for array in (self.inputs, self.targets):
            digest.update(str(array.dtype).encode())
            digest.update(array.reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    def _on(self, device: Device) -> tuple[Tensor, Tensor] | None:
        """The whole set on a device; None if it does not fit there."""
        if device not in self._placed:
            size = self.inputs.nbytes + self.targets.nbytes
            self._placed[device] = None
            if device.is_host or size <= SHARE * device.memory()[0]:
                both = Tensor.borrow(self.inputs).to(device), Tensor.borrow(self.targets).to(device)
                self._placed[device] = both
        return self._placed[device]

    def _gathered(self, inputs: Tensor, part: Tensor, scalar_type: ScalarType) -> Tensor:
        becomes = inputs.scalar_type.is_float or self.scale is not None
        return ops.gather_rows(
            inputs, part, scalar_type=scalar_type if becomes else None, scale=self.scale
        )

    def _moved(
        self, chosen: np.ndarray[Any, Any], device: Device, scalar_type: ScalarType
    ) -> Batch:
        """A batch gathered on the host and moved as it is stored; cast there."""
        every = Tensor.borrow(np.arange(len(chosen))).to(device)
        inputs = Tensor.borrow(self.inputs[chosen]).to(device)
        return Batch(
            self._gathered(inputs, every, scalar_type),
            Tensor.borrow(self.targets[chosen]).to(device),
        )


def as_dataset(data: Dataset | tuple[Any, Any]) -> Dataset:
    """A data set from itself, or from (inputs, targets)."""
    if isinstance(data, Dataset):
        return data
    if isinstance(data, tuple) and len(data) == 2:
        return Dataset(np.asarray(data[0]), np.asarray(data[1]))
    raise DataError(
        f"fit: a {type(data).__name__} is not a data set\n"
        f"  write  Dataset(inputs, targets)  or  (inputs, targets)"
    )


class Feed:
    """The batches of `data.batches`, for a step that is captured: what changes from one to the
    next is in arrays, so that a replay draws on.

    >>> feed = Feed(Dataset(np.zeros((5, 3), np.float32), np.arange(5)), 2, Device("host"), "f32")
    >>> feed.start(np.array([4, 3, 2, 1, 0]))
    >>> [feed.draw(size).targets.tolist() for size in feed.sizes]
    [[4, 3], [2, 1], [0]]
    """

    def __init__(
        self, data: Dataset, size: int, device: Device, scalar_type: ScalarType | str
    ) -> None:
        self.data, self.scalar_type = data, ScalarType(scalar_type)
        whole, rest = divmod(len(data), size)
        self.sizes = [size] * whole + [rest] * (rest > 0)
        self._order = Tensor(np.arange(len(data)), device=device)
        self._window = Tensor(np.arange(self.sizes[0]), device=device)
        self._first = Tensor(np.arange(self.sizes[0]), device=device)

    def start(self, order: np.ndarray[Any, Any] | None = None, batch: int = 0) -> None:
        """Begin again, at a batch, in another order if one is given."""
        if order is not None:
            self._order[...] = Tensor.borrow(order).to(self._order.device)
        self._window[...] = self._first
        if batch:
            ops.accumulate(self._window, batch * self.sizes[0])

    def draw(self, size: int) -> Batch:
        """The next `size` samples, one of `sizes`."""
        with no_grad():
            window = self._window if size == self._window.size else self._window[:size]
            batch = self.data.take(ops.gather_rows(self._order, window), self.scalar_type)
            ops.accumulate(self._window, size)
        return batch
