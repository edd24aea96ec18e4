"""Batches made ahead in the background, for data that do not fit into memory or onto the device."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..backends import limit, using
from ..device import HOST, Device
from ..errors import DataError
from .dataset import Batch, Dataset

T = TypeVar("T")

END = object()


def ahead(source: Iterator[T], count: int = 2) -> Iterator[T]:
    """What an iterator yields, up to `count` of it made before they are asked for, by a thread.

    Errors of the source are raised here; leaving early ends the thread.

    >>> list(ahead(iter([1, 2, 3])))
    [1, 2, 3]
    """
    if count < 1:
        raise DataError(f"ahead: count is {count}\n  write 1 or more")
    ready: queue.Queue[Any] = queue.Queue(count)
    ended = threading.Event()
    backends = limit()

    def put(item: Any) -> bool:
        while not ended.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            with nullcontext() if backends is None else using(*backends):
                if all(map(put, source)):
                    put(END)
        except BaseException as error:
            put(_Failed(error))

    thread = threading.Thread(target=work, name="autograph-prefetch", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not END:
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        ended.set()
        thread.join()


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


@dataclass(frozen=True, eq=False)
class Prefetched(Dataset):
    """A data set whose batches another one makes in the background, from arrays that are never
    moved to a device as a whole. They may be memory maps, of files larger than memory."""

    source: Dataset = field(kw_only=True)
    count: int = 2

    def order(self, seed: int, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return self.source.order(seed, epoch)

    def batches(self, size: int, **settings: Any) -> Iterator[Batch]:
        self.source._placed[Device(settings.get("device", HOST))] = None  # it is not to live there
        return ahead(self.source.batches(size, **settings), self.count)

    def part(self, places: np.ndarray[Any, Any]) -> Dataset:
        return prefetched(self.source.part(places), self.count)

    def hash(self) -> str:
        return self.source.hash()

    def _on(self, device: Device) -> Any:
        return None


def prefetched(data: Dataset, count: int = 2) -> Prefetched:
    """A data set whose batches are made in the background, up to `count` ahead, transforms and all.

    >>> data = Dataset(np.zeros((5, 3), np.float32), np.arange(5))
    >>> [len(batch.targets) for batch in prefetched(data).batches(2)]
    [2, 2, 1]
    """
    source = data.source if isinstance(data, Prefetched) else replace(data)
    return Prefetched(data.inputs, data.targets, data.scale, source=source, count=count)


def mapped(inputs: str | Path, targets: str | Path, scale: float | None = None) -> Prefetched:
    """Two .npy files as a data set that is read as it is needed; none of it is kept in memory."""
    arrays = []
    for path in (inputs, targets):
        try:
            arrays.append(np.lib.format.open_memmap(path, mode="r"))
        except ValueError as error:
            raise DataError(f"mapped: {path} is no .npy file ({error})") from None
    return prefetched(Dataset(arrays[0], arrays[1], scale))
