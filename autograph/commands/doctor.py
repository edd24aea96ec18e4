"""Tell what this machine can do and what is missing, and check that training works on it.

Versions, the processor and its threads, CUDA and the extra to install for it, where files are
kept; then a check of a few seconds on every device: kernels against NumPy, and a small training
whose loss has to fall.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..backends import NATIVE, NUMPY, enabled, using
from ..device import HOST, Device
from ..fingerprint import versions_of
from . import print_json

Section = dict[str, Any]

PACKAGES = ("autograph-nn", "numpy", "llvmlite", "ml_dtypes", "pydantic", "rich", "safetensors")
EXTRAS = {
    "view": "textual",
    "plot": "matplotlib",
    "onnx": "onnx",
    "hub": "huggingface_hub",
    "docs": "sphinx",
}
FEATURES = ("sse4.2", "avx2", "fma", "avx512f", "avx512_bf16", "avx512bf16", "amx-bf16", "neon")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--quick", action="store_true", help="leave out the check of training")


def run(options: argparse.Namespace) -> int:
    """Print what was found; 1 if a check failed."""
    found: dict[str, Section] = {
        "versions": versions(),
        "host": host(),
        "cuda": cuda(),
        "files": files(),
    }
    if not options.quick:
        found["checks"] = checks()
    failed = [name for name, told in found.get("checks", {}).items() if told.startswith("FAILED")]
    if options.json:
        print_json({**found, "healthy": not failed})
        return 1 if failed else 0
    for title, section in found.items():
        width = max(map(len, section))
        print(title, *(f"  {name:<{width}}  {told}" for name, told in section.items()), sep="\n")
    print(f"\n{len(failed)} checks failed" if failed else "\nall is well")
    return 1 if failed else 0


def versions() -> Section:
    """Of Python and the packages that are needed, and which extras are here."""
    told: Section = {"python": f"{platform.python_version()} ({sys.executable})"}
    told["system"] = platform.platform()
    told |= dict.fromkeys(PACKAGES, "not installed") | versions_of(PACKAGES)
    if told["autograph-nn"] == "not installed":
        from .. import __version__

        told["autograph-nn"] = f"{__version__}, run from {Path(__file__).parents[2]}"
    for extra, package in EXTRAS.items():
        here = find_spec(package) is not None
        told[f"extra {extra}"] = "here" if here else f"pip install 'autograph-nn[{extra}]'"
    return told


def host() -> Section:
    """The processor, its threads, and whether kernels are compiled for it."""
    free, total = HOST.memory()
    memory = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    told: Section = {"cores": HOST.info()["cores"], "memory": memory}
    if not NATIVE.available:
        off = os.environ.get("AUTOGRAPH_JIT") == "0"
        told["kernels"] = "NumPy's alone: " + (
            "AUTOGRAPH_JIT=0 is set" if off else "pip install llvmlite for compiled ones"
        )
        return told
    from ..backends.host import jit, pool

    name, features = jit.processor()
    have = {each[1:] for each in features.split(",") if each.startswith("+")}
    told["processor"] = name
    told["features"] = " ".join(each for each in FEATURES if each in have) or "none of note"
    told["threads"] = f"{pool.get_num_threads()} (AUTOGRAPH_THREADS sets it)"
    told["kernels"] = "compiled"
    return told


def cuda() -> Section:
    """The driver, CuPy, and every device; or what to install."""
    version = driver()
    if version is None:
        return {"driver": "none found; models run on the host"}
    extra = "cuda13" if version >= (13, 0) else "cuda12"
    told: Section = {"driver": f"for CUDA {version[0]}.{version[1]}"}
    if find_spec("cupy") is None:
        told["cupy"] = f"not installed: pip install 'autograph-nn[{extra}]'"
        return told
    try:
        for device in Device.available():
            if not device.is_host:
                told[str(device)] = ", ".join(f"{k} {v}" for k, v in device.info().items())
    except Exception as error:  # whatever a broken installation raises is what is to be told
        told["cupy"] = f"FAILED: {type(error).__name__}: {error}"
    told["capture"] = "yes, as CUDA graphs"
    return told


def driver() -> tuple[int, int] | None:
    """The CUDA version that NVIDIA's driver is for; None without a driver."""
    names = {"win32": "nvcuda.dll", "linux": "libcuda.so.1"}
    try:
        library = ctypes.CDLL(names[sys.platform])
        found = ctypes.c_int()
        if library.cuDriverGetVersion(ctypes.byref(found)) or not found.value:
            return None
    except (KeyError, OSError, AttributeError):
        return None
    return found.value // 1000, found.value % 1000 // 10


def files() -> Section:
    """The folders that autograph writes to and reads from."""
    cache = "none: kernels are not compiled"
    if NATIVE.available:
        from ..backends.host import jit

        place = jit.folder()
        count = len(list(place.glob("*.o"))) if place else 0
        cache = f"{place}, {count} kept" if place else "no folder can be written to"
    from ..data.mnist_files import MNIST, SHAPES, _cache, _home, _inside

    places = [each for each in (_home(MNIST), MNIST.repository, _cache(MNIST)) if each]
    there = next((each for each in places if len(_inside(each)) == len(SHAPES)), None)
    return {"kernels": cache, "mnist": str(there or f"not here yet, downloads to {_cache(MNIST)}")}


def checks() -> Section:
    """What was tried on every device, and how it went."""
    told: Section = {}
    told["host kernels"] = _tried(kernels)
    for device in Device.available():
        for scalar_type in ("f32", "bf16"):
            told[f"training {device} {scalar_type}"] = _tried(train, device, scalar_type)
    return told


def _tried(check: Callable[..., str], *given: Any) -> str:
    start = time.perf_counter()
    try:
        said = check(*given)
    except Exception as error:  # a check that fails is an answer
        return f"FAILED: {type(error).__name__}: {str(error).splitlines()[0]}"
    return f"{said}, {time.perf_counter() - start:.1f} s"


def kernels() -> str:
    """Compiled kernels against NumPy's."""
    from .. import ops

    if not enabled(NATIVE):
        return "none to check"
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(64, 96)), rng.normal(size=(96, 32))
    image, filters = rng.normal(size=(4, 3, 12, 12)), rng.normal(size=(5, 3, 3, 3))
    worst = 0.0
    for run in (
        lambda f: ops.linear(f(x), f(w)),
        lambda f: ops.conv2(f(image), f(filters)),
        lambda f: ops.relu(f(x)),
    ):
        found = run(lambda a: a.astype(np.float32))
        with using(NUMPY):
            expected = run(lambda a: a)
        worst = max(worst, float(np.abs(found - expected).max() / np.abs(expected).max()))
    if worst > 1e-4:
        raise ArithmeticError(f"they differ from NumPy by {worst:.1e}")
    return f"agree with NumPy to {worst:.0e}"


def train(device: Device, scalar_type: str) -> str:
    """A small model on two clouds of points: its loss has to fall."""
    from ..data import synthetic
    from ..layers import Dense, Layer, Relu, sequential
    from ..optim import SGD
    from ..train import fit

    @sequential(input=(2,))
    class Small(Layer):
        dense1: Dense = Dense.builder(outputs=16, bias=True)
        relu1: Relu
        dense2: Dense = Dense.builder(outputs=2, bias=True)

    model = Small.build(device=device, scalar_type=scalar_type)
    optimizer = SGD(learning_rate=0.2, momentum=0.9)
    reports = list(fit(model, optimizer, synthetic("gaussians", 400), epochs=5, batch_size=50))
    first, last = reports[0].train.loss, reports[-1].train.loss
    if not last < 0.7 * first:
        raise ArithmeticError(f"the loss did not fall: {first:.3f}, then {last:.3f}")
    return f"loss {first:.3f} -> {last:.3f}"
