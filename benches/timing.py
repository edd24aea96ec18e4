"""Honest timing: each contender is a process of its own, and they run block by block, in turn.

A block is a quarter of a second of runs, after a pause in which the threads of the others park.
So a machine that is busy at times is busy for all, and ratios within one race hold. Variables that
halve NumPy's speed are cleared. `python -m benches.timing TARGET SETTINGS` is a contender.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

CLEARED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
WARM = 0.5  # seconds of runs before the first that counts
PAUSE = 0.05  # seconds before each block
PACKAGES = ("numpy", "llvmlite", "torch", "jax")

Run = Callable[[], Any]


@dataclass(frozen=True)
class Contender:
    """One way to do the work: `target` is "module:function", which makes what is run."""

    name: str
    target: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Times:
    """What the runs of one contender took, in seconds of one step."""

    times: tuple[float, ...]
    peak: float  # MiB of the process
    added: float = 0.0  # MiB of them that its runs took
    error: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.times) if self.times else float("nan")

    @property
    def p10(self) -> float:
        """A tenth of the runs are faster than this."""
        return sorted(self.times)[len(self.times) // 10] if self.times else float("nan")


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a process that is timed."""
    kept = {name: value for name, value in os.environ.items() if name not in CLEARED}
    return {**kept, **(changes or {})}


def race(
    contenders: Sequence[Contender], *, rounds: int = 12, seconds: float = 0.25
) -> dict[str, dict[str, Times]]:
    """The times of every contender's runs, by its name and theirs ("" where it has but one)."""
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(each)) for each in contenders]
        for worker in workers:
            worker.warm()
        for _ in range(rounds):
            for worker in workers:
                worker.block(seconds)
        return {worker.contender.name: worker.results() for worker in workers}


class Worker:
    """The process of a contender, seen from here."""

    def __init__(self, contender: Contender, process: subprocess.Popen[str], errors: Any) -> None:
        self.contender, self.process, self.errors = contender, process, errors
        self.times: dict[str, list[float]] = {}
        self.error = ""

    def ask(self, request: Any) -> Any:
        """The answer to a request; None once the process has failed."""
        if self.error:
            return None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if answer:
            return json.loads(answer)
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        told = [line for line in lines if "Error" in line.partition(":")[0]]
        self.error = (told or lines or ["the process ended"])[-1]
        return None

    def warm(self) -> None:
        names = self.ask("names") or []
        self.times = {name: [] for name in names}
        for name in names:
            self.ask([name, WARM / len(names)])

    def block(self, seconds: float) -> None:
        for name, times in self.times.items():
            sleep(PAUSE / len(self.times))
            times += self.ask([name, seconds / len(self.times)]) or []

    def results(self) -> dict[str, Times]:
        memory = self.ask("peak") or (0.0, 0.0)
        found = {name: Times(tuple(each), *memory) for name, each in self.times.items()}
        return {"": Times((), *memory, self.error)} if self.error else found


@contextmanager
def _worker(contender: Contender) -> Iterator[Worker]:
    command = [sys.executable, "-m", __spec__.name, contender.target]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [*command, json.dumps(dict(contender.settings))],
            env=environment(contender.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield Worker(contender, process, errors)
        finally:
            process.kill()
            process.communicate()


# -- the contender's side ----------------------------------------------------------------


def serve(target: str, settings: dict[str, Any]) -> None:
    """Answer requests: the names of the runs, a block of one, the peak of memory."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what frameworks print is no answer
    module, _, name = target.partition(":")
    made = getattr(importlib.import_module(module), name)(**settings)
    runs: dict[str, tuple[Run, int]] = {
        name: run if isinstance(run, tuple) else (run, 1)
        for name, run in (made if isinstance(made, dict) else {"": made}).items()
    }
    before = from_here()
    for line in sys.stdin:
        request = json.loads(line)
        if request == "names":
            answer: Any = list(runs)
        elif request == "peak":
            answer = [peak(), peak() - before]
        else:
            answer = block(*runs[request[0]], request[1])
        answers.write(json.dumps(answer) + "\n")


def from_here() -> float:
    """MiB in memory, from which on the peak is a new one where the system can do that."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:
        return peak()


def peak() -> float:
    """MiB that this process had in memory at most."""
    try:
        return _status("VmHWM")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def block(run: Run, steps: int, seconds: float) -> list[float]:
    """Times of one step each, from runs of `steps` steps, for about so long."""
    run()
    times: list[float] = []
    end = perf_counter() + seconds
    while not times or perf_counter() < end:
        start = perf_counter()
        run()
        times.append((perf_counter() - start) / steps)
    return times


def versions() -> dict[str, str]:
    """Of Python and of what the benches use."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(sys.argv[2]))
