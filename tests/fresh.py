"""A fresh Python, for what only one can show: imports, limits, another environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def printed(code: str, *given: Any, **environment: str) -> str:
    """What a program prints, which has to end well."""
    call = [sys.executable, "-c", code, *map(str, given)]
    env = {**os.environ, **environment}
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
