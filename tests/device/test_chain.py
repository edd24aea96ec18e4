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
from autograph.ops.chain import SAMPLES, chain, chain_back, chain_parts, chain_step, run_parts
from autograph.optim import SGD, Adam
from autograph.outline import Outline
from autograph.scalar_type import BF16, F32
from autograph.tensor import Parameter, deferred
from autograph.tensor.deferred import Pending
from autograph.tensor.state import state
from examples.mnist.lenet5 import LeNet5

from . import simulated


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

compiles = pytest.mark.skipif(not nvrtc.available(), reason="nvidia-cuda-nvrtc is not installed")


def chain_of(model: Any) -> Chain:
    (found,) = runs_of(model)
    return found


# -- planned and compiled --------------------------------------------------------------------


def kernels_of(model: Any, x: Outline, heads: Any) -> Any:
    """(text, kernel, constants) of everything that a chain launches."""
    from autograph.ops.chain.configure import first_for
    from autograph.ops.chain.cuda_kernels import first_text, second_text

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
        ("lenet", BF16, 1000, 90, "g"),
        ("perceptron", F32, 300, 80, "slg"),
        ("overlapping", F32, 1000, 100, "l"),
        ("strided", F32, 5, 90, "g"),
        ("odd", BF16, 300, 90, "lg"),
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
}  # fmt: skip


@pytest.mark.skipif(not simulated.available(), reason="there is no g++")
@pytest.mark.parametrize("name", SIMULATED)
@pytest.mark.parametrize(("head", "block"), [("loss", (1, 128)), ("gradient", (2, 96))])
def test_kernels_agree_with_numpy_and_with_any_order_of_threads(name, head, block, tmp_path):
    shape, layers, shapes = SIMULATED[name]
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape).astype("f4")
    fans = [np.prod(each[1:]) if len(each) == 4 else each[0] for each in shapes]
    parameters = [
        (rng.standard_normal(each) / np.sqrt(fan)).astype("f4")
        for each, fan in zip(shapes, fans, strict=True)
    ]
    wide = [each.astype("f8") for each in parameters]
    y8 = chain_parts(x.astype("f8"), *wide, layers=layers)
    if head == "loss":
        given = rng.integers(0, y8.shape[1], len(x))
        _, left = chain_step(x.astype("f8"), given, *wide, layers=layers, has_dx=False)
        expected = [y8, None, left[:1], left[1:]]
    else:
        given = rng.standard_normal(y8.shape).astype("f4")
        dx, *rest = chain_back(
            given.astype("f8"), x.astype("f8"), *wide, layers=layers, has_dx=True
        )
        expected = [None, dx, None, np.concatenate([each.ravel() for each in rest])]
    runs = []
    for reverse in (False, True):
        y, dx, (loss, *gradients) = simulated.simulate(
            tmp_path, layers, x, parameters, head, given, block, reverse
        )
        flat = np.concatenate([each.ravel() for each in gradients])
        runs.append([y, dx, loss, flat])
        for found, wanted in zip(runs[-1], expected, strict=True):
            if wanted is not None:
                assert error(found, wanted.reshape(found.shape)) < 1e-6
    for a, b in zip(*runs, strict=True):
        assert a is None or a.tobytes() == b.tobytes()


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
TOLERANCE = {F32: 1e-6, BF16: 2e-2}


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
    y, left, dx = chain_step(
        x.astype("f8"), target, *numbers, layers=found.kinds, has_dx=True
    )
    t = Tensor(target, device=DEVICE)
    return model, Tensor(x, device=DEVICE), t, (y, left[0], left[1:], dx)


def flat(model: Any) -> Any:
    parts = [w.grad.numpy().astype("f8").ravel() for w in model.parameters()]
    return np.concatenate(parts)


def error(found: Any, expected: Any) -> float:
    found = found.numpy() if isinstance(found, Tensor) else found
    return float(np.linalg.norm(found.astype("f8") - expected) / np.linalg.norm(expected))


@pytest.mark.device
@pytest.mark.parametrize("scalar_type", [F32, BF16], ids=str)
@pytest.mark.parametrize("samples", [1, 37, 300, 1000])
@pytest.mark.parametrize("name", NETS)
def test_a_step_agrees_with_float64(name, samples, scalar_type):
    model, x, t, (y8, loss8, gradients8, dx8) = step_of(name, scalar_type, samples)
    limit = TOLERANCE[scalar_type]
    runs = []
    for _ in range(2):
        y = model(x)
        loss = y.cross_entropy_loss(t)
        assert (type(y), type(loss)) == (Pending, Pending)
        loss.backward()
        assert error(y, y8) < limit
        assert abs(loss.item() - loss8) < limit * abs(loss8)
        assert error(flat(model), gradients8) < limit
        runs.append([y.numpy().tobytes(), loss.numpy().tobytes(), flat(model).tobytes()])
        for w in model.parameters():
            w.grad = None
    assert runs[0] == runs[1]

    x.requires_grad = True
    model(x).cross_entropy_loss(t).backward()
    assert error(x.grad, dx8) < limit
    assert error(flat(model), gradients8) < limit
    x.requires_grad = False
    for w in model.parameters():
        w.grad = None
    y = model(x)
    y.numpy()
    y.cross_entropy_loss(t).backward()  # somebody looked: the gradient of y is given
    assert error(flat(model), gradients8) < limit
    with no_grad():
        y = model(x)
    assert type(y) is Tensor
    assert error(y, y8) < limit


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
