"""Runs that several tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from .trainings import training


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    run = tmp_path_factory.mktemp("whole") / "run"
    list(training(run))
    return run


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A run that was left after its first epoch."""
    next(training(tmp_path))
    return tmp_path
