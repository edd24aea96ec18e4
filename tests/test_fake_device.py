"""On a device that is not the host every op stays there, in both directions, and mixes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from autograph import Tensor, grad, no_grad
from autograph.backends import NUMPY, using
from autograph.device import Device
from autograph.errors import DeviceError
from autograph.op import Op
from autograph.scalar_type import ScalarType
from autograph.testing import all_ops, differentiable, samples_of

from .fake_device import FAKE, FakeArray, FakePlatform, fake_devices

SAMPLED = [op for op in all_ops() if op.samples is not None]
MOVING = {"transfer"}  # the device of the output is a setting


@pytest.fixture
def platform() -> Iterator[FakePlatform]:
    with fake_devices() as platform:
        yield platform


def on(device: str, arrays: tuple[Any, ...], wrt: list[int] | None = None) -> list[Any]:
    """Tensors of copies on a device."""
    return [
        Tensor(each, device=device, requires_grad=i in (wrt or ()))
        if isinstance(each, np.ndarray)
        else each
        for i, each in enumerate(arrays)
    ]


def tuple_of(value: Any) -> tuple[Any, ...]:
    return () if value is None else value if isinstance(value, tuple) else (value,)


def equal(a: Tensor, b: Tensor) -> None:
    """The same bits, one on the host and one on the device."""
    assert isinstance(b.array, FakeArray)
    assert a.outline.shape == b.outline.shape
    assert a.scalar_type is b.scalar_type
    np.testing.assert_array_equal(a.numpy(), b.array.inner)


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_an_op_stays_on_its_device(op: Op, platform: FakePlatform) -> None:
    for arrays, settings in samples_of(op):
        here = {"device": "host"} if op.name in MOVING else {}
        there = {"device": "fake:1"} if op.name in MOVING else {}
        host, device = on("host", arrays), on("fake:1", arrays)
        if not any(isinstance(each, Tensor) for each in device):
            continue
        with no_grad(), using(NUMPY, FAKE):
            expected = tuple_of(op(*host, **settings | here))
            answers = tuple_of(op(*device, **settings | there))

        assert platform.read == 0
        for a, b in zip(expected, answers, strict=True):
            assert str(b.device) == "fake:1"
            equal(a, b)
        for name, a, b in zip(op.names_of(host), host, device, strict=True):
            if name in op.writes and a is not None:
                equal(a, b)


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_gradients_stay_on_their_device(op: Op, platform: FakePlatform) -> None:
    for arrays, settings in samples_of(op):
        wrt = [
            at
            for at in differentiable(op, len(arrays))
            if isinstance(arrays[at], np.ndarray) and ScalarType.of(arrays[at]).is_float
        ]
        if op.writes or not wrt or op.name in MOVING:
            continue
        found = []
        with using(NUMPY, FAKE):
            for device in ("host", "fake:0"):
                given = on(device, arrays, wrt)
                outputs = [y for y in tuple_of(op(*given, **settings)) if y.requires_grad]
                for y in outputs:
                    seed = np.random.default_rng(0).normal(size=y.shape).astype(y.dtype)
                    y.backward(Tensor(seed, device=device), retain_graph=True)
                found.append([given[at].grad for at in wrt])

        assert platform.read == 0
        for a, b in zip(*found, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                assert str(b.device) == "fake:0"
                equal(a, b)


TWO_DEVICES = [op for op in SAMPLED if not op.variable and op.required > 1]


@pytest.mark.parametrize("op", TWO_DEVICES, ids=lambda op: op.name)
@pytest.mark.parametrize("other", ["host", "fake:1"])
def test_inputs_of_two_devices_are_refused(op: Op, other: str, platform: FakePlatform) -> None:
    arrays, settings = samples_of(op)[0]
    if sum(isinstance(each, np.ndarray) for each in arrays) < 2:
        return
    given = on("fake:0", arrays)
    last = max(i for i, each in enumerate(given) if isinstance(each, Tensor))
    given[last] = Tensor(arrays[last], device=other)

    with pytest.raises(DeviceError, match="inputs are on different devices"):
        op(*given, **settings)


def test_transfer_moves_and_its_gradient_moves_back(platform: FakePlatform) -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x.to("fake:0") * 2.0
    z = y.to("fake:1")
    z.to("host").sum().backward()

    assert [str(each.device) for each in (x.grad, y, z)] == ["host", "fake:0", "fake:1"]
    assert x.grad.tolist() == [2.0, 2.0]
    assert z.tolist() == [2.0, 4.0]


def test_numpy_cannot_read_the_device(platform: FakePlatform) -> None:
    x = Tensor([1.0, 2.0], device="fake:0")

    with pytest.raises(TypeError):
        np.asarray(x.array, np.float32)
    with pytest.raises(DeviceError, match="inputs are on different devices"):
        x + np.ones(2, np.float32)
    assert platform.read == 0
    assert x.numpy().tolist() == [1.0, 2.0]
    assert platform.read == 1


def test_what_a_tensor_does_beside_ops_stays_on_its_device(platform: FakePlatform) -> None:
    x = Tensor([[1.0, 2.0], [3.0, 4.0]], device="fake:0", requires_grad=True)
    y = ((x @ x.T)[0] * 0.5 + 1).exp().sum()
    twice = grad(y, [x])[0] + 1
    with no_grad():
        x[0] = 7.0
        x[:, 1] = Tensor([8.0, 9.0], device="fake:0")
    pieces = [twice, x.detach(), x.copy(), x.cast("bf16").cast("f32"), x.reshape(4), x[1], x.T]

    assert {str(each.device) for each in pieces} == {"fake:0"}
    assert repr(x) == "Tensor(fake:0 f32 (2, 2))"
    assert platform.read == 0
    assert x.tolist() == [[7.0, 8.0], [3.0, 9.0]]


def test_a_training_step_stays_on_its_device(platform: FakePlatform) -> None:
    from autograph.layers import Conv2, Dense, Flatten, Layer, MaxPool2, Relu, sequential
    from autograph.optim import SGD

    @sequential(input=(1, 8, 8))
    class Small(Layer):
        """Images (N, 1, 8, 8) -> scores (N, 3)."""

        conv1: Conv2 = Conv2.builder(outputs=2, filter=3, bias=True)
        relu1: Relu
        pool1: MaxPool2 = MaxPool2.builder(filter=2)
        flatten: Flatten
        dense1: Dense = Dense.builder(outputs=3)

    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(4, 1, 8, 8)).astype("f4"), rng.integers(0, 3, size=4)
    weights = []
    with using(NUMPY, FAKE):
        for device in ("host", "fake:0"):
            model = Small.build(device=device, seed=0)
            optimizer = SGD(learning_rate=0.1, momentum=0.9)
            x, t = Tensor(images, device=device), Tensor(labels, device=device)
            for _ in range(2):
                loss = model(x).cross_entropy_loss(t)
                loss.backward()
                model.update(optimizer)
            weights.append(dict(model.named_parameters()))

    assert platform.read == 0
    host, fake = weights
    assert host.keys() == fake.keys()
    for path, parameter in fake.items():
        assert parameter.device is Device("fake:0")
        equal(host[path], parameter)
