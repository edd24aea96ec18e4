"""A chain of layers as one op, and a training step of it as two kernels.

`layers` describes the chain (see `stages`); the inputs are x, then weight and bias of each layer
that has them. Shapes: x (N, C, H, W) or (N, I), y (N, O) or (N, C, H, W); filters (O, C, R, S),
dense weights (I, O), biases (O,).

`chain_step` is the first kernel: forward, mean cross entropy, and backward for each sample. What
it leaves, in one array, is summed over the batch by the second, `chain_gradients`; or at once
taken as the step of an optimizer, by `chain_sgd_updates` and `chain_adam_updates`, with the same
bits. In bf16 the products of the first kernel run on tensor cores, and values are rounded between
layers, as they are layer by layer.
"""

from __future__ import annotations

from ...backends import CUDA, CUPY, NUMPY
from ...errors import ShapeError
from ...op import Op
from ..conv2 import conv2
from ..elementwise import relu, sigmoid
from ..linear import linear
from ..loss import cross_entropy_loss_outline
from ..pool2 import max_pool2, mean_pool2
from ..shape import reshape
from ..transcendental import tanh
from ..update import adam_update, sgd_update
from ..update.together import TOGETHER
from .stages import sizes

chain = Op("chain", "*arrays")
chain_back = Op("chain_back", "*arrays", outputs="dx dparameters", promotes="")
chain_step = Op("chain_step", "*arrays", outputs="y left dx", promotes="")
chain_gradients = Op("chain_gradients", "*arrays", outputs="loss dparameters", promotes="")


def _updates(op):
    """The op that moves up to TOGETHER parameters by what a first kernel has left."""
    names = [name for name in op.inputs if name not in ("rate", "dw")]
    moving = [f"{name}{i}?" for i in range(TOGETHER) for name in names]
    writes = [f"{name}{i}" for i in range(TOGETHER) for name in names if name in op.writes]
    return Op(
        f"chain_{op.name}s", f"x left rate {' '.join(moving)}", writes=" ".join(writes),
        outputs="loss", promotes="",
    )  # fmt: skip


chain_sgd_updates, chain_adam_updates = _updates(sgd_update), _updates(adam_update)
UPDATES = {chain_sgd_updates: sgd_update, chain_adam_updates: adam_update}

for _op in (chain, chain_back, chain_step, chain_gradients, *UPDATES):
    _op.kernels_from(NUMPY, ".composed")
    _op.kernels_from(CUDA, ".cuda_kernels")
for _op in (chain, chain_back):
    _op.kernels_from(CUPY, ".composed")


@chain.outlined_by
def chain_outline(x, *parameters, layers):
    shapes = list(sizes(layers, x.shape[1:], [each.shape for each in parameters]))
    return x.like(shape=(x.shape[0], *shapes[-1]))


@chain_back.outlined_by
def chain_back_outline(dy, x, *parameters, layers, has_dx):
    y = chain_outline(x, *parameters, layers=layers)
    if dy.shape != y.shape:
        raise ShapeError(f"chain_back: dy is not like y\n  dy  {dy.shape}\n  y   {y.shape}")
    return (*[x.like()][:has_dx], *[each.like() for each in parameters])


@chain_step.outlined_by
def chain_step_outline(x, target, *parameters, layers, has_dx):
    y = chain_outline(x, *parameters, layers=layers)
    cross_entropy_loss_outline(y, target)
    left = x.like(shape=(1,), scalar_type=x.scalar_type.accumulator)
    return (y, left, x.like()) if has_dx else (y, left)


@chain_gradients.outlined_by
def chain_gradients_outline(x, left, *parameters, layers, has_dx):
    return (x.like(shape=()), *[each.like() for each in parameters])


@chain_sgd_updates.outlined_by
def chain_sgd_updates_outline(
    x, left, rate, *moving, layers, has_dx,
    momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0, maximize=False,
):  # fmt: skip
    return x.like(shape=())


@chain_adam_updates.outlined_by
def chain_adam_updates_outline(
    x, left, rate, *moving, layers, has_dx,
    beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0, decoupled=False, maximize=False,
):  # fmt: skip
    return x.like(shape=())


@chain.composed_by
def chain_parts(x, *parameters, layers):
    """The layers one after the other."""
    return run_parts(x, parameters, layers, lambda op, *given, **settings: op(*given, **settings))


def run_parts(x, parameters, layers, run):
    """The same by `run(op, *inputs, **settings)`."""
    given = iter(parameters)
    for kind, *settings in layers:
        if kind == "conv2":
            stride, padding, biased = settings
            weight, bias = next(given), next(given) if biased else None
            x = run(conv2, x, weight, bias, stride=stride, padding=padding)
        elif kind == "linear":
            weight, bias = next(given), next(given) if settings[0] else None
            x = run(linear, x, weight, bias)
        elif kind == "flatten":
            x = run(reshape, x, shape=(x.shape[0], -1))
        elif kind in _POOLS:
            x = run(_POOLS[kind], x, filter=settings[0], stride=settings[1])
        else:
            x = run(_ACTIVATIONS[kind], x)
    return x


_POOLS = {"max_pool2": max_pool2, "mean_pool2": mean_pool2}
_ACTIVATIONS = {"relu": relu, "tanh": tanh, "sigmoid": sigmoid}


@chain.gradient("*arrays")
def chain_gradient(y, *arrays, layers, needs):
    """The forward is computed again by the kernel that goes backward: nothing is kept of it."""
    if needs[0]:
        return lambda dy: chain_back(dy, *arrays, layers=layers, has_dx=True)
    return lambda dy: (None, *chain_back(dy, *arrays, layers=layers, has_dx=False))


# -- samples ---------------------------------------------------------------------------------

SAMPLES = (
    (
        (3, 1, 8, 8),
        (
            ("conv2", (1, 1), (0, 0), False), ("relu",), ("max_pool2", (2, 2), (2, 2)),
            ("flatten",), ("linear", False), ("relu",), ("linear", True),
        ),
        ((2, 1, 3, 3), (18, 4), (4, 3), (3,)),
    ),
    (
        (2, 2, 7, 6),
        (
            ("conv2", (1, 2), (1, 0), True), ("tanh",), ("mean_pool2", (2, 2), (1, 1)),
            ("sigmoid",),
        ),
        ((3, 2, 2, 2), (3,)),
    ),
    ((2, 5), (("linear", True), ("relu",), ("linear", False)), ((5, 4), (4,), (4, 3))),
)  # fmt: skip


@chain.sampled_by
def chain_samples(rng):
    for shape, layers, parameters in SAMPLES:
        arrays = [rng.normal(size=each) for each in (shape, *parameters)]
        yield tuple(arrays), {"layers": layers}


@chain_back.sampled_by
def chain_back_samples(rng):
    for (x, *parameters), settings in chain_samples(rng):
        y = chain_parts(x, *parameters, **settings)
        yield (rng.normal(size=y.shape), x, *parameters), settings | {"has_dx": True}
