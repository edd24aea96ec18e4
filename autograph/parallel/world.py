"""World: the processes of a job: which of them this is, and what they do together.

What they tell each other here is small: numbers, flags, JSON. Gradients go through `host.py` and
`nccl.py`. A world of one process needs no MPI.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..device import Device
from ..errors import SettingsError
from ..tensor import Tensor, no_grad

if TYPE_CHECKING:
    from ..layers import Layer
    from ..optim import Optimizer
    from .host import Bucket, Parts
    from .watchdog import Watchdog

Wire = Literal["f32", "bf16"]


@dataclass(frozen=True)
class Options:
    """How ranks work together, as `init` takes it."""

    timeout: float = 300.0
    gradients: Wire = "f32"
    bucket_bytes: int = 64 << 20
    sync_batch_norm: bool = False
    shard_optimizer: bool = False

    def __post_init__(self) -> None:
        right = (
            isinstance(self.timeout, int | float)
            and self.timeout > 0
            and isinstance(self.bucket_bytes, int)
            and self.bucket_bytes > 0
            and self.gradients in ("f32", "bf16")
            and {self.sync_batch_norm, self.shard_optimizer} <= {True, False}
        )
        if not right:
            raise SettingsError(
                f"parallel.init: timeout and bucket_bytes are positive numbers, gradients f32 or "
                f"bf16, the others true or false\n  given  {self}"
            )


class World:
    """The processes of a job, as `parallel.init()` finds them.

    >>> from autograph import parallel
    >>> world = parallel.init(device="host")
    >>> world.rank, world.size, world.is_first
    (0, 1, True)
    """

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        *,
        device: Device,
        local_rank: int = 0,
        local_size: int = 1,
        options: Options | None = None,
        comm: Any = None,
    ) -> None:
        self.rank, self.size, self.device = rank, size, device
        self.local_rank, self.local_size = local_rank, local_size
        self.options = Options() if options is None else options
        self.watchdog: Watchdog | None = None
        self._comm = comm
        self._lanes: dict[Any, Any] = {}
        self.rehearses = False

    @contextmanager
    def rehearsing(self) -> Iterator[None]:
        """Within the block no rank waits for another: what is done is undone afterwards."""
        self.rehearses = True
        try:
            yield
        finally:
            self.rehearses = False

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, the one that prints and writes."""
        return self.rank == 0

    def print(self, *values: object) -> None:
        """Print, on rank 0 alone."""
        if self.is_first:
            print(*values, flush=True)

    def __repr__(self) -> str:
        return f"World(rank {self.rank} of {self.size} on {self.device})"

    # -- telling each other ----------------------------------------------------------------

    def enter(self, what: str, why: str = "") -> Any:
        """The communicator, for what every rank takes part in: whoever does not come, or is at
        something else, is named by the others. `why` is this rank's own reason."""
        if self.watchdog is not None:
            self.watchdog.enter(what, why)
        return self._comm

    def barrier(self) -> None:
        """Wait for every rank."""
        if self.size > 1:
            self.enter("barrier").Barrier()

    def gather(
        self, numbers: np.ndarray[Any, Any], what: str = "sum", why: str = ""
    ) -> np.ndarray[Any, Any]:
        """The arrays of all ranks, (ranks, ...), which are of one shape and type."""
        mine = np.ascontiguousarray(numbers)
        every = np.empty((self.size, *mine.shape), mine.dtype)
        if self.size == 1:
            every[0] = mine
            return every
        given, got = (each.reshape(-1).view(np.uint8) for each in (mine, every))
        self.enter(what, why).Allgather(given, got)
        return every

    def sum(self, *numbers: float) -> tuple[float, ...]:
        """Sums over the ranks, added in their order, the same everywhere."""
        every = self.gather(np.array(numbers, np.float64), "sums")
        total = every[0].copy()
        for each in every[1:]:
            total += each
        return tuple(total.tolist())

    def any(self, flag: bool, what: str = "an agreement") -> bool:
        """Whether any rank says so."""
        return flag if self.size == 1 else bool(self.gather(np.array([flag]), what).any())

    def tell(self, value: Any) -> Any:
        """What rank 0 says, a JSON value, on every rank."""
        if self.size == 1:
            return value
        said = json.dumps(value).encode() if self.is_first else b""
        comm, length = self.enter("what rank 0 says"), np.array([len(said)], np.int64)
        comm.Bcast(length)
        room = np.frombuffer(bytearray(said or bytes(int(length[0]))), np.uint8)
        comm.Bcast(room)
        return json.loads(room.tobytes())

    def texts(self, text: str, what: str = "texts", why: str = "") -> list[str]:
        """What each rank says, by rank."""
        said = text.encode()
        longest = int(self.gather(np.array([len(said)], np.int64), what, why).max())
        every = self.gather(np.frombuffer(said.ljust(longest, b"\0"), np.uint8), what, why)
        return [each.tobytes().rstrip(b"\0").decode() for each in every]

    # -- tensors -----------------------------------------------------------------------------

    def broadcast(self, tensors: Mapping[str, Tensor]) -> None:
        """Give tensors, which are alike on every rank, the values of rank 0."""
        if self.size == 1:
            return
        comm = self.enter("broadcast")
        with no_grad():
            for each in tensors.values():
                values = np.array(each.numpy(), order="C")
                comm.Bcast(values.reshape(-1).view(np.uint8))
                if not self.is_first:
                    each[...] = Tensor.borrow(values).to(each.device)

    def check_same(self, tensors: Mapping[str, Tensor], what: str) -> None:
        """Refuse tensors that do not have the same bits on every rank."""
        if self.size == 1:
            return
        digests = {}
        for path, each in tensors.items():
            values = np.ascontiguousarray(each.numpy()).reshape(-1).view(np.uint8)
            digests[path] = blake2b(values.data, digest_size=12).hexdigest()
        self.refuse_differences(what, str(digests))

    def refuse_differences(self, what: str, text: str, why: str = "") -> None:
        """Refuse what is not the same on every rank."""
        every = self.texts(text, what, why)
        other = [rank for rank, each in enumerate(every) if each != every[0]]
        if other:
            theirs, ours = every[other[0]], every[0]
            same = takewhile(lambda pair: pair[0] == pair[1], zip(theirs, ours, strict=False))
            at = max(0, len(list(same)) - 40)
            raise SettingsError(
                f"parallel: {what} is another on rank {', '.join(map(str, other))} than on rank 0\n"
                f"  rank {other[0]}  {theirs[at : at + 80]}\n  rank 0  {ours[at : at + 80]}\n"
                f"  run the same program with the same settings on every rank"
            )

    def bucket(
        self,
        size: int,
        device: Device,
        dtype: np.dtype[Any],
        *,
        lane: str,
        average: bool,
        parts: bool = False,
    ) -> Bucket:
        """Memory through which `size` numbers of every rank are added up, or averaged; in parts
        each rank gets as many of the sums as any other. What goes by one lane is in order; lanes
        do not wait for each other."""
        from .host import Bucket, HostBucket

        if self.size == 1:
            return Bucket(size, device, dtype)
        ranks = self._lane(lane, device)
        if device.kind != "cuda":
            return HostBucket(self, ranks, size, dtype, average, parts)
        from .nccl import DeviceBucket

        return DeviceBucket(self, ranks, size, device, dtype, average, parts)

    def parts(
        self,
        pieces: Sequence[Sequence[tuple[int, int, int]]],
        device: Device,
        dtype: np.dtype[Any],
    ) -> Parts:
        """Arrays of which each rank has some numbers, and gives them to the others."""
        from .host import HostParts

        ranks = self._lane("parts", device)
        if device.kind != "cuda":
            return HostParts(self, ranks, pieces, dtype)
        from .nccl import DeviceParts

        return DeviceParts(self, ranks, pieces, device, dtype)

    def _lane(self, name: str, device: Device) -> Any:
        """A communicator of MPI or, for a CUDA device, of NCCL."""
        key = name, device if device.kind == "cuda" else None
        if key not in self._lanes:
            own = self._comm.Dup()
            if device.kind == "cuda":
                from .nccl import Communicator

                own = Communicator(own, device)
            self._lanes[key] = own
        return self._lanes[key]

    # -- in one's own loop -------------------------------------------------------------------

    def save(
        self,
        path: str | Path,
        model: Layer,
        optimizer: Optimizer | None = None,
        progress: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a checkpoint, on rank 0, that any number of ranks goes on from; all have to ask."""
        from ..checkpoint import STATE, Snapshot, training_arrays, training_document

        sharded = getattr(optimizer, "sharded", None)
        arrays = training_arrays(model, None if sharded is not None else optimizer)
        if sharded is not None:
            arrays |= {f"{STATE}{name}": each for name, each in sharded.whole().items()}
        if self.is_first:
            Snapshot(arrays, training_document(model, optimizer, progress)).write(path)

    def replica(self, model: Layer, optimizer: Optimizer | None = None) -> Any:
        """A model as this rank's copy of one that all train: see `Replica`."""
        from .replica import Replica

        return Replica(self, model, optimizer)


def say(text: str) -> None:
    """One line to the terminal, whole also where several processes write there."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
