"""Starting ranks, as people start them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def missing() -> str:
    """Why ranks cannot be started here; "" if they can."""
    if find_spec("mpi4py") is None:
        return "mpi4py is not installed: pip install 'autograph-nn[mpi]'"
    return "" if mpiexec() else "there is no mpiexec: pip install 'autograph-nn[mpi]'"


def mpiexec() -> str | None:
    """The one beside this Python, or on the path."""
    beside = Path(sys.executable).parent / "mpiexec"
    return str(beside) if beside.exists() else shutil.which("mpiexec")


@cache
def flags() -> tuple[str, ...]:
    """What Open MPI needs as root, and for more ranks than processors; others need nothing."""
    told = subprocess.run([str(mpiexec()), "--version"], capture_output=True, text=True).stdout
    return ("--allow-run-as-root", "--oversubscribe") if "Open MPI" in told else ()


def start(
    ranks: int, module: str, *arguments: object, launcher: tuple[str, ...] = (), **environment: str
) -> subprocess.Popen[str]:
    """Ranks of `python -m module`, started by mpiexec."""
    command = [
        str(mpiexec()), *flags(), "-n", str(ranks), *launcher,
        sys.executable, "-W", "ignore", "-m", module, *map(str, arguments),
    ]  # fmt: skip
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "OMPI_MCA_mpi_yield_when_idle": "1", **environment},
    )


def finish(started: subprocess.Popen[str], seconds: float = 550) -> tuple[int, str]:
    """How it ended, and all that it printed."""
    try:
        told, _ = started.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        started.kill()
        told, _ = started.communicate()
        return -1, f"no end after {seconds} s\n{told}"
    return started.returncode, told
