"""What all tests share: where compiled kernels are kept, what runs on a device, and the names that
doctests know."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

with suppress(ImportError):  # the same examples each time, however slow the machine
    from hypothesis import HealthCheck, settings

    slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    settings.register_profile(
        "autograph", deadline=None, derandomize=True, database=None, suppress_health_check=slow
    )
    settings.load_profile("autograph")

# Kernels that are compiled for tests stay between test processes, apart from the user's own.
CACHE = Path(tempfile.gettempdir()) / f"autograph-tests-{getattr(os, 'getuid', int)()}"
os.environ.setdefault("AUTOGRAPH_CACHE", str(CACHE))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Doctests(), "autograph-doctests")


STATES: dict[np.random.Generator, Any] = {}


def generators(item: pytest.Item) -> list[np.random.Generator]:
    """Those that the tests of a module share."""
    names = vars(getattr(item, "module", None) or pytest)
    return [each for each in names.values() if isinstance(each, np.random.Generator)]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test draws the same numbers whichever tests ran before it."""
    for each in generators(item):
        each.bit_generator.state = STATES[each]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `device` are skipped where there is none, and say so."""
    STATES.update({each: each.bit_generator.state for item in items for each in generators(item)})
    marked = [item for item in items if item.get_closest_marker("device")]
    if marked and (reason := without_a_device()):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(params=["host", pytest.param("cuda", marks=pytest.mark.device)])
def device(request: pytest.FixtureRequest) -> str:
    """The host, and the device where there is one."""
    return str(request.param)


def without_a_device() -> str:
    """Why no CUDA device can be used; empty where one can."""
    from autograph.device import Device
    from autograph.errors import DeviceError

    try:
        Device.cuda(0).platform.check(0)
    except DeviceError as error:
        return str(error).splitlines()[0]
    return ""


class Doctests:
    """A plugin, because the doctests of `autograph/` lie outside of this folder."""

    @pytest.fixture(autouse=True)
    def names(self, doctest_namespace: dict[str, Any]) -> None:
        """The names that a reader of the documentation has imported."""
        import autograph
        from autograph import layers

        doctest_namespace |= {"ag": autograph, "np": np}
        for name in ("Tensor", "arange", "grad", "no_grad", "ops", "using"):
            doctest_namespace[name] = getattr(autograph, name)
        for name in layers.__all__:
            doctest_namespace[name] = getattr(layers, name)
