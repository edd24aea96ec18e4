"""Ops called with inputs that do not fit refuse them, or answer what their outlines say."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .fresh import ROOT


@pytest.mark.skipif(sys.platform != "linux", reason="other systems protect pages otherwise")
def test_inputs_that_do_not_fit_do_no_harm() -> None:
    call = [sys.executable, "-m", "tests.misfits"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT, check=False)
    last = done.stdout[-300:].splitlines()[-1:]

    assert done.returncode == 0, f"{last}\n{done.stderr}"
    assert [] == [line for line in done.stdout.splitlines() if line.startswith("wrong")]
