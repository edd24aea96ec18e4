"""Kernels compiled for this processor on first use, kept on disk as native objects, and launched
without copies.

    @kernel
    def scale(task, count: int, x: "T", y: "T"): ...

    scale.of(T=f32)(tasks, count, x, y)

A launch puts numbers and the addresses of arrays into a block of 64-bit words and runs the kernel
for every task in `range(tasks)` on the pool; it neither copies nor checks arrays, so callers pass
contiguous ones.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import llvmlite
from llvmlite import binding, ir

_lock = threading.RLock()
_engines: list[Any] = []  # what is loaded stays loaded

if hasattr(os, "register_at_fork"):  # no child may begin in the middle of a compilation
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


@cache
def processor() -> tuple[str, str]:
    """The name and the features of this processor, in LLVM's words."""
    return binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()


def has(feature: str) -> bool:
    """Whether this processor has a feature that LLVM names, such as avx512f."""
    return f"+{feature}" in processor()[1].split(",")


@cache
def machine() -> Any:
    """LLVM's idea of this processor."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    name, features = processor()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(
        cpu=name, features=features, opt=3, reloc="default", codemodel="jitdefault", jit=True
    )


# -- The folder of objects ------


@cache
def folder() -> Path | None:
    """Where objects are kept: $AUTOGRAPH_CACHE, else ~/.cache/autograph, else a temporary folder of
    this user."""
    choices = [
        os.environ.get("AUTOGRAPH_CACHE"),
        "~/.cache/autograph",
    ]
    user = os.getuid() if hasattr(os, "getuid") else "user"
    choices.append(f"{tempfile.gettempdir()}/autograph-{user}")
    for choice in filter(None, choices):
        try:
            path = Path(choice).expanduser()
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_ours(path) and os.access(path, os.W_OK | os.X_OK):
                return path
        except (OSError, RuntimeError):  # RuntimeError: no home folder
            continue
    return None


def _is_ours(path: Path) -> bool:
    """Objects are native code: a folder that others may write to is not to be trusted."""
    status = path.stat()
    return not hasattr(os, "getuid") or (
        status.st_uid in (os.getuid(), 0) and not status.st_mode & (stat.S_IWOTH | stat.S_IWGRP)
    )


def _read(name: str) -> bytes | None:
    """A kept object, unless it is absent or damaged."""
    try:
        content = (folder() / name).read_bytes() if folder() else b""
    except OSError:
        return None
    digest, code = content[:32], content[32:]
    return code if hashlib.blake2b(code, digest_size=32).digest() == digest else None


def _write(name: str, code: bytes) -> None:
    """Keep an object; a full or read-only disk only means compiling again."""
    if folder() is None:
        return
    try:
        descriptor, path = tempfile.mkstemp(dir=folder(), prefix=".new-")
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.blake2b(code, digest_size=32).digest() + code)
        Path(path).replace(folder() / name)
    except OSError:
        return


@cache
def _source(path: str) -> bytes:
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).digest()


@cache
def _engine() -> bytes:
    """What every object depends on: this engine, LLVM, and the processor."""
    parts = [_source(str(path)) for path in sorted(Path(__file__).parent.glob("*.py"))]
    versions = f"{llvmlite.__version__} {binding.llvm_version_info} {processor()}"
    return hashlib.blake2b(b"".join(parts) + versions.encode(), digest_size=16).digest()


# -- Compiling ------


def load(
    name: str, sources: list[str], build: Callable[[], Any], **symbols: int
) -> Callable[[str], int]:
    """The addresses of functions by name, from the kept object, else from the LLVM module that
    `build` returns."""
    key = hashlib.blake2b(
        _engine() + b"".join(map(_source, sources)) + name.encode(), digest_size=12
    ).hexdigest()
    file = f"{name}-{key}.o"
    with _lock:
        for symbol, value in symbols.items():
            binding.add_symbol(symbol, value)
        code = _read(file)
        if code is None:
            with _notice(name):
                code = _compile(build())
            _write(file, code)
        engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine())
        engine.add_object_file(binding.ObjectFileRef.from_data(code))
        engine.finalize_object()
        _engines.append(engine)
    return engine.get_function_address


def _compile(module: ir.Module) -> bytes:
    machine()
    module.triple = binding.get_process_triple()
    code = binding.parse_assembly(str(module))
    code.verify()
    options = binding.create_pipeline_tuning_options(speed_level=3)
    builder = binding.create_pass_builder(machine(), options)
    builder.getModulePassManager().run(code, builder)
    return machine().emit_object(code)


class _notice:
    """Says once, on a terminal, that kernels are being compiled, and counts them."""

    count = 0

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        _notice.count += 1
        if sys.stderr is not None and sys.stderr.isatty():
            if _notice.count == 1:
                print(
                    f"autograph: compiling kernels for {processor()[0]}, kept in {folder()}",
                    file=sys.stderr,
                )
            print(f"\r  {_notice.count} {self.name[:60]:<60}", end="", file=sys.stderr, flush=True)

    def __exit__(self, *error: object) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            print("\r" + " " * 66 + "\r", end="", file=sys.stderr, flush=True)


class Kernel:
    """A function of the language of `language.py`, compiled when it is first launched."""

    def __init__(
        self, function: Callable[..., None], flags: tuple[str, ...] = ("contract",), **names: Any
    ) -> None:
        self.function, self.flags, self.names = function, flags, names
        self.address = 0
        self.kinds: dict[Any, Kernel] = {}

    def __repr__(self) -> str:
        names = ",".join(
            f"{name}={getattr(value, '__name__', value)}"
            for name, value in sorted(self.names.items())
        )
        return f"{self.function.__name__}[{names}]" if names else self.function.__name__

    def of(self, **names: Any) -> Kernel:
        """This kernel with these names given values: scalar types, or numbers known while
        compiling."""
        key = tuple(names.items())
        found = self.kinds.get(key)
        if found is None:
            found = self.kinds[key] = Kernel(self.function, self.flags, **self.names, **names)
        return found

    def compile(self) -> int:
        """The address of the compiled kernel."""
        with _lock:
            if not self.address:
                name = "".join(c if c.isalnum() or c in "_=," else "." for c in repr(self))
                file = Path(self.function.__code__.co_filename)
                beside = map(str, sorted(file.parent.glob("*_loops.py")))  # what it may inline
                self.address = load(name, [str(file), *beside], self._translate)("kernel")
        return self.address

    def launch(self, *words: Any) -> Callable[..., None]:
        """The launch of this kernel, compiled now, with the first words (tasks, ...) given."""
        return partial(launcher(), self.address or self.compile(), *words)

    def _translate(self) -> ir.Module:
        from .language import translate

        return translate(self.function, "kernel", self.names, self.flags)

    def __call__(self, tasks: int, *words: Any) -> None:
        """Run the kernel for every task in range(tasks); words are numbers, contiguous arrays or
        None."""
        launcher()(self.address or self.compile(), tasks, *words)


def kernel(function: Callable[..., None] | None = None, *, reassociate: bool = False) -> Any:
    """Declare a kernel; `reassociate` lets LLVM reorder its sums, always in the same way."""
    if function is None:
        return lambda function: kernel(function, reassociate=reassociate)
    return Kernel(function, ("contract", "reassoc", "nsz") if reassociate else ("contract",))


def refuse_where(flag: Any, refuse: Callable[[], None]) -> None:
    """Call `refuse`, which raises, if the launch before has raised its flag, an i64 array of one; a
    recording looks at it in every replay."""
    if tape is not None:
        tape.looks_at(flag, refuse)
    if flag:
        refuse()


tape: Any = None  # what writes the launches down, if anything does


@cache
def launcher() -> Callable[..., None]:
    """launch(address, tasks, *words): run native code for every task. The pool starts with it."""
    from . import pool

    return pool.start().launch
