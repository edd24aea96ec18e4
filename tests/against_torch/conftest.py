"""How many random cases are compared with PyTorch, and which: `--torch-samples`, `--torch-seed`."""

from __future__ import annotations

import pytest

SAMPLES = 6  # of each op; thousands on request:  pytest tests/against_torch --torch-samples 1000


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("comparison with PyTorch")
    group.addoption("--torch-samples", type=int, default=SAMPLES, help="random cases of each op")
    group.addoption("--torch-seed", type=int, default=0, help="the seed of the random cases")


@pytest.fixture(scope="session")
def torch_samples(pytestconfig: pytest.Config) -> int:
    return int(pytestconfig.getoption("torch_samples", SAMPLES))


@pytest.fixture(scope="session")
def torch_seed(pytestconfig: pytest.Config) -> int:
    return int(pytestconfig.getoption("torch_seed", 0))
