"""NVRTC, NVIDIA's run-time compiler, called through ctypes: it needs no device and no CuPy."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from functools import cache
from pathlib import Path

from ...errors import KernelError

_NAMES = ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "nvrtc64_130_0.dll")


def _candidates() -> list[str]:
    """Where the library may be: NVIDIA's wheels, then the loader's path, then a toolkit."""
    found: list[str] = []
    nvidia = importlib.util.find_spec("nvidia")
    for folder in (nvidia.submodule_search_locations or []) if nvidia else []:
        for version in ("13", "12"):
            found += map(str, Path(folder).rglob(f"libnvrtc.so.{version}"))
    found += _NAMES
    for toolkit in (os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda"):
        found += [f"{toolkit}/lib64/{name}" for name in _NAMES] if toolkit else []
    return found


@cache
def _library() -> ctypes.CDLL:
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        return library
    raise KernelError(
        "NVRTC: the CUDA compiler library cannot be found\n"
        "  for CUDA 13  pip install nvidia-cuda-nvrtc\n"
        "  for CUDA 12  pip install nvidia-cuda-nvrtc-cu12"
    )


def _call(name: str, *arguments: object) -> None:
    library = _library()
    status = getattr(library, name)(*arguments)
    if status:
        raise KernelError(f"NVRTC: {name}: {library.nvrtcGetErrorString(status).decode()}")


def available() -> bool:
    """Whether kernels can be compiled here."""
    try:
        _library()
    except KernelError:
        return False
    return True


@cache
def version() -> tuple[int, int]:
    """NVRTC's major and minor version."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


@cache
def architectures() -> tuple[int, ...]:
    """The compute capabilities that this NVRTC knows, 90 for 9.0, in rising order."""
    count = ctypes.c_int()
    _call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
    found = (ctypes.c_int * count.value)()
    _call("nvrtcGetSupportedArchs", found)
    return tuple(sorted(found))


def _read(program: ctypes.c_void_p, what: str) -> bytes:
    """One of the program's texts: its log, machine code or PTX."""
    size = ctypes.c_size_t()
    _call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    _call(f"nvrtcGet{what}", program, buffer)
    return buffer.raw


class CompileFailure(Exception):
    """The compiler's log of a text that it refused."""


def compile_text(text: str, instance: str, architecture: int) -> tuple[str, bytes]:
    """Compile `text` for compute capability `architecture`: the name and code of `instance`.

    The code is machine code; for a device newer than this NVRTC it is PTX, which the driver
    finishes. `instance` is a kernel with its template arguments, such as `conv2<Spec>`.
    """
    known = [each for each in architectures() if each <= architecture]
    exact = architecture in known
    target = f"sm_{architecture}" if exact else f"compute_{max(known, default=architecture)}"
    options = [f"--gpu-architecture={target}", "--std=c++17", "-default-device"]
    encoded = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
    program = ctypes.c_void_p()
    _call("nvrtcCreateProgram", ctypes.byref(program), text.encode(), b"kernel.cu", 0, None, None)
    try:
        _call("nvrtcAddNameExpression", program, instance.encode())
        if _library().nvrtcCompileProgram(program, len(options), encoded):
            raise CompileFailure(_read(program, "ProgramLog").rstrip(b"\0").decode())
        name = ctypes.c_char_p()
        _call("nvrtcGetLoweredName", program, instance.encode(), ctypes.byref(name))
        assert name.value is not None
        return name.value.decode(), _read(program, "CUBIN" if exact else "PTX")
    finally:
        _call("nvrtcDestroyProgram", ctypes.byref(program))
