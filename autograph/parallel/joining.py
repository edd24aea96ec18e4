"""Joining a job: who started this process, as which rank of how many, and on which device."""

from __future__ import annotations

import os
import sys
from typing import Any

from ..device import HOST, Device
from ..errors import DeviceError, SettingsError
from ..fingerprint import fingerprint
from .world import Options, Wire, World

# What launchers put into the environment: how many processes they started. Open MPI, MPICH and
# Intel MPI, MVAPICH, Slurm.
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_NTASKS")
SOFTWARE = ("autograph", "numpy", "ml_dtypes", "llvmlite", "backends")  # alike on every rank
LAUNCHED = ("SLURM_STEP_ID",)  # a batch script of Slurm has a number of tasks, and is none of them

_joined: World | None = None


def init(
    device: Device | str | None = None,
    *,
    timeout: float = 300.0,
    gradients: Wire = "f32",
    bucket_bytes: int = 64 << 20,
    sync_batch_norm: bool = False,
    shard_optimizer: bool = False,
) -> World:
    """Join the job that this process was started in; alone, a world of one.

    `device` is "host", or "cuda" for the device of this process's number on its machine; by
    default CUDA where there is any. A rank that has not come along for `timeout` seconds ends the
    job. `gradients="bf16"` sends half as much, rounded; buckets of `bucket_bytes` are on their way
    while backward still runs. `sync_batch_norm` standardises by the batch of all ranks;
    `shard_optimizer` keeps a slice of the optimizer's state on each.
    """
    global _joined
    options = Options(timeout, gradients, bucket_bytes, sync_batch_norm, shard_optimizer)
    if _joined is not None and _joined.size > 1:
        wanted = _device_of(device, _joined.local_rank, _joined.local_size)
        if (options, wanted) != (_joined.options, _joined.device):
            raise SettingsError(
                f"parallel.init: this process has joined with other settings\n"
                f"  then  {_joined.options} {_joined.device}\n  now   {options} {wanted}"
            )
        return _joined
    comm = _communicator()
    if comm is None or comm.size == 1:
        _joined = World(device=_device_of(device, 0, 1), options=options)
        return _joined
    from .watchdog import Watchdog

    MPI = sys.modules["mpi4py.MPI"]
    own: Any = comm.Dup()
    near = own.Split_type(MPI.COMM_TYPE_SHARED)
    local = near.rank, near.size
    world = World(
        own.rank,
        own.size,
        device=_device_of(device, *local),
        local_rank=local[0],
        local_size=local[1],
        options=options,
        comm=own,
    )
    _share_processors(world, near)
    near.Free()
    world.watchdog = Watchdog(comm.Dup(), options.timeout)
    world.watchdog.start()
    world.refuse_differences("parallel.init", f"{options} {world.device.kind}")
    software = fingerprint(world.device)
    told = {name: software.get(name, "") for name in SOFTWARE}
    world.refuse_differences("the software", str(told))
    _joined = world
    return world


def _communicator() -> Any:
    """MPI's, where a launcher has started this process; None where it runs alone."""
    told = [(name, os.environ[name]) for name in SIZES if name in os.environ]
    sizes = [
        (name, int(value))
        for name, value in told
        if value.isdecimal() and (name != "SLURM_NTASKS" or any(map(os.environ.get, LAUNCHED)))
    ]
    known = sys.modules.get("mpi4py.MPI")
    if known is None and not sizes:
        return None
    os.environ.setdefault("OMPI_MCA_osc", "^ucx")  # it complains of itself where it is not used
    try:
        from mpi4py import MPI
    except ImportError as error:
        if all(size == 1 for _, size in sizes):
            return None
        name, size = sizes[0]
        raise SettingsError(
            f"parallel.init: this process was started as one of {size} ({name}), and mpi4py "
            f"cannot be imported\n  {error}\n  pip install 'autograph-nn[mpi]'"
        ) from None
    for name, size in sizes:
        if name != "SLURM_NTASKS" and size > 1 and MPI.COMM_WORLD.size == 1:
            raise SettingsError(
                f"parallel.init: {name} says {size} processes, and MPI knows of one\n"
                f"  MPI  {MPI.Get_library_version().splitlines()[0][:60]}\n"
                f"  start it with the mpiexec of that MPI: python -m mpi4py --mpi-lib-version"
            )
    return MPI.COMM_WORLD


def _device_of(wanted: Device | str | None, local_rank: int, local_size: int) -> Device:
    """The device of a rank: of several of one kind, that of its number on the machine."""
    if wanted is None:
        cuda = sum(each.kind == "cuda" for each in Device.available())
        wanted = "cuda" if cuda else HOST
    if isinstance(wanted, Device) or ":" in wanted or Device(wanted).is_host or local_size == 1:
        found = Device(wanted)
        if local_size > 1 and not found.is_host:
            raise DeviceError(
                f"parallel.init: {local_size} ranks of a machine cannot share {found}\n"
                f"  write  device='{found.kind}', which gives each rank its own"
            )
        return found
    kind = Device(wanted).kind
    count = sum(each.kind == kind for each in Device.available())
    if count < local_size:
        raise DeviceError(
            f"parallel.init: there are fewer devices than ranks on this machine\n"
            f"  {kind} devices  {count}\n  ranks         {local_size}\n"
            f"  start as many ranks as devices, or write  device='host'"
        )
    return Device(f"{kind}:{local_rank}")


def _share_processors(world: World, near: Any) -> None:
    """Give each rank of a machine as many threads as there are processors for it, unless
    $AUTOGRAPH_THREADS says how many."""
    if "AUTOGRAPH_THREADS" in os.environ or not hasattr(os, "sched_getaffinity"):
        return
    mine = sorted(os.sched_getaffinity(0))
    every = near.allgather(mine)
    union = {each for some in every for each in some}
    threads = max(1, min(len(mine), len(union) // world.local_size))
    os.environ["AUTOGRAPH_THREADS"] = str(threads)
    from ..backends.host.pool import set_num_threads

    set_num_threads(threads)
