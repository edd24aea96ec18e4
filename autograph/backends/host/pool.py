"""The pool of threads as Python starts, sizes and ends it; what runs in them is `forkjoin.py`."""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy._core._multiarray_umath import _ARRAY_API

from .. import choice
from . import jit
from .calls import NEW_LIKE, choose, fill, launch, new
from .forkjoin import (
    ARRAY,
    DATA_AT,
    FINISH,
    FLOAT,
    HANDLE,
    ID,
    INTEGER,
    LIMIT,
    LINUX,
    LISTENER,
    MUTEX,
    NATIVE,
    NEW,
    NONE,
    PATIENCE,
    SERVE,
    SHARE,
    SPIN,
    STARTED,
    STOP,
    THREADS,
    TICKET,
    TYPE_AT,
    WORK,
    drain,
    run,
    run_all,
    seize,
    serve,
)  # fmt: skip
from .language import native

_words = np.zeros((TICKET + SHARE * LIMIT + 128) // 8, np.int64)
_pool = (_words.ctypes.data + 127) // 128 * 128
_functions: Any = None
_methods: list[_Method] = []
_listener: Any = None
_replay: Any = None
_threads = 0
_lock = threading.RLock()


def _word(offset: int) -> Any:
    return ctypes.c_int64.from_address(_pool + offset)


def _posix(name: str, *offsets: int) -> None:
    function = getattr(ctypes.CDLL(None), "pthread_" + name)
    function(*[ctypes.c_void_p(_pool + offset) if offset else None for offset in offsets])


def default_threads() -> int:
    """$AUTOGRAPH_THREADS, else the processors that this process may use."""
    given = os.environ.get("AUTOGRAPH_THREADS", "")
    if given:
        if not given.isdigit() or int(given) < 1:
            raise ValueError(f"AUTOGRAPH_THREADS: a number from 1 is wanted, not {given!r}")
        return min(int(given), LIMIT)
    available = len(os.sched_getaffinity(0)) if LINUX else os.cpu_count() or 1
    return min(available, LIMIT)


class _Method(ctypes.Structure):
    """Python's PyMethodDef."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


def _of_numpy(function: int) -> int:
    """The address of a function of NumPy's C interface, by its place in the table of them."""
    table = ctypes.pythonapi.PyCapsule_GetPointer
    table.restype, table.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_void_p]
    return ctypes.c_int64.from_address(table(_ARRAY_API, None) + 8 * function).value


def _offset_of(thing: object, word: int) -> int:
    """Where in an object a word lies."""
    return next(
        o for o in range(0, 128, 8) if ctypes.c_int64.from_address(id(thing) + o).value == word
    )


class Calls(NamedTuple):
    """What Python calls of the engine (`calls.py`)."""

    launch: Callable[..., None]
    new: Callable[..., Any]
    fill: Callable[..., Any]
    choose: Callable[..., Any]


def start() -> Calls:
    """The native functions; the threads begin with the first region."""
    global _functions
    with _lock:
        if _functions is None:
            natives = [drain, serve, run, seize, run_all, launch, new, fill, choose]
            sources, build = [__file__, choice.__file__], lambda: native(natives, "pool", {})
            functions = jit.load("pool", sources, build, autograph_pool=_pool)
            _methods[:] = [_Method(name.encode(), functions(name), 0x80) for name in Calls._fields]
            make = ctypes.pythonapi.PyCFunction_NewEx
            make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p] * 3
            calls = Calls(*[make(ctypes.byref(each), None, None) for each in _methods])
            sample = np.zeros(1)
            _words_of_python = (
                (INTEGER, id(int)), (ARRAY, id(np.ndarray)), (FLOAT, id(float)), (NONE, id(None)),
                (TYPE_AT, _offset_of(sample, id(np.ndarray))),
                (DATA_AT, _offset_of(sample, sample.ctypes.data)), (NEW, _of_numpy(NEW_LIKE)),
            )  # fmt: skip
            _functions = functions, calls, _words_of_python
            reset(_threads or default_threads())
            os.register_at_fork(after_in_child=lambda: reset(_threads)) if hasattr(
                os, "register_at_fork"
            ) else None
            atexit.register(stop)
    return _functions[1]


def listen(listener: Callable[..., None] | None) -> None:
    """Have `listener(address, tasks, *words)` called before every launch, of any thread; None ends
    that."""
    global _listener
    start()
    before, _listener = _listener, listener  # each lives while its address may be read
    _word(LISTENER).value = 0 if listener is None else id(listener)
    del before


def replay(calls: np.ndarray) -> int:
    """Run calls (N, 4) of i64 words, as `forkjoin.run_all` does; other threads of Python run on."""
    global _replay
    start()
    if _replay is None:
        kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
        _replay = kind(_functions[0]("run_all"))
    return int(_replay(calls.ctypes.data, len(calls)))


def reset(threads: int) -> None:
    """A fresh pool, whose threads start with its first region; a forked child calls this too."""
    global _threads
    _threads = threads
    functions, _, words = _functions
    _words[:] = 0
    values = (
        (LISTENER, 0 if _listener is None else id(_listener)),
        (THREADS, threads if NATIVE else 1),
        (SPIN, 7000),
        (PATIENCE, 4000),
        (SERVE, functions("serve")),
    )
    for offset, value in (*values, *words):
        _word(offset).value = value
    for t in range(threads):
        _word(TICKET + SHARE * t + ID).value = t
    if NATIVE:
        for name, offset in (("mutex_init", MUTEX), ("cond_init", WORK), ("cond_init", FINISH)):
            _posix(name, offset, 0)


def stop() -> None:
    """End and join the threads once no region is on; later regions run in the calling thread."""
    functions = _functions[0]
    ctypes.CFUNCTYPE(ctypes.c_int64)(functions("seize"))()
    _word(STOP).value = 1
    if _word(STARTED).value:
        for name, offset in (
            ("mutex_lock", MUTEX),
            ("mutex_unlock", MUTEX),
            ("cond_broadcast", WORK),
        ):
            _posix(name, offset)
        for t in range(1, _word(THREADS).value):
            handle = ctypes.c_void_p(_word(TICKET + SHARE * t + HANDLE).value)
            ctypes.CDLL(None).pthread_join(handle, None)


def get_num_threads() -> int:
    """How many threads kernels run on."""
    return _threads or default_threads()


def set_num_threads(threads: int) -> None:
    """Run kernels on this many threads from now on; results do not depend on it."""
    global _threads
    if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= LIMIT:
        raise ValueError(f"set_num_threads: a number from 1 to {LIMIT} is wanted, not {threads!r}")
    with _lock:
        if _functions is None:
            _threads = threads
        else:
            stop()
            reset(threads)
