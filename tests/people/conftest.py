"""A small declared model in a file of its own, as users have one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

SOURCE = '''"""A model of points in the plane."""

from autograph.layers import Dense, Layer, Relu, sequential


@sequential(input=(2,))
class Points(Layer):
    """Points (N, 2) -> class scores (N, 2)."""

    dense1: Dense = Dense.builder(outputs=8, bias=True)
    relu1: Relu
    dense2: Dense = Dense.builder(outputs=2, bias=True)
'''


@pytest.fixture
def points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The place of the class, as the command line takes it; the folder is the current one."""
    (tmp_path / "points_model.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "points_model", raising=False)
    return "points_model.py:Points"
