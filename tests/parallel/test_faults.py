"""A rank that fails ends the job: by itself, in time, with its name, and not with success."""

from __future__ import annotations

import pytest

from .launch import finish, missing, start

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

TIMEOUTS = {"stop": 10, "hang": 10}  # seconds; what needs none is told at once, and has LONG
LONG = 300
PLAIN = {"AUTOGRAPH_JIT": "0"}  # nothing is compiled
SAID = {
    ("kill", 1): "rank 1 with PID",  # by mpiexec
    ("raise", 1): "autograph: rank 1 of 2 (",
    ("stop", 1): "has been silent for",
    ("stop", 0): "has been silent for",
    ("hang", 1): "has not come to an exchange",
    ("exit", 1): "has ended its program, and others wait for it",
    ("freeze", 0): "does something else than rank",
    ("replace", 1): "raised SettingsError: parallel: dense1.weight is not the parameter any more",
}


def test_a_failing_rank_ends_the_job() -> None:
    started = {
        (how, rank): start(2, "tests.parallel.faulty", how, rank, TIMEOUTS.get(how, LONG), **PLAIN)
        for how, rank in SAID
    }
    ended = {each: finish(process) for each, process in started.items()}

    for (how, rank), (code, told) in ended.items():
        assert code not in (0, -1), f"{how} of rank {rank}: {told}"
        assert SAID[how, rank] in told, f"{how} of rank {rank}: {told}"
        assert f"rank {rank} " in told
    assert "raised ValueError: there is something wrong; the job ends" in ended["raise", 1][1]
    frozen = ended["freeze", 0][1]
    assert "rank 0  the parameters that have gradients: conv1.weight has none any more" in frozen
    assert "rank 1  the sum of gradients" in frozen


def test_ranks_that_do_not_fail_end_well() -> None:
    code, told = finish(start(2, "tests.parallel.faulty", "none", 0, LONG, **PLAIN))

    assert code == 0, told
    assert told.count("[    2/10000]") == told.count("done") == 1  # rank 0 alone prints
