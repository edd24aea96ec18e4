"""A file that is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from autograph.files import write

from .written import ARRAYS


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.safetensors"
    write(path, ARRAYS, {"model": {"kind": "Test", "rate": 0.1}})
    return path
