"""Fingerprint: what the bits of a training depend on beside its own state, to be compared by one
that goes on. Equal runs have equal ones."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from . import backends
from .backends import Backend
from .backends.precision import current_precision
from .device import Device

PACKAGES = ("numpy", "ml_dtypes", "llvmlite")
VECTORS = ("asimd", "sve", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16")
DEVICE_PACKAGES = ("cupy-cuda12x", "cupy-cuda13x", "nvidia-cudnn-frontend")


def fingerprint(device: Device) -> dict[str, Any]:
    """Versions, processor, BLAS, threads and device, as a JSON value."""
    found = dict(_of_process())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found["threads"] = os.environ.get("AUTOGRAPH_THREADS") or str(cores)
    known = (each for each in vars(backends).values() if isinstance(each, Backend))
    kinds = sorted(
        each.name for each in known if each.kind == device.kind and backends.enabled(each)
    )
    found["backends"] = " ".join(kinds)
    if device.is_host:
        return found
    if current_precision() != "strict":
        found["precision"] = current_precision()
    return found | _of_device(device)


def compared(here: dict[str, Any], there: dict[str, Any]) -> str:
    """ "exact" where the two are equal, else what differs: threads 4 -> 2."""
    names = [*there, *(name for name in here if name not in there)]
    changed = [
        f"{name} {there.get(name, 'none')} -> {here.get(name, 'none')}"
        for name in names
        if here.get(name) != there.get(name)
    ]
    return "not exact: " + ", ".join(changed) if changed else "exact"


@cache
def _of_process() -> dict[str, str]:
    from . import __version__

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "autograph": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": _processor(),
        "blas": f"{blas.get('name', '')} {blas.get('version', '')}".strip(),
        **versions_of(PACKAGES),
    }


@cache
def _of_device(device: Device) -> dict[str, str]:
    return {"device": device.info().get("name", device.kind), **versions_of(DEVICE_PACKAGES)}


def versions_of(names: tuple[str, ...]) -> dict[str, str]:
    """The versions of packages, as far as they are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    """The model and its vectors, where the system tells them: kernels are chosen by them."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    told = {
        name.strip(): value.strip() for name, _, value in (each.partition(":") for each in lines)
    }
    has = told.get("flags", told.get("Features", "")).split()
    return " ".join([told.get("model name", platform.machine()), *(f for f in VECTORS if f in has)])
