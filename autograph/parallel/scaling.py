"""A model of step time over ranks: computing, and averages of gradients that overlap with it.

An average of n bytes over N ranks takes as many messages as a ring does, 2 (N - 1), and moves each
byte 2 (N - 1) / N times. Over several machines it is one among the ranks of each machine and one
between machines, of a part a rank. Gradients come evenly over backward; they leave in buckets,
each after the one before it, and take something from backward while they are on their way. What is
measured goes in; see docs/how_to/scaling.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .buckets import LAST, MESSAGE


@dataclass(frozen=True)
class Link:
    """What ranks are linked by: seconds of a message, and bytes a second of a rank."""

    latency: float
    bandwidth: float

    def average(self, nbytes: float, ranks: int) -> float:
        """Seconds to average this much over so many ranks.

        >>> Link(latency=1e-6, bandwidth=1e9).average(1e6, ranks=2)
        0.001002
        """
        return 2 * (ranks - 1) * (self.latency + nbytes / (ranks * self.bandwidth))


@dataclass(frozen=True)
class Job:
    """A training step of one rank, and the machines that it is spread over."""

    compute: float  # seconds of forward, backward and update, alone
    nbytes: float  # of gradients, as they are sent
    near: Link  # between ranks of a machine
    far: Link  # between machines
    ranks_a_machine: int = 8
    bucket_bytes: float = 64 << 20  # at most
    last_bytes: float = LAST  # of the bucket that leaves last; each may have twice that after it
    contention: float = 0.0  # seconds that backward loses for each second of averages beside it
    overhead: float = 0.0  # seconds that a step of several ranks takes beside: packing, launches
    backward: float = 2 / 3  # the part of the step in which gradients come

    def average(self, nbytes: float, ranks: int) -> float:
        """Seconds to average a bucket."""
        near = min(ranks, self.ranks_a_machine)
        machines = -(-ranks // self.ranks_a_machine)
        far = self.far.average(nbytes / near, machines) if machines > 1 else 0.0
        return self.near.average(nbytes, near) + far

    def step(self, ranks: int) -> float:
        """Seconds of a step."""
        if ranks == 1:
            return self.compute
        buckets = self.buckets(ranks)
        averages = [self.average(each, ranks) for each in buckets]
        compute = self.compute + self.contention * sum(averages[:-1])
        spread, come = compute * self.backward, 0.0
        free = 0.0  # when the link has nothing to do
        for each, took in zip(buckets, averages, strict=True):
            come += each / self.nbytes
            free = max(free, compute - spread * (1 - come)) + took
        return free + self.overhead

    def buckets(self, ranks: int) -> list[float]:
        """Bytes of the buckets, in the order in which they leave."""
        last = max(self.last_bytes, MESSAGE * ranks)
        found, left, most = [], self.nbytes, min(last, self.bucket_bytes)
        while left > 0:
            found.append(min(left, most))
            left, most = left - found[-1], min(2 * most, self.bucket_bytes)
        return found[::-1]

    def efficiency(self, ranks: int) -> float:
        """Samples a second of a rank, of those of one that works alone."""
        return self.compute / self.step(ranks)


def limits(job: Job, most: int = 65536) -> Iterator[tuple[int, float, float, str]]:
    """(Ranks, seconds of a step, efficiency, what it waits for) for 1, 2, 4, ... ranks."""
    ranks = 1
    while ranks <= most:
        step = job.step(ranks)
        yield ranks, step, job.efficiency(ranks), _waits(job, ranks, step)
        ranks *= 2


def _waits(job: Job, ranks: int, step: float) -> str:
    """What takes most of the time that is lost."""
    lost = step - job.compute
    if lost < 0.02 * job.compute:
        return ""
    if job.overhead > lost / 2:
        return "launches and packing"
    machines = -(-ranks // job.ranks_a_machine)
    near, far = min(ranks, job.ranks_a_machine), machines
    messages = 2 * (near - 1) * job.near.latency + 2 * (far - 1) * job.far.latency
    buckets = job.buckets(ranks)
    whole = sum(job.average(each, ranks) for each in buckets)
    return "messages" if len(buckets) * messages > whole / 2 else "bytes"
