"""Training by several processes: on hosts over MPI, on CUDA devices over NCCL.

    world = parallel.init()
    for report in ag.fit(model, optimizer, train, test, parallel=world): ...

Start it with what starts MPI programs: `mpiexec -n 4 python train.py`.
"""

from __future__ import annotations

from .joining import init
from .replica import Replica
from .shares import Shares
from .world import World

__all__ = ["Replica", "Shares", "World", "init"]
