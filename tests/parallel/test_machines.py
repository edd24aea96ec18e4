"""Two machines, as network namespaces with names and addresses of their own, train together."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from . import worker
from .launch import ROOT, finish, flags, missing, mpiexec

NAMES = tuple(f"ag{os.getpid()}{end}" for end in "ab")
ADDRESSES = ("10.77.0.1", "10.77.0.2")

# What stands for ssh: [options] host command...
REMOTE = """#!/bin/bash
while [[ "$1" == -* ]]; do case "$1" in -o|-l|-p) shift 2;; *) shift;; esac; done
case "$1" in {first}) name={a};; {second}) name={b};; *) exit 1;; esac
shift
exec ip netns exec $name unshare -u -i bash -c "hostname $name; $*"
"""


def ip(*words: str) -> bool:
    return subprocess.run(["ip", *words], capture_output=True).returncode == 0


@pytest.fixture
def machines() -> Iterator[None]:
    """Two namespaces with a wire between them."""
    if missing() or not flags():
        pytest.skip(missing() or "it is written for Open MPI")
    if os.name != "posix" or shutil.which("ip") is None or not ip("netns", "add", NAMES[0]):
        pytest.skip("network namespaces cannot be made here: they need root and iproute2")
    try:
        ends = [f"v{name}"[:15] for name in NAMES]
        made = ip("netns", "add", NAMES[1])
        made = made and ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for name, end, address in zip(NAMES, ends, ADDRESSES, strict=True):
            made = made and ip("link", "set", end, "netns", name)
            made = made and ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            made = made and ip("-n", name, "link", "set", "lo", "up")
            made = made and ip("-n", name, "link", "set", end, "up")
        if not made:
            pytest.skip("network namespaces cannot be linked here")
        yield
    finally:
        for name in NAMES:
            ip("netns", "del", name)


def test_two_machines_train_together(machines: None, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    remote.write_text(
        REMOTE.format(first=ADDRESSES[0], second=ADDRESSES[1], a=NAMES[0], b=NAMES[1])
    )
    remote.chmod(0o755)
    command = [
        str(mpiexec()), *flags(), "-n", "2", "--host", ",".join(f"{each}:1" for each in ADDRESSES),
        "--prtemca", "plm_ssh_agent", str(remote), "--mca", "btl", "tcp,self",
        "--mca", "btl_tcp_if_include", "10.77.0.0/24", "-x", "PYTHONPATH",
        sys.executable, "-W", "ignore", "-m", "tests.parallel.worker", str(tmp_path), "plain",
    ]  # fmt: skip
    started = subprocess.Popen(
        [
            "ip", "netns", "exec", NAMES[0], "unshare", "-u", "-i", "bash", "-c",
            f'hostname {NAMES[0]}; exec "$@"', "bash", *command,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    code, told = finish(started)

    assert code == 0, told
    first, second = (dict(np.load(tmp_path / f"plain-{rank}.npz")) for rank in (0, 1))
    expected = worker.plain(None, 1, tmp_path)
    for path, each in expected.items():
        if path.startswith("model."):
            np.testing.assert_array_equal(first[path], second[path], err_msg=path)
            np.testing.assert_allclose(first[path], each, rtol=0, atol=1e-6, err_msg=path)
