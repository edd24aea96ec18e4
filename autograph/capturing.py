"""capture: a training step, or any function of tensors, run once, recorded once, then replayed.

On a device a recording is a CUDA graph over memory of its own; on the host steps run as they are.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

from . import ops
from .backends import limit
from .device import Device
from .errors import CaptureError, MemoryLimitError
from .optim import Optimizer
from .recording import Recording, Trial, copies, outlined, reason, replaced, same_bits
from .tensor import Tensor
from .tensor.staircase import version_of
from .tensor.state import state
from .watching import Watch, watching

P = ParamSpec("P")
T = TypeVar("T")

RECORDINGS = 8  # kept at a time, one for each kind of inputs; the oldest goes first
ATTEMPTS = 8  # recordings that may turn out stale before the step stays eager


def capture(step: Callable[P, T], *, optimizer: Optimizer | None = None) -> Captured[P, T]:
    """The step as a callable that is recorded on its third call, and replayed from then on.

    What the step does to Python objects happens while it runs and is recorded, not when it is
    replayed: numbers that change from step to step have to be arrays. Name the `optimizer` that
    it updates, whose count of steps is kept. Tensors among the arguments are data; everything
    else about them (shapes, scalar types, numbers) chooses the recording. The first replay is
    compared bit for bit with a step that ran eagerly. What cannot be captured runs eagerly, and
    a warning says why.

        fast = capture(step, optimizer=optimizer)
        for batch in batches:
            loss = fast(batch)
    """
    return Captured(step, optimizer)


class Captured(Generic[P, T]):
    """What `capture` returns."""

    def __init__(self, step: Callable[P, T], optimizer: Optimizer | None) -> None:
        self.step, self.optimizer = step, optimizer
        self.eager = False  # for good
        self._entries: dict[Any, Trial | Recording | None] = {}
        self._left = ATTEMPTS

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        if self.eager:
            return self.step(*args, **kwargs)
        inputs: list[Tensor] = []
        try:
            key = outlined((args, kwargs), inputs), *_mode()
            entry = self._entries.get(key)
        except TypeError as error:
            why = f"an argument is neither a tensor nor hashable: {error}"
            return self._give_up(why, args, kwargs)
        if isinstance(entry, Recording):
            if self._is_current(entry):
                return self._replayed(entry, inputs)
            self._left -= 1
            if not self._left:
                why = "tensors that it reads are replaced again and again"
                return self._give_up(why, args, kwargs)
            entry = None
        if isinstance(entry, Trial):
            return self._record(key, entry, inputs, args, kwargs)
        if key not in self._entries:
            return self._first(key, args, kwargs)
        return self._try(key, inputs, args, kwargs)

    def __repr__(self) -> str:
        kept = sum(isinstance(each, Recording) for each in self._entries.values())
        return f"capture({self.step}): {'eager' if self.eager else f'{kept} recordings'}"

    # -- the calls before a recording ------------------------------------------------------

    def _first(self, key: Any, args: Any, kwargs: Any) -> T:
        """An eager step, which makes whatever state there is to make."""
        watch = Watch()
        with watching(watch):
            results = self.step(*args, **kwargs)
        devices = {each for each in watch.devices if not each.is_host}
        if len(devices) == 1 and watch.devices == devices:
            while len(self._entries) >= RECORDINGS:
                del self._entries[next(iter(self._entries))]
            self._entries[key] = None
        elif devices:
            names = ", ".join(sorted(map(str, watch.devices)))
            self._warn(f"it uses several devices: {names}")
        else:
            self.eager = True
        return results

    def _try(self, key: Any, inputs: list[Tensor], args: Any, kwargs: Any) -> T:
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
                after = copies(each.array for each in written)
                given_ids = {id(None), *map(id, inputs)}  # None: it lived for the step alone
                read = [each for each in watch.only_read() if id(each[0]()) not in given_ids]
                self._entries[key] = Trial(given, written, after, copies(outputs), read)
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
        self._entries[key] = Trial([], [], [], None, [])
        return results

    # -- recording ---------------------------------------------------------------------------

    def _record(
        self, key: Any, trial: Trial, inputs: list[Tensor], args: Any, kwargs: Any
    ) -> T:
        from .backends.cuda.stream import PrivateMemory, recording

        done: list[T] = []
        if trial.is_stale():  # so this step is tried, and recorded as well
            done.append(self._try(key, inputs, args, kwargs))
            tried = self._entries.get(key)
            if not isinstance(tried, Trial):
                return done[0]
            trial = tried
        self._lay_out()
        watch, memory = Watch(), PrivateMemory()
        count = 0 if self.optimizer is None else self.optimizer.count
        try:
            device = self._device_of(inputs, trial)
            with memory.use():
                buffers = [Tensor.borrow(array) for array in copies(inputs)]
                given_args, given_kwargs = replaced((args, kwargs), iter(buffers))
                with watching(watch), recording(device.index) as graphs:
                    results = self.step(*given_args, **given_kwargs)
            outputs: list[Tensor] = []
            outlined(results, outputs)
            gc.collect()
            found = Recording(
                device, graphs[0], memory, buffers, results, outputs, watch.held(buffers),
                watch.written(),
            )  # fmt: skip
            del given_args, given_kwargs
            self._check(found, watch, outputs, trial)
            agrees = self._agrees(found, trial)
        except Exception as error:
            for leaf, gradient in watch.gradients:
                leaf.grad = gradient
            if self.optimizer is not None:
                self.optimizer.counted(count)
            return self._give_up(reason(error), args, kwargs, done)
        if (done or not agrees) and self.optimizer is not None:
            self.optimizer.counted(count)
        if not agrees:
            return self._give_up("a replay differs from the eager step", args, kwargs, done)
        self._entries[key] = found
        if done:
            return done[0]
        found.fill(inputs)
        return found.run()

    def _device_of(self, inputs: list[Tensor], trial: Trial) -> Device:
        for each in (*inputs, *(each.tensor() for each in trial.written)):
            if each is not None and not each.device.is_host:
                return each.device
        raise CaptureError("it writes no tensor that lives on, and is given none")

    def _check(
        self, found: Recording, watch: Watch, outputs: list[Tensor], trial: Trial
    ) -> None:
        """Refuse a recording whose replays would not do what the step does."""
        own = {id(each) for each in outputs}
        if any(id(each) not in own for each in watch.left()):
            raise CaptureError("a tensor that it makes lives on beside what it returns")
        if any(leaf.grad is not None for leaf, _ in watch.gradients):
            raise CaptureError("it leaves gradients behind, which no update has taken")
        if any(each.node is not None and each.node.edges is not None for each in outputs):
            raise CaptureError("it returns a tensor with a graph: return y.detach()")
        if self.optimizer is None and "tick" in watch.names:
            raise CaptureError("it updates an optimizer: write capture(step, optimizer=optimizer)")
        arrays = {id(array) for _, array in found.written}
        if any(id(each._array) in arrays for each in found.buffers):
            raise CaptureError("it writes an argument: write a tensor that it holds on to")
        if trial.outputs is not None and arrays != {id(each.array) for each in trial.written}:
            raise CaptureError("it writes other tensors from step to step")

    def _agrees(self, found: Recording, trial: Trial) -> bool:
        """Whether a replay of the step that was tried gives its bits; the state is put back."""
        if trial.outputs is None:
            return True
        now = copies(array for _, array in found.written)
        for each in trial.written:
            ops.assign(each.array, each.before)
        found.fill([Tensor.borrow(each) for each in trial.inputs])
        found.launch()
        replayed = [each._array for each in found.outputs] + [each.array for each in trial.written]
        expected = trial.outputs + trial.after
        same = len(replayed) == len(expected) and all(map(same_bits, replayed, expected))
        for (_, array), kept in zip(found.written, now, strict=True):
            ops.assign(array, kept)
        return same

    # -- replaying ---------------------------------------------------------------------------

    def _lay_out(self) -> None:
        if self.optimizer is not None:
            for each in (self.optimizer, *self.optimizer._groups.twins):
                for clock in each._clocks.values():
                    clock._lay_out(each)

    def _is_current(self, found: Recording) -> bool:
        """Whether the tensors that were recorded are still those of the model and optimizer."""
        self._lay_out()
        for each, array in found.held:
            tensor = each()
            if tensor is None or tensor._array is not array:
                return False
        optimizer = self.optimizer
        return optimizer is None or all(
            version_of(w).count == count
            for path, count in optimizer._versions.items()
            if (w := optimizer._owned[path]()) is not None
        )

    def _replayed(self, found: Recording, inputs: list[Tensor]) -> T:
        found.fill(inputs)
        results = found.run()
        for each, _ in found.written:
            tensor = each()
            if tensor is not None:
                version_of(tensor).count += 1
        optimizer = self.optimizer
        if optimizer is not None:
            optimizer.counted(optimizer.count + 1)
            for path in optimizer._versions:
                w = optimizer._owned[path]()
                if w is not None:
                    optimizer._versions[path] = version_of(w).count
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


def _mode() -> tuple[Any, ...]:
    return state.recording, state.training, state.higher_order, limit()
