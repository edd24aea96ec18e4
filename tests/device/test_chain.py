"""Chains of layers: planned and compiled anywhere, deferred on any device, run on a CUDA device."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import Tensor, no_grad, ops
from autograph.backends.cuda import nvrtc
from autograph.backends.cuda.compile import compile_kernel
from autograph.device import HOST
from autograph.errors import GraphError, ShapeError
from autograph.layers import (
    Conv2,
    Dense,
    Flatten,
    Layer,
    MaxPool2,
    MeanPool2,
    Relu,
    Sigmoid,
    Tanh,
    sequential,
)
from autograph.layers.declare import runs_of
from autograph.layers.fusion import Chain, why_not_fused
from autograph.ops.chain import (
    SAMPLES,
    chain,
    chain_back,
    chain_parts,
    chain_step,
    cuda_kernels,
    run_parts,
)
from autograph.ops.chain.configure import first_for
from autograph.ops.chain.cuda_kernels import first_text, second_text
from autograph.ops.chain.matrix import Matrix
from autograph.ops.chain.scalar import Scalar
from autograph.optim import SGD, Adam
from autograph.outline import Outline
from autograph.scalar_type import BF16, F32
from autograph.tensor import Parameter, deferred
from autograph.tensor.deferred import Pending
from autograph.tensor.state import state
from examples.mnist.lenet5 import LeNet5

from . import host_cupy, simulated


@sequential(input=(784,))
class Perceptron(Layer):
    dense1: Dense = Dense.builder(outputs=256, bias=True)
    relu1: Relu
    dense2: Dense = Dense.builder(outputs=128, bias=True)
    tanh2: Tanh
    dense3: Dense = Dense.builder(outputs=10, bias=True)


@sequential(input=(1, 17, 17))
class Overlapping(Layer):
    conv1: Conv2 = Conv2.builder(outputs=8, filter=3, padding=1, bias=True)
    relu1: Relu
    conv2: Conv2 = Conv2.builder(outputs=8, filter=3)
    relu2: Relu
    pool2: MaxPool2 = MaxPool2.builder(filter=3, stride=2)
    flatten: Flatten
    dense: Dense = Dense.builder(outputs=10, bias=True)


@sequential(input=(3, 31, 31))
class Strided(Layer):
    conv: Conv2 = Conv2.builder(outputs=24, filter=5, stride=2)
    relu: Relu
    pool: MeanPool2 = MeanPool2.builder(filter=2)
    flatten: Flatten
    dense: Dense = Dense.builder(outputs=10, bias=True)


@sequential(input=(2, 20, 23))
class Odd(Layer):
    conv1: Conv2 = Conv2.builder(outputs=5, filter=4, padding=2, bias=True)
    pool1: MeanPool2 = MeanPool2.builder(filter=3, stride=2)
    relu1: Relu
    conv2: Conv2 = Conv2.builder(outputs=7, filter=3, stride=2, padding=1, bias=True)
    tanh: Tanh
    pool2: MaxPool2 = MaxPool2.builder(filter=2)
    flatten: Flatten
    dense1: Dense = Dense.builder(outputs=33, bias=True)
    sigmoid: Sigmoid
    dense2: Dense = Dense.builder(outputs=7)


@sequential(input=(3, 32, 32))
class Deep(Layer):
    conv1: Conv2 = Conv2.builder(outputs=16, filter=3, padding=1, bias=True)
    relu1: Relu
    pool1: MaxPool2 = MaxPool2.builder(filter=2)
    conv2: Conv2 = Conv2.builder(outputs=16, filter=3, padding=1, bias=True)
    relu2: Relu
    pool2: MaxPool2 = MaxPool2.builder(filter=2)
    conv3: Conv2 = Conv2.builder(outputs=16, filter=3, padding=1, bias=True)
    relu3: Relu
    pool3: MaxPool2 = MaxPool2.builder(filter=2)
    flatten: Flatten
    dense: Dense = Dense.builder(outputs=10, bias=True)


NETS = {
    "lenet": (LeNet5, (1, 28, 28)),
    "perceptron": (Perceptron, (784,)),
    "overlapping": (Overlapping, (1, 17, 17)),
    "strided": (Strided, (3, 31, 31)),
    "odd": (Odd, (2, 20, 23)),
    "deep": (Deep, (3, 32, 32)),
}

simulates = pytest.mark.skipif(bool(host_cupy.missing()), reason=host_cupy.missing())
compiles = pytest.mark.skipif(not nvrtc.available(), reason="nvidia-cuda-nvrtc is not installed")


def chain_of(model: Any) -> Chain:
    (found,) = runs_of(model)
    return found


# -- planned and compiled --------------------------------------------------------------------


def kernels_of(model: Any, x: Outline, heads: Any) -> Any:
    """(text, kernel, constants) of everything that a chain launches."""
    found = chain_of(model)
    outlines = [each.outline for each in found.parameters()]
    for head, has_dx in heads:
        first = first_for(x, outlines, found.kinds, head, has_dx)
        scalar = "float" if x.scalar_type is F32 else "bf16"
        yield first_text(first, scalar), "first", {"Target": "int64", "blocks": 1}
        if head == "loss":
            flags = dict.fromkeys(
                ("nesterov", "maximizes", "decoupled", "has_largest", "has_decay"), False
            )
            for moves, states in ((0, 0), (1, 1), (2, 3)):
                constants = {
                    "count": len(outlines), "moves": moves, "states": states, "counts": moves == 2,
                    "has_master": x.scalar_type is BF16 and moves > 0, "has_momentum": True,
                }  # fmt: skip
                yield second_text(first, scalar), "second", constants | flags


@compiles
@pytest.mark.parametrize(
    ("name", "scalar_type", "samples", "architecture", "heads"),
    [  # heads: scores, loss, gradient
        ("lenet", F32, 100, 90, "sl"),
        ("lenet", BF16, 100, 90, "sl"),
        ("overlapping", BF16, 1000, 80, "g"),
        ("perceptron", F32, 300, 80, "slg"),
        ("overlapping", F32, 1000, 100, "l"),
        ("strided", F32, 5, 90, "g"),
        ("odd", BF16, 300, 100, "lg"),
    ],
)
def test_every_kernel_compiles(name, scalar_type, samples, architecture, heads):
    net, shape = NETS[name]
    known = [("scores", False), ("loss", False), ("gradient", True)]
    heads = [each for each in known if each[0][0] in heads]
    x = Outline((samples, *shape), scalar_type)
    for text, kernel, constants in kernels_of(net.build(scalar_type=scalar_type), x, heads):
        assert compile_kernel(text, kernel, constants, architecture)[1][:4] == b"\x7fELF"


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("samples", [1, 100, 300, 1000])
def test_the_nets_are_one_op(name, samples):
    net, shape = NETS[name]

    assert why_not_fused(net.build(), (samples, *shape)) is None
    assert why_not_fused(net.build(), (samples, *shape), training=False) is None


@pytest.mark.parametrize("head", ["scores", "loss"])
@pytest.mark.parametrize("name", NETS)
def test_nets_of_bf16_run_on_tensor_cores(name, head):
    net, shape = NETS[name]
    for scalar_type, kind in ((F32, Scalar), (BF16, Matrix)):
        model = net.build(scalar_type=scalar_type)
        found = chain_of(model)
        outlines = [each.outline for each in found.parameters()]
        for samples in (1, 100, 1000):
            x = Outline((samples, *shape), scalar_type)
            assert type(first_for(x, outlines, found.kinds, head, False)) is kind


def test_what_is_not_fused_says_why():
    @sequential(input=(1, 8, 8))
    class Grouped(Layer):
        conv: Conv2 = Conv2.builder(outputs=4, filter=3, dilation=2)
        flatten: Flatten

    @sequential(input=(4096,))
    class Wide(Layer):
        dense1: Dense = Dense.builder(outputs=4096)
        relu: Relu
        dense2: Dense = Dense.builder(outputs=10)

    @sequential(input=(64, 32, 32))
    class Large(Layer):
        conv1: Conv2 = Conv2.builder(outputs=64, filter=3, padding=1)
        relu: Relu
        conv2: Conv2 = Conv2.builder(outputs=64, filter=3, padding=1)

    frozen = LeNet5.build()
    frozen.conv1.freeze()

    assert why_not_fused(Grouped.build(), (5, 1, 8, 8)) == "conv: it has groups or a dilation"
    assert "every block reads" in str(why_not_fused(Wide.build(), (5, 4096)))
    assert "bytes of shared memory" in str(why_not_fused(Large.build(), (5, 64, 32, 32)))
    assert why_not_fused(frozen, (5, 1, 28, 28)) == "some of its parameters are frozen"
    assert why_not_fused(frozen, (5, 1, 28, 28), training=False) is None
    assert why_not_fused(LeNet5.build(), (5, 784)) == "x has the shape (5, 784)"
    assert "f16" in str(why_not_fused(LeNet5.build(scalar_type="f16"), (5, 1, 28, 28)))
    with frozen.on_forward("relu1", lambda path, y: None):
        assert why_not_fused(frozen, (5, 1, 28, 28)) == "relu1: somebody watches what it answers"


# -- simulated: the kernels on the host ------------------------------------------------------

POOL, OVERLAP = ("max_pool2", (2, 2), (2, 2)), ("max_pool2", (3, 3), (1, 1))
SIMULATED = {
    "pooled": (
        (3, 2, 8, 8),
        (
            ("conv2", (1, 1), (1, 1), False), ("relu",), POOL, ("relu",),
            ("conv2", (1, 1), (1, 1), False), OVERLAP, ("relu",), ("flatten",),
            ("linear", False), ("tanh",), ("linear", True),
        ),
        ((4, 2, 3, 3), (4, 4, 3, 3), (16, 6), (6, 4), (4,)),
    ),
    "strided": (
        (3, 2, 13, 11),
        (
            ("conv2", (3, 3), (2, 2), True), ("sigmoid",), ("mean_pool2", (2, 2), (1, 1)),
            ("conv2", (2, 2), (1, 1), False), ("relu",), ("flatten",), ("linear", True),
        ),
        ((5, 2, 3, 3), (5,), (6, 5, 3, 3), (24, 7), (7,)),
    ),
    "thin": (
        (3, 3, 9, 8),
        (
            ("conv2", (2, 1), (1, 0), False), ("tanh",), ("conv2", (1, 1), (1, 2), True),
            ("conv2", (1, 2), (0, 0), False), ("sigmoid",), ("flatten",), ("linear", True),
            ("tanh",), ("linear", False),
        ),
        ((1, 3, 3, 2), (4, 1, 3, 4), (4,), (9, 4, 2, 3), (108, 5), (5,), (5, 3)),
    ),
}  # fmt: skip


@simulates
@pytest.mark.parametrize("name", SIMULATED)
@pytest.mark.parametrize(
    ("scalar_type", "head", "block", "resident"),
    [
        (F32, "loss", (1, 128), True),
        (F32, "gradient", (2, 96), True),
        (BF16, "loss", (1, 128), False),
        (BF16, "gradient", (8, 96), True),
    ],
)
def test_kernels_agree_with_numpy_and_with_any_order_of_threads(
    name, scalar_type, head, block, resident, monkeypatch
):
    shape, layers, shapes = SIMULATED[name]
    rng, dtype = np.random.default_rng(1), scalar_type.dtype
    x = rng.standard_normal(shape).astype(dtype)
    fans = [np.prod(each[1:]) if len(each) == 4 else each[0] for each in shapes]
    parameters = [
        (rng.standard_normal(each) / np.sqrt(fan)).astype(dtype)
        for each, fan in zip(shapes, fans, strict=True)
    ]
    wide = [each.astype("f8") for each in parameters]
    y8 = chain_parts(x.astype("f8"), *wide, layers=layers)
    if head == "loss":
        given = rng.integers(0, y8.shape[1], len(x))
        _, left = chain_step(x.astype("f8"), given, *wide, layers=layers, has_dx=False)
        expected = [y8, None, left[:1], left[1:]]
    else:
        given = rng.standard_normal(y8.shape).astype(dtype)
        dx, *rest = chain_back(
            given.astype("f8"), x.astype("f8"), *wide, layers=layers, has_dx=True
        )
        expected = [None, dx, None, np.concatenate([each.ravel() for each in rest])]
    monkeypatch.setattr(host_cupy, "orders", (0, 1, 2, 7))
    y, dx, (loss, *gradients) = simulated.simulate(
        layers, x, parameters, head, given, block, resident
    )
    flat = np.concatenate([each.ravel() for each in gradients])
    for found, wanted in zip((y, dx, loss, flat), expected, strict=True):
        if wanted is not None:
            limit = 1e-6 if scalar_type is F32 else 1e-2
            assert error(found, wanted.reshape(found.shape)) < limit


@simulates
@pytest.mark.parametrize("scalar_type", [F32, BF16], ids=str)
@pytest.mark.parametrize("op", [ops.sgd_update, ops.adam_update], ids=str)
def test_kernels_move_parameters_as_the_op_does(op, scalar_type):
    shape, layers, shapes = SIMULATED["pooled"]
    rng, dtype = np.random.default_rng(2), scalar_type.dtype
    x, target = rng.standard_normal(shape).astype(dtype), rng.integers(0, 4, shape[0])
    parameters = [rng.standard_normal(each).astype(dtype) for each in shapes]
    given = layers, x, parameters, "loss", target, (2, 64)
    _, _, (loss, *gradients) = simulated.simulate(*given)
    if op is ops.sgd_update:
        settings = {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1, "nesterov": False}
        part, states, make = [0, 0, 0], 1, cuda_kernels._sgd
    else:
        settings = {
            "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8, "weight_decay": 0.1, "decoupled": True
        }  # fmt: skip
        part, states, make = [0, 0, 0, 0, 0], 3, cuda_kernels._adam
    settings["maximize"] = False
    constants, numbers = make(part, **settings)
    constants |= {"states": states, "has_master": scalar_type is BF16}
    moving = [
        [
            w, np.array(3), *[rng.random(w.shape).astype("f4") for _ in range(states)],
            rng.standard_normal(w.shape).astype("f4") if scalar_type is BF16 else None,
        ]
        for w in parameters
    ]  # fmt: skip
    update = simulated.Update(constants, numbers, np.array(0.1), moving)
    _, _, (again, *moved) = simulated.simulate(*given, update=update)

    assert again.tobytes() == loss.tobytes()
    for (w, step, *rest), dw in zip(moving, gradients, strict=True):
        w = w.copy()
        op(w, dw, step, np.array(0.1), *rest, **settings)
        for expected in (w, step, *rest):
            if expected is not None:
                found = moved.pop(0)
                np.testing.assert_allclose(
                    found.astype("f8"), expected.astype("f8"), rtol=1e-5, atol=1e-6
                )


@simulates
@pytest.mark.parametrize("scalar_type", [F32, BF16], ids=str)
def test_what_is_no_number_reaches_the_windows_it_stands_in_alone(scalar_type):
    layers = (("conv2", (1, 1), (0, 0), True), POOL, ("relu",), ("conv2", (1, 1), (1, 1), False))
    rng, dtype = np.random.default_rng(0), scalar_type.dtype
    x = rng.standard_normal((3, 1, 17, 15)).astype(dtype)
    parameters = [
        rng.standard_normal(each).astype(dtype) for each in ((6, 1, 4, 5), (6,), (3, 6, 3, 3))
    ]
    x[0, 0, 6, 4], x[1, 0, 9, 12], x[2, 0, 0, 0] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        expected = chain_parts(x.astype("f4"), *[w.astype("f4") for w in parameters], layers=layers)
    found, _, _ = simulated.simulate(layers, x, parameters, "scores", np.zeros(3, int), (2, 64))
    found = found.reshape(expected.shape).astype("f4")

    assert np.isnan(expected).any()
    assert np.isfinite(expected).any()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(np.isposinf(found), np.isposinf(expected))


# -- deferred: on the host, where ops run by their parts --------------------------------------


@pytest.fixture
def on_host(monkeypatch):
    monkeypatch.setattr(deferred, "KINDS", {HOST.kind})


def small() -> tuple[Tensor, Tensor, list[Parameter], Any]:
    """x, target and parameters of a chain, and its layers."""
    rng = np.random.default_rng(0)
    shape, layers, shapes = SAMPLES[0]
    x, target = Tensor(rng.normal(size=shape)), Tensor(np.array([0, 2, 1]))
    return x, target, [Parameter(rng.normal(size=each)) for each in shapes], layers


def trained(look: str = "", optimizer: Any = None) -> Any:
    """Everything that comes out of three steps, and what stood there meanwhile."""
    x, target, parameters, layers = small()
    seen: list[Any] = []
    for _ in range(3):
        y = chain(x, *parameters, layers=layers)
        seen += [y.numpy()] if look == "y" else []
        loss = y.cross_entropy_loss(target)
        seen += [loss.numpy()] if look == "loss" else []
        kinds = type(y), type(loss)
        loss.backward()
        seen += [w.grad.numpy() for w in parameters] if look == "gradient" else []
        if optimizer is not None:
            optimizer.update({str(i): w for i, w in enumerate(parameters)})
        seen += [y.numpy(), loss.numpy()]
    gradients = [w.grad.numpy() for w in parameters if w.grad is not None]
    return kinds, [*seen, *gradients, *[w.numpy() for w in parameters]]


@pytest.mark.parametrize(
    "optimizer",
    [
        None,
        SGD(learning_rate=0.1, momentum=0.9, nesterov=True),
        Adam(learning_rate=0.01),
        SGD(learning_rate=0.1, clip_norm=0.1),
    ],
    ids=["none", "sgd", "adam", "clipped"],
)
@pytest.mark.parametrize("look", ["", "y", "loss", "gradient"])
def test_a_deferred_step_is_the_step(look, optimizer, on_host, monkeypatch):
    monkeypatch.setattr(state, "deferring", False)
    _, expected = trained(look, copy.deepcopy(optimizer))
    monkeypatch.setattr(state, "deferring", True)
    kinds, found = trained(look, copy.deepcopy(optimizer))

    assert kinds == ((Tensor, Tensor) if look in ("y", "loss") else (Pending, Pending))
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_pending_value_is_of_the_moment_it_was_asked_for(on_host):
    x, _, parameters, layers = small()
    with no_grad():
        expected = chain(x, *parameters, layers=layers).numpy()
    y = chain(x, *parameters, layers=layers)
    with no_grad():
        parameters[0][...] = 0.0

    assert type(y) is Tensor
    np.testing.assert_array_equal(y.numpy(), expected)
    with pytest.raises(GraphError, match="of chain was written after the forward"):
        y.sum().backward()


def test_a_pending_value_outlives_the_array_of_a_parameter(on_host):
    x, _, parameters, layers = small()
    with no_grad():
        expected = chain(x, *parameters, layers=layers).numpy()
    model = Dense(weight=parameters[1], bias=None)
    y = chain(x, *parameters, layers=layers)
    model.cast("f32")

    np.testing.assert_array_equal(y.numpy(), expected)
    with pytest.raises(GraphError, match="of chain was written after the forward"):
        y.sum().backward()


def test_a_graph_that_was_walked_jointly_is_used_up(on_host):
    x, target, parameters, layers = small()
    y = chain(x, *parameters, layers=layers)
    loss = y.cross_entropy_loss(target)
    loss.backward()

    for again in (y.sum, loss.backward, lambda: y.cross_entropy_loss(target)):
        with pytest.raises(GraphError, match="backward has"):
            again()
    assert not loss.requires_grad


def test_gradients_add_up_and_reach_x_and_y(on_host, monkeypatch):
    def twice():
        x, target, parameters, layers = small()
        x.requires_grad = True
        for _ in range(2):
            chain(x, *parameters, layers=layers).cross_entropy_loss(target).backward()
        y = chain(x * 2, *parameters, layers=layers)
        y.cross_entropy_loss(target).backward()
        y = chain(x, *parameters, layers=layers)
        found = ag.grad(y.cross_entropy_loss(target), [y, parameters[0]])
        return [each.numpy() for each in (x.grad, parameters[0].grad, *found)]

    found = twice()
    monkeypatch.setattr(state, "deferring", False)
    for a, b in zip(found, twice(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_what_does_not_fit_is_refused_at_its_line(on_host):
    x, _, parameters, layers = small()
    y = chain(x, *parameters, layers=layers)

    with pytest.raises(ShapeError, match="one class index for each row"):
        y.cross_entropy_loss(Tensor([1, 2]))
    with pytest.raises(ShapeError, match="linear takes 18 inputs"):
        chain(x[:, :, :6], *parameters, layers=layers)


def test_a_pending_tensor_is_copied_and_shown_as_its_value(on_host):
    x, _, parameters, layers = small()
    y = chain(x, *parameters, layers=layers)
    assert type(y) is Pending
    assert repr(y).startswith("Tensor(host f64 (3, 3)")
    w = Parameter(np.ones(2))
    for copied in (pickle.loads(pickle.dumps(y.detach())), copy.deepcopy(y.detach())):
        np.testing.assert_array_equal(copied.numpy(), y.numpy())
    assert w.grad is None


# -- on a device -----------------------------------------------------------------------------

DEVICE = "cuda:0"


class Smooth:
    """Runs a chain in float64 and finds samples that stand near a kink of relu or max pool."""

    def __init__(self, samples: int) -> None:
        self.near = np.zeros(samples, bool)

    def run(self, op: Any, x: Any, *rest: Any, **settings: Any) -> Any:
        y = op(x, *rest, **settings)
        axes = tuple(range(1, x.ndim))
        if op is ops.relu:
            self.near |= (np.abs(x) < 3e-6).any(axis=axes)
        if op is ops.max_pool2:
            nudged = op(np.where(_is_largest(x, y, settings), x - 3e-6, x), **settings)
            self.near |= (nudged > y - 2.5e-6).any(axis=axes)
        return y


def _is_largest(x: Any, y: Any, settings: Any) -> Any:
    (kh, kw), (sy, sx) = settings["filter"], settings["stride"]
    found = np.zeros(x.shape, bool)
    for i in range(kh):
        for j in range(kw):
            seen = (..., slice(i, i + sy * (y.shape[2] - 1) + 1, sy),
                    slice(j, j + sx * (y.shape[3] - 1) + 1, sx))  # fmt: skip
            found[seen] |= x[seen] == y
    return found


def step_of(name: str, scalar_type: Any, samples: int) -> Any:
    """A model on the device, a batch for it, and loss and gradients in float64."""
    net, shape = NETS[name]
    rng = np.random.default_rng(samples)
    model = net.build(device=DEVICE, scalar_type=scalar_type, seed=1)
    found = chain_of(model)
    numbers = [w.numpy().astype("f8") for w in found.parameters()]
    x = rng.standard_normal((samples, *shape)).astype("f4").astype(scalar_type.dtype)
    for _ in range(20 if scalar_type is F32 else 0):
        smooth = Smooth(samples)
        run_parts(x.astype("f8"), numbers, found.kinds, smooth.run)
        if not smooth.near.any():
            break
        x[smooth.near] = rng.standard_normal((smooth.near.sum(), *shape)).astype("f4")
    classes = 7 if name == "odd" else 10
    target = rng.integers(0, classes, samples)
    y, left, dx = chain_step(x.astype("f8"), target, *numbers, layers=found.kinds, has_dx=True)
    t = Tensor(target, device=DEVICE)
    return model, Tensor(x, device=DEVICE), t, (y, left[0], left[1:], dx)


def flat(model: Any) -> Any:
    parts = [w.grad.numpy().astype("f8").ravel() for w in model.parameters()]
    return np.concatenate(parts)


def error(found: Any, expected: Any) -> float:
    found = found.numpy() if isinstance(found, Tensor) else found
    return float(np.linalg.norm(found.astype("f8") - expected) / np.linalg.norm(expected))


def limits(model: Any, x: Any, t: Any, truth: Any) -> list[float]:
    """How far y, loss, gradients and dx may be from the truth. In bf16 a value near a kink of relu
    or max pool falls to the other side where it is rounded, by any road: so about as far as the
    layers one by one, which round in the same places."""
    if model.scalar_type is F32:
        return [1e-6] * 4
    x.requires_grad, y = True, x
    for run in chain_of(model).apart:
        y = run(y)
    loss = y.cross_entropy_loss(t)
    loss.backward()
    found = y, loss, flat(model), x.grad
    x.requires_grad, x.grad = False, None
    for w in model.parameters():
        w.grad = None
    return [max(1e-2, 1.5 * error(a, b)) for a, b in zip(found, truth, strict=True)]


@pytest.mark.device
@pytest.mark.parametrize("scalar_type", [F32, BF16], ids=str)
@pytest.mark.parametrize("samples", [1, 37, 300, 1000])
@pytest.mark.parametrize("name", NETS)
def test_a_step_agrees_with_float64(name, samples, scalar_type):
    model, x, t, truth = step_of(name, scalar_type, samples)
    y8, loss8, gradients8, dx8 = truth
    of_y, of_loss, of_gradients, of_dx = limits(model, x, t, truth)
    runs = []
    for _ in range(2):
        y = model(x)
        loss = y.cross_entropy_loss(t)
        assert (type(y), type(loss)) == (Pending, Pending)
        loss.backward()
        assert error(y, y8) < of_y
        assert error(loss, loss8) < of_loss
        assert error(flat(model), gradients8) < of_gradients
        runs.append([y.numpy().tobytes(), loss.numpy().tobytes(), flat(model).tobytes()])
        for w in model.parameters():
            w.grad = None
    assert runs[0] == runs[1]

    x.requires_grad = True
    model(x).cross_entropy_loss(t).backward()
    assert error(x.grad, dx8) < of_dx
    assert error(flat(model), gradients8) < of_gradients
    x.requires_grad = False
    for w in model.parameters():
        w.grad = None
    y = model(x)
    y.numpy()
    y.cross_entropy_loss(t).backward()  # somebody looked: the gradient of y is given
    assert error(flat(model), gradients8) < of_gradients
    with no_grad():
        y = model(x)
    assert type(y) is Tensor
    assert error(y, y8) < of_y


@pytest.mark.device
@pytest.mark.parametrize("scalar_type", ["f32", "bf16"])
@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(learning_rate=0.1),
        SGD(learning_rate=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
        SGD(learning_rate=0.1, momentum=0.9, nesterov=True),
        Adam(learning_rate=0.01),
    ],
    ids=["plain", "momentum", "nesterov", "adam"],
)
def test_an_update_in_the_kernel_gives_the_bits_of_separate_ops(optimizer, scalar_type):
    def parameters(look: bool) -> Any:
        model = LeNet5.build(device=DEVICE, scalar_type=scalar_type, seed=0)
        own = copy.deepcopy(optimizer)
        rng = np.random.default_rng(0)
        x = Tensor(rng.random((100, 1, 28, 28), np.float32), device=DEVICE).cast(scalar_type)
        t = Tensor(np.arange(100) % 10, device=DEVICE)
        for _ in range(4):
            loss = model(x).cross_entropy_loss(t)
            loss.backward()
            if look:
                flat(model)
            model.update(own)
        return [w.numpy().astype("f4") for w in model.parameters()], loss.numpy()

    for a, b in zip(parameters(False)[0], parameters(True)[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert parameters(False)[1] == parameters(True)[1]


@pytest.mark.device
@pytest.mark.parametrize("scalar_type", ["f32", "bf16"])
def test_a_captured_step_gives_the_bits_of_an_eager_one(scalar_type, recwarn):
    def parameters(is_captured: bool) -> Any:
        model = LeNet5.build(device=DEVICE, scalar_type=scalar_type, seed=0)
        optimizer = SGD(learning_rate=0.1, momentum=0.9)
        rng = np.random.default_rng(0)
        x = Tensor(rng.random((100, 1, 28, 28), np.float32), device=DEVICE).cast(scalar_type)
        t = Tensor(np.arange(100) % 10, device=DEVICE)

        def step(x: Tensor, t: Tensor) -> Tensor:
            loss = model(x).cross_entropy_loss(t)
            loss.backward()
            model.update(optimizer)
            return loss

        run = ag.capture(step, optimizer=optimizer) if is_captured else step
        losses = [run(x, t).numpy() for _ in range(8)]
        if is_captured:
            assert "1 recordings" in repr(run)
        return [*losses, *[w.numpy() for w in model.parameters()]]

    for a, b in zip(parameters(True), parameters(False), strict=True):
        assert a.tobytes() == b.tobytes()
    assert not [each for each in recwarn if "capture" in str(each.message)]


@pytest.mark.device
def test_a_nan_passes_and_a_class_out_of_range_is_reported():
    model = LeNet5.build(device=DEVICE, seed=0)
    x = np.random.default_rng(0).random((4, 1, 28, 28), np.float32)
    x[1, 0, 14, 14] = np.nan
    y = model(Tensor(x, device=DEVICE)).numpy()
    apart = [x_ for x_ in y]

    assert np.isnan(apart[1]).all()
    assert np.isfinite(y[[0, 2, 3]]).all()
    x[1] = 0
    loss = model(Tensor(x, device=DEVICE)).cross_entropy_loss(
        Tensor(np.array([1, 2, 10, 3]), device=DEVICE)
    )
    loss.backward()
    with pytest.raises(ag.errors.IndexRangeError, match="position  2"):
        loss.numpy()
