"""Chains on a CUDA device: the two generated kernels, and how they are launched."""

from functools import cache, cached_property, reduce
from itertools import compress
from operator import or_
from pathlib import Path

import numpy as np

from ...backends import CUDA
from ...backends.cuda import stream
from ...backends.cuda.compile import c_type, expand
from ...backends.cuda.launch import Kernel, Launch, aligned, divide_up
from ...backends.cuda.words import words
from ...scalar_type import F32
from ..update import sgd_update
from ..update.together import parts_of
from . import UPDATES, chain, chain_back, chain_gradients, chain_step
from .configure import first_for
from .first import blocks_on_a_multiprocessor
from .memory import BYTES
from .second import PARTS, ROOM, THREADS, TILES, Second
from .stages import DoesNotFit, up

_HERE = Path(__file__).parent


def _takes(head, at):
    """Whether there is a first kernel for the inputs, of which x is the one at `at`."""

    def takes(*inputs, layers, has_dx=False):
        parameters = inputs[2:] if head != "scores" else inputs[1:]
        try:
            first_for(inputs[at], parameters, layers, head, has_dx)
        except DoesNotFit:
            return False
        return True

    return takes


@cache
def first_text(first, scalar_type):
    """The source of a first kernel."""
    types = f"struct bf16;\nusing Scalar = {scalar_type};\n"
    sizes = f"constexpr int S = {first.block.samples}, NT = {first.block.threads};\n"
    return types + sizes + expand(_HERE / first.templates) + "\n" + first.text()


@cache
def _second(first):
    return Second(first)


@cache
def second_text(first, scalar_type):
    """The source of the second kernel behind it."""
    types = f"struct bf16;\nusing Scalar = {scalar_type};\n"
    sizes = f"constexpr int NT = {THREADS}, PARTS = {PARTS}, ROOM = {ROOM};\n"
    return types + sizes + expand(_HERE / "total.cuh") + "\n" + _second(first).text()


class _First:
    """The launch of a first kernel, and where things lie in what it leaves: losses, rows of the
    samples, partial sums of the blocks, and room for the second kernel."""

    def __init__(self, x, parameters, layers, head, has_dx, target="int64"):
        self.first = first = first_for(x, parameters, layers, head, has_dx)
        block, self.samples = first.block, x.shape[0]
        self.blocks = divide_up(self.samples, block.samples)
        second = _second(first)
        lengths = (
            self.samples, first.row * self.samples * BYTES[first.value] // 4,
            first.partial * self.blocks,
            second.room(self.samples) if first.trains else 0,
        )  # fmt: skip
        starts = np.cumsum([0, *[up(each, 4) for each in lengths]])
        self.starts, self.left = (4 * starts[:-1]).tolist(), int(starts[-1])  # bytes, and numbers
        kernel = Kernel(
            first_text(first, c_type(x.scalar_type.dtype)), "first",
            {"Target": target, "blocks": blocks_on_a_multiprocessor(first.shared, block.threads)},
            threads=block.threads, shared=first.shared, struct=True,
        )  # fmt: skip
        self.launch = Launch(kernel, self.blocks, f"{9 + len(parameters)}Q")

    @cached_property
    def fault(self):
        return words().fault.data.ptr

    def __call__(self, x, target, y, dx, left, parameters):
        read = [x, *parameters]
        places = [each.data.ptr for each in read]
        if reduce(or_, places) % 16:
            read = [aligned(each) for each in read]
            places = [each.data.ptr for each in read]
        losses = rows = partials = fault = 0
        if left is not None:
            losses, fault = left.data.ptr, self.fault
            _, rows, partials, _ = self.starts
            rows, partials = losses + rows, losses + partials
        launch = self.launch
        launch.pack(
            places[0], 0 if target is None else target.data.ptr,
            0 if y is None else y.data.ptr, 0 if dx is None else dx.data.ptr,
            rows, partials, losses, fault, self.samples, *places[1:],
        )  # fmt: skip
        launch.run()


@cache
def _counters(device):
    """Counters of the blocks that have finished, and of those that share a tile: zeros between
    launches."""
    from cupy import zeros

    return words().finished, zeros(TILES, np.uint32)


class _Second:
    """The launch of a second kernel. `constants` say how parameters move, by these numbers; of the
    seven words of each, dw, w, step, what is remembered and master, those `given` are pointers."""

    def __init__(self, first, x, parameters, constants, given, numbers=(0.0,) * 4):
        self.first, second = first, _second(first.first)
        constants = {
            "count": len(parameters), "shares": second.shares(first.samples), **constants,
        }  # fmt: skip
        text = second_text(first.first, c_type(x.scalar_type.dtype))
        kernel = Kernel(text, "second", constants, threads=THREADS, struct=True)
        self.numbers = np.array(numbers, np.float64).view(np.uint64).tolist()
        each = "".join("Q" if at in given else "8x" for at in range(7))
        self.launch = Launch(kernel, second.blocks(first.samples), "15Q" + each * len(parameters))

    @cached_property
    def counters(self):
        return [each.data.ptr for each in _counters(stream.current_device())]

    def __call__(self, x, left, loss, rate, pointers):
        losses, x, first, launch = left.data.ptr, aligned(x), self.first, self.launch
        _, rows, partials, room = first.starts
        launch.pack(
            x.data.ptr, losses + rows, losses + partials, 0 if loss is None else losses,
            0 if loss is None else loss.data.ptr, losses + room, *self.counters,
            first.samples, first.blocks, rate, *self.numbers, *pointers,
        )  # fmt: skip
        launch.run()


_GRADIENTS = {"moves": 0, "counts": False, "states": 0, "has_master": False}


@chain.kernel(CUDA, when=_takes("scores", 0), made=True)
def chain_cuda(inputs, outputs, *, layers):
    from cupy import empty

    x, *parameters = inputs
    first = _First(x, parameters, layers, "scores", False)
    shape, dtype = outputs[0].shape, outputs[0].scalar_type.dtype

    def run(x, *parameters):
        y = empty(shape, dtype)
        first(x, None, y, None, None, parameters)
        return y

    return run


@chain_back.kernel(CUDA, when=_takes("gradient", 1), made=True)
def chain_back_cuda(inputs, outputs, *, layers, has_dx):
    from cupy import empty

    _, x, *parameters = inputs
    first = _First(x, parameters, layers, "gradient", has_dx)
    second = _Second(first, x, parameters, _GRADIENTS, (0,))
    x_shape, dtype, shapes = x.shape, x.scalar_type.dtype, [each.shape for each in parameters]

    def run(dy, x, *parameters):
        dx = empty(x_shape, dtype) if has_dx else None
        left = empty(first.left, np.float32)
        first(x, dy, None, dx, left, parameters)
        gradients = [empty(shape, dtype) for shape in shapes]
        second(x, left, None, 0, [each.data.ptr for each in gradients])
        return (dx, *gradients) if has_dx else tuple(gradients)

    return run


@chain_step.kernel(CUDA, when=_takes("loss", 0), made=True)
def chain_step_cuda(inputs, outputs, *, layers, has_dx):
    from cupy import empty

    x, target, *parameters = inputs
    kind = c_type(target.scalar_type.dtype)
    first = _First(x, parameters, layers, "loss", has_dx, kind)
    shape, x_shape, dtype = outputs[0].shape, x.shape, x.scalar_type.dtype

    def run(x, target, *parameters):
        y, left = empty(shape, dtype), empty(first.left, np.float32)
        dx = empty(x_shape, dtype) if has_dx else None
        first(x, target, y, dx, left, parameters)
        return (y, left, dx) if has_dx else (y, left)

    return run


def _takes_left(x, left, *parameters, layers, has_dx):
    return _takes("loss", 0)(x, None, *parameters, layers=layers, has_dx=has_dx)


@chain_gradients.kernel(CUDA, when=_takes_left, made=True)
def chain_gradients_cuda(inputs, outputs, *, layers, has_dx):
    from cupy import empty

    x, _, *parameters = inputs
    first = _First(x, parameters, layers, "loss", has_dx)
    second = _Second(first, x, parameters, _GRADIENTS, (0,))
    dtype, shapes = x.scalar_type.dtype, [each.shape for each in parameters]

    def run(x, left, *parameters):
        loss, gradients = empty((), dtype), [empty(shape, dtype) for shape in shapes]
        second(x, left, loss, 0, [each.data.ptr for each in gradients])
        return (loss, *gradients)

    return run


def _updates(op):
    remembered = len(op.inputs) - 5  # beside w, dw, step, rate and master

    def takes(x, left, rate, *moving, layers, has_dx, **settings):
        parts = parts_of(op, moving, beside=2)
        wide = {each.scalar_type for part in parts for each in part[2:] if each is not None}
        alike = {tuple(each is None for each in part) for part in parts}
        if wide - {F32} or len(alike) != 1 or rate.scalar_type.dtype != np.float64:
            return False
        return _takes_left(x, left, *[part[0] for part in parts], layers=layers, has_dx=has_dx)

    def made(inputs, outputs, *, layers, has_dx, **settings):
        from cupy import empty

        x, _, _, *moving = inputs
        parts = parts_of(op, moving, beside=2)
        parameters = [part[0] for part in parts]
        first = _First(x, parameters, layers, "loss", has_dx)
        constants, numbers = (_sgd if op is sgd_update else _adam)(parts[0], **settings)
        present = [each is not None for each in parts[0]]
        constants |= {"states": sum(present[2:-1]), "has_master": present[-1]}
        given = list(compress([*range(1, 3 + remembered), 6], present))
        second = _Second(first, x, parameters, constants, given, numbers)
        dtype = x.scalar_type.dtype

        def run(x, left, rate, *moving):
            loss = empty((), dtype)
            pointers = [each.data.ptr for each in moving if each is not None]
            second(x, left, loss, rate.data.ptr, pointers)
            return loss

        return run

    return takes, made


def _sgd(part, *, momentum, dampening, nesterov, weight_decay, maximize):
    flags = {
        "moves": 1, "counts": dampening != 0, "has_momentum": part[2] is not None,
        "nesterov": nesterov, "has_decay": weight_decay != 0, "maximizes": maximize,
    }  # fmt: skip
    return flags, (momentum, dampening, weight_decay, 0)


def _adam(part, *, beta1, beta2, epsilon, weight_decay, decoupled, maximize):
    flags = {
        "moves": 2, "counts": True, "has_decay": weight_decay != 0, "decoupled": decoupled,
        "has_largest": part[4] is not None, "maximizes": maximize,
    }  # fmt: skip
    return flags, (beta1, beta2, epsilon, weight_decay)


for _whole, _op in UPDATES.items():
    _when, _made = _updates(_op)
    _whole.kernel(CUDA, when=_when, made=True)(_made)
