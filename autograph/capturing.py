"""capture: a training step, or any function of tensors, run once, recorded once, then replayed.

What is recorded are launches over memory of their own: `tape.py`.
"""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

from . import ops
from .backends import limit
from .backends.precision import current_precision
from .device import Device
from .errors import CaptureError, MemoryLimitError
from .layers.hooks import hung
from .optim import Optimizer
from .optim.optimizer import taken
from .recording import Recording, Trial, bits_of, copies, outlined, reason, replaced
from .tape import tape_of
from .tensor import Tensor
from .tensor.deferred import settle
from .tensor.staircase import apply
from .tensor.state import state
from .watching import Watch, Written, watching

P = ParamSpec("P")
T = TypeVar("T")

_ELSEWHERE = "another rank has to"

RECORDINGS = 8  # kept at a time, one for each kind of inputs; the oldest goes first
_watching = threading.RLock()
ATTEMPTS = 8  # recordings that may turn out stale before the step stays eager


class Ranks(Protocol):
    """Processes that run the same step, and talk within it."""

    def any(self, flag: bool, what: str) -> bool:
        """Whether any of them says so."""

    def rehearsing(self) -> AbstractContextManager[None]:
        """Within the block the step waits for nobody; what it does is undone."""


def capture(
    step: Callable[P, T], *, optimizer: Optimizer | None = None, ranks: Ranks | None = None
) -> Captured[P, T]:
    """The step as a callable that is recorded on its third call, and replayed from then on.

    What the step does to Python objects happens while it runs and is recorded, not when it is
    replayed: numbers that change from step to step have to be arrays. Name the `optimizer` that
    it updates, whose count of steps is kept. Tensors among the arguments are data; everything
    else about them (shapes, scalar types, numbers) chooses the recording. The first replay is
    compared bit for bit with a step that ran eagerly. What cannot be captured runs eagerly, and
    a warning says why; of several `ranks` all replay the step, or none does.

        fast = capture(step, optimizer=optimizer)
        for batch in batches:
            loss = fast(batch)
    """
    return Captured(step, optimizer, ranks)


class Captured(Generic[P, T]):
    """What `capture` returns."""

    def __init__(
        self, step: Callable[P, T], optimizer: Optimizer | None, ranks: Ranks | None
    ) -> None:
        self.step, self.optimizer, self.ranks = step, optimizer, ranks
        self.eager = False  # for good
        self._entries: dict[Any, Device | Trial | Recording] = {}
        self._left = ATTEMPTS
        self._turn = threading.RLock()  # replays share their memory

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        watched = bool(hung) or Tensor.__apply__ is not apply  # somebody wants to see each op
        if self.eager or (watched and self.ranks is None):
            return self.step(*args, **kwargs)
        inputs: list[Tensor] = []
        try:
            key = outlined((args, kwargs), inputs), *_mode()
            entry = self._entries.get(key)
        except TypeError as error:
            why = f"an argument is neither a tensor nor hashable: {error}"
            return self._give_up(why, args, kwargs)
        if isinstance(entry, Recording):
            if watched:
                return self.step(*args, **kwargs)
            prepared = self.optimizer is None or self.optimizer.prepare()
            if prepared and entry.is_current():
                return self._replayed(entry, inputs)
            self._left -= 1
            if not self._left:
                why = "tensors that it reads are replaced again and again"
                return self._give_up(why, args, kwargs)
            entry = self._entries[key] = entry.tape.device
        # where another thread is at it: they do not mix, and ranks stay in step
        if not _watching.acquire(blocking=self.ranks is not None):
            return self.step(*args, **kwargs)
        try:
            if isinstance(entry, Trial):
                return self._record(key, entry, inputs, args, kwargs, watched)
            if entry is None:
                return self._first(key, args, kwargs)
            return self._try(key, entry, inputs, args, kwargs)
        finally:
            _watching.release()

    def __repr__(self) -> str:
        kept = sum(isinstance(each, Recording) for each in self._entries.values())
        return f"capture({self.step}): {'eager' if self.eager else f'{kept} recordings'}"

    # -- the calls before a recording ------------------------------------------------------

    def _first(self, key: Any, args: Any, kwargs: Any) -> T:
        """An eager step, which makes whatever state there is to make."""
        watch = Watch()
        with watching(watch):
            results = self.step(*args, **kwargs)
        if len(watch.devices) == 1:
            while len(self._entries) >= RECORDINGS:
                del self._entries[next(iter(self._entries))]
            (self._entries[key],) = watch.devices
        elif watch.devices:
            names = ", ".join(sorted(map(str, watch.devices)))
            self._warn(f"it uses several devices: {names}")
        else:
            self.eager = True
        return results

    def _try(self, key: Any, device: Device, inputs: list[Tensor], args: Any, kwargs: Any) -> T:
        """An eager step, of which is kept what the replay of a recording has to give."""
        watch = Watch(before={})
        try:
            given = copies(inputs)
        except MemoryLimitError:
            given, watch = [], Watch()
        with watching(watch):
            results = self.step(*args, **kwargs)
        if watch.before is not None:
            written = [each for each in watch.before if each.tensor() is not None]
            outputs: list[Tensor] = []
            try:
                outlined(results, outputs)
                bits = bits_of([*outputs, *(each.array for each in written)])
                given_ids = {id(None), *map(id, inputs)}  # None: it lived for the step alone
                read = [each for each in watch.only_read() if id(each[0]()) not in given_ids]
                self._entries[key] = Trial(device, given, written, bits, read)
                return results
            except MemoryLimitError:
                pass
            except TypeError:
                self._warn("it returns what is no tensor and cannot be compared")
                return results
        warnings.warn(
            "capture: there is no memory to check the first replay against an eager step",
            stacklevel=3,
        )
        self._entries[key] = Trial(device, [], [], None, [])
        return results

    # -- recording ---------------------------------------------------------------------------

    def _record(
        self, key: Any, trial: Trial, inputs: list[Tensor], args: Any, kwargs: Any, watched: bool
    ) -> T:
        done: list[T] = []
        if self._any(trial.is_stale()):  # so this step is tried, and recorded as well
            done.append(self._try(key, trial.device, inputs, args, kwargs))
            tried = self._entries.get(key)
            if self._any(not isinstance(tried, Trial)) or not isinstance(tried, Trial):
                return done[0] if self.eager else self._give_up(_ELSEWHERE, args, kwargs, done)
            trial = tried
        optimizer, tape = self.optimizer, tape_of(trial.device)
        count, seen = 0 if optimizer is None else optimizer.count, list[Optimizer]()
        watch, why = Watch({}, tape.beside) if tape.runs else Watch(), ""
        quiet = self.ranks.rehearsing() if self.ranks is not None and tape.runs else nullcontext()
        taken.seen = seen
        try:
            if watched:
                raise CaptureError("somebody wants to see each op")
            if optimizer is not None:
                optimizer.prepare()
            with tape.memory():
                buffers = [Tensor.borrow(array) for array in copies(inputs)]
                given_args, given_kwargs = replaced((args, kwargs), iter(buffers))
                with _undone(watch):
                    if tape.runs and done:  # again, from where it was
                        for tensor, array, _ in trial.written:
                            watch.keep(tensor, array)
                        _put_back(trial.written)
                    with watching(watch), tape.writing(), quiet:
                        results = self.step(*given_args, **given_kwargs)
            if seen and optimizer is None:
                raise CaptureError(
                    "it updates an optimizer: write capture(step, optimizer=optimizer)"
                )
            if seen and seen != [optimizer]:
                raise CaptureError("it updates several times: capture a step for each update")
            outputs: list[Tensor] = []
            outlined(results, outputs)
            del given_args, given_kwargs
            if len(watch.left()) > len(outputs):
                gc.collect()
            held, written = watch.held(buffers), watch.written()
            found = Recording(tape, buffers, results, outputs, held, written, bool(seen))
            self._check(found, watch, outputs, trial)
        except Exception as error:
            why = reason(error)
        finally:
            taken.seen = None
        why = self._joint(why)
        if not why and not self._any(trial.bits is None):
            try:
                if not self._agrees(found, trial, watch.before):
                    why = "a replay differs from the eager step"
            except Exception as error:
                why = reason(error)
            why = self._joint(why)
        if (why or done) and optimizer is not None:
            optimizer.counted(count)
        if why:
            for leaf, gradient in watch.gradients:
                leaf.grad = gradient
        for each in seen if why else ():
            if each is not optimizer:
                each.counted(each.count - 1)
        trial.forget()
        del watch
        tape.settle()
        if why:
            return self._give_up(why, args, kwargs, done)
        self._entries[key] = found
        if done:
            return done[0]
        with self._turn:  # another thread may replay it already
            found.fill(inputs)
            return found.run()

    def _check(self, found: Recording, watch: Watch, outputs: list[Tensor], trial: Trial) -> None:
        """Refuse a recording whose replays would not do what the step does."""
        own = {id(each) for each in outputs}
        if any(id(each) not in own for each in watch.left()):
            raise CaptureError("a tensor that it makes lives on beside what it returns")
        if any(leaf.grad is not None for leaf, _ in watch.gradients):
            raise CaptureError("it leaves gradients behind, which no update has taken")
        if any(each.node is not None and each.node.edges is not None for each in outputs):
            raise CaptureError("it returns a tensor with a graph: return y.detach()")
        arrays = {id(array) for _, array in found.written}
        if any(id(each._array) in arrays for each in found.buffers):
            raise CaptureError("it writes an argument: write a tensor that it holds on to")
        if trial.bits is not None and arrays != {id(each.array) for each in trial.written}:
            raise CaptureError("it writes other tensors from step to step")

    def _agrees(self, found: Recording, trial: Trial, now: Sequence[Written] | None) -> bool:
        """Whether a replay of the step that was tried gives its bits; the state is put back to what
        it is `now`."""
        if now is None:
            now = [Written(each, array, ops.copy(array)) for each, array in found.written]
        try:
            _put_back(trial.written)
            found.fill([Tensor.borrow(each) for each in trial.inputs])
            found.tape.replay()
            return trial.bits == bits_of([*found.outputs, *(each.array for each in trial.written)])
        finally:
            _put_back(now)

    def _any(self, flag: bool) -> bool:
        """Whether any rank says so."""
        return flag if self.ranks is None else self.ranks.any(flag, "recording a step")

    def _joint(self, why: str) -> str:
        """Why one of the ranks stays eager; "" if none does."""
        return (why or _ELSEWHERE) if self._any(bool(why)) else ""

    # -- replaying ---------------------------------------------------------------------------

    def _replayed(self, found: Recording, inputs: list[Tensor]) -> T:
        settle()  # what is pending may read what is written now
        with self._turn:
            found.fill(inputs)
            results: T = found.run()
        found.wrote()
        if self.optimizer is not None and found.updates:
            self.optimizer.replayed()
        return results

    # -- where it does not go ----------------------------------------------------------------

    def _warn(self, why: str) -> None:
        self.eager = True
        self._entries.clear()
        name = getattr(self.step, "__qualname__", repr(self.step))
        warnings.warn(f"capture: {name} runs eagerly: {why}", stacklevel=4)

    def _give_up(self, why: str, args: Any, kwargs: Any, done: Sequence[T] = ()) -> T:
        self._warn(why)
        return done[0] if done else self.step(*args, **kwargs)


@contextmanager
def _undone(watch: Watch) -> Iterator[None]:
    """Leave the state as it was, also where what is recorded is done as well."""
    try:
        yield
    finally:
        _put_back(watch.before or ())


def _put_back(written: Iterable[Written]) -> None:
    for each in written:
        ops.assign(each.array, each.before)


def _mode() -> tuple[Any, ...]:
    return state.recording, state.training, state.higher_order, limit(), current_precision()
