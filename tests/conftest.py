"""What all tests share: where compiled kernels are kept, what runs on a device, and the names that
doctests know."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Kernels that are compiled for tests stay between test processes, apart from the user's own.
CACHE = Path(tempfile.gettempdir()) / f"autograph-tests-{getattr(os, 'getuid', int)()}"
os.environ.setdefault("AUTOGRAPH_CACHE", str(CACHE))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Doctests(), "autograph-doctests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `device` are skipped where there is none, and say so."""
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
