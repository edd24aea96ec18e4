"""A fork-join pool of native threads for kernels: no GIL, half a microsecond a region, parked when
idle.

A region runs `kernel(block, task)` for every task of a count. Thread t owns the t-th contiguous
share and then steals. The caller works as well and waits only for tasks that somebody has claimed,
never for a thread to show up: a busy machine slows a region but cannot stall it. A ticket is
`region << 32 | tasks left in the share`; the region's number makes the claim of a late thread
fail, so it can never run a kernel that is gone.
"""

# ruff: noqa: SIM102 - `and` evaluates both sides in kernels, and `if LINUX` is decided before

from __future__ import annotations

import platform
import sys
from typing import Any

from llvmlite import ir

from .intrinsics import call, pointer
from .scalars import I32, I64, VOID, Intrinsic, Value, i64

LINUX = sys.platform == "linux"
NATIVE = sys.platform in ("linux", "darwin")  # elsewhere regions run in the calling thread
LIMIT = 256  # threads
LEFT = 0xFFFFFFFF

# Words that only callers write, then words with a 128-byte line each, then a share for each thread.
KERNEL, BLOCK, COUNT, THREADS, SPIN, PATIENCE, SERVE, STARTED = range(0, 64, 8)
INTEGER, ARRAY, FLOAT, NONE, TYPE_AT, DATA_AT, LISTENER, NEW = range(64, 128, 8)
DONE, ASLEEP, WAITING, OWNER, STOP, MUTEX, WORK, FINISH, SCRATCH, TICKET = range(128, 1408, 128)
ID, HANDLE, CPU, MOVED, MASK, SHARE = 8, 16, 24, 32, 128, 256


# -- What the native functions are made of ------


def _at(to: Any, place: Any) -> ir.Value:
    return to.builder.inttoptr(to.cast(place, i64).code, I64.as_pointer())


@Intrinsic
def load(to, place):
    return Value(i64, to.builder.load_atomic(_at(to, place), "seq_cst", 8))


@Intrinsic
def store(to, place, value):
    to.builder.store_atomic(to.cast(value, i64).code, _at(to, place), "seq_cst", 8)


@Intrinsic
def add(to, place, value):
    to.builder.atomic_rmw("add", _at(to, place), to.cast(value, i64).code, "seq_cst")


@Intrinsic
def claim(to, place, old, new):
    """Whether `old` was there and is now `new`."""
    old, new = to.cast(old, i64).code, to.cast(new, i64).code
    pair = to.builder.cmpxchg(_at(to, place), old, new, "seq_cst", "seq_cst")
    return Value(i64, to.builder.zext(to.builder.extract_value(pair, 1), I64))


@Intrinsic
def state(to):
    symbol = to.module.globals.get("autograph_pool") or ir.GlobalVariable(
        to.module, I64, "autograph_pool"
    )
    return Value(i64, to.builder.ptrtoint(symbol, I64))


@Intrinsic
def function_address(to, name):
    return Value(i64, to.builder.ptrtoint(to.module.globals[name], I64))


@Intrinsic
def relax(to):
    if platform.machine().lower() in ("x86_64", "amd64"):
        to.builder.call(to.external("llvm.x86.sse2.pause", VOID, []), [])
    elif platform.machine().lower() in ("aarch64", "arm64"):
        to.builder.call(to.external("llvm.aarch64.hint", VOID, [I32]), [I32(1)])


def external(name: str, result: ir.Type = I32) -> Intrinsic:
    """A function of the C library or of Python that takes words."""

    def emit(to, *words):
        codes = [to.cast(word, i64).code for word in words]
        code = to.builder.call(to.external(name, result, [I64] * len(codes)), codes)
        if result == VOID:
            return None
        return Value(i64, to.builder.sext(code, I64) if result == I32 else code)

    return Intrinsic(emit)


lock, unlock = external("pthread_mutex_lock"), external("pthread_mutex_unlock")
wait, wake = external("pthread_cond_wait"), external("pthread_cond_broadcast")
spawn, here = external("pthread_create"), external("sched_getcpu")
get_mask, set_mask = external("sched_getaffinity"), external("pthread_setaffinity_np")


# -- The native functions ------


def drain(pool, me):
    """Run the tasks of share `me`, then what is left of the others; how many this thread ran."""
    ran, hop, threads = 0, 0, load(pool + THREADS)
    while hop < threads:
        share = (me + hop) % threads
        ticket = pool + TICKET + SHARE * share
        seen = load(ticket)
        while seen & LEFT:
            kernel, block, count = load(pool + KERNEL), load(pool + BLOCK), load(pool + COUNT)
            # so the region of `seen` is still on and these words are its own
            if claim(ticket, seen, seen - 1):
                call(kernel, block, (share + 1) * count // threads - (seen & LEFT))
                ran += 1
            seen = load(ticket)
        hop += 1
    return ran


def part(pool, threads, cpu):
    """Keep sleepers off the caller's processor: Linux may wake them there, to queue for a whole
    time slice."""
    for t in range(1, threads):
        ticket, rest = pool + TICKET + SHARE * t, 0
        if (load(ticket + CPU) == cpu) & (load(ticket + MOVED) == 0):
            for word in range(16):
                mask = load(ticket + MASK + 8 * word)
                if word == cpu >> 6:
                    mask &= ~(1 << (cpu & 63))
                store(pool + SCRATCH + 8 * word, mask)
                rest |= mask
            if rest != 0:
                if set_mask(load(ticket + HANDLE), 128, pool + SCRATCH) == 0:
                    store(ticket + MOVED, 1)


def serve(ticket):
    """The life of a worker thread."""
    me, idle = load(ticket + ID), 0
    pool = ticket - TICKET - SHARE * me
    while load(pool + STOP) == 0:
        if load(ticket) & LEFT:
            ran = drain(pool, me)
            idle = 0
            if ran:
                add(pool + DONE, ran)
                if load(pool + WAITING):
                    lock(pool + MUTEX)
                    unlock(pool + MUTEX)
                    wake(pool + FINISH)
        elif idle < load(pool + SPIN):
            idle += 1
            relax()
        else:
            lock(pool + MUTEX)
            store(pool + ASLEEP, 1)
            if LINUX:
                get_mask(0, 128, ticket + MASK)
                store(ticket + CPU, here())
            if (load(ticket) & LEFT == 0) & (load(pool + STOP) == 0):
                wait(pool + WORK, pool + MUTEX)
            moved = load(ticket + MOVED)
            store(ticket + CPU, -1)
            store(ticket + MOVED, 0)
            unlock(pool + MUTEX)
            if LINUX:
                if moved:
                    set_mask(load(ticket + HANDLE), 128, ticket + MASK)
            idle = 0  # spin again, even if the work is gone by now
    return 0


def run(kernel, block, count):
    """Run a region; in this thread alone where it is small, nested, or the pool is taken."""
    pool = state()
    threads, mine = load(pool + THREADS), 0
    if (count > 1) & (threads > 1):
        if load(pool + OWNER) == 0:
            mine = claim(pool + OWNER, 0, 1)
    if mine == 0:
        for task in range(count):
            call(kernel, block, task)
    else:
        if load(pool + STARTED) == 0:
            for t in range(1, threads):
                share = pool + TICKET + SHARE * t
                spawn(share + HANDLE, 0, load(pool + SERVE), share)
            store(pool + STARTED, 1)
        store(pool + KERNEL, kernel)
        store(pool + BLOCK, block)
        store(pool + COUNT, count)
        store(pool + DONE, 0)
        number = ((load(pool + TICKET) >> 32) + 1) << 32
        t = threads - 1
        while t >= 0:
            share = (t + 1) * count // threads - t * count // threads
            store(pool + TICKET + SHARE * t, number | share)
            t -= 1
        if load(pool + ASLEEP):
            lock(pool + MUTEX)
            store(pool + ASLEEP, 0)
            if LINUX:
                part(pool, threads, here())
            unlock(pool + MUTEX)
            wake(pool + WORK)
        others = count - drain(pool, 0)
        spins = load(pool + PATIENCE)
        while (spins > 0) & (load(pool + DONE) != others):
            spins -= 1
            relax()
        if load(pool + DONE) != others:
            lock(pool + MUTEX)
            store(pool + WAITING, 1)
            while load(pool + DONE) != others:
                wait(pool + FINISH, pool + MUTEX)
            store(pool + WAITING, 0)
            unlock(pool + MUTEX)
        store(pool + OWNER, 0)


def seize():
    """Wait until no region is on, and keep others from starting one."""
    pool = state()
    while claim(pool + OWNER, 0, 1) == 0:
        relax()


def run_all(calls, count):
    """Run calls of four words each, kernel, block, tasks and the place of a flag (or 0), until one
    has raised its flag; how many ran without."""
    done, raised_flag = 0, 0
    while (done < count) & (raised_flag == 0):
        here = pointer(i64, calls) + 4 * done
        run(here[0], here[1], here[2])
        if here[3] != 0:
            raised_flag = load(here[3])
        done += 1 if raised_flag == 0 else 0
    return done
