"""Large weights on a device whose gradients are added to them in the product itself."""

import copy

import numpy as np
import pytest

import autograph as ag
from autograph.layers import Dense, Layer, Relu, sequential
from autograph.optim import SGD
from autograph.tensor.deferred import waited_for

pytestmark = pytest.mark.device

RATE = 0.05


@sequential(input=(304,))
class Wide(Layer):  # too large for a chain
    dense1: Dense = Dense.builder(outputs=1024, bias=True)
    relu1: Relu
    dense2: Dense = Dense.builder(outputs=1024, bias=True)
    relu2: Relu
    dense3: Dense = Dense.builder(outputs=5, bias=True)


@pytest.fixture(params=["strict", "tf32", "high", "bf16", "f16"])
def way(request):
    half = request.param in ("bf16", "f16")
    scalar_type = request.param if half else "f32"
    with ag.precision("strict" if half else request.param):
        yield request.param, scalar_type


def begun(scalar_type, rows=128, **settings):
    rng = np.random.default_rng(0)
    model = Wide.build(device="cuda:0", scalar_type=scalar_type, seed=1)
    x = ag.Tensor(rng.normal(size=(rows, 304)).astype("f4"), device="cuda:0").cast(scalar_type)
    t = ag.Tensor(rng.integers(0, 5, rows).astype("i4"), device="cuda:0")
    optimizer = SGD(learning_rate=RATE, masters=False, **settings)

    def step(x, t):
        loss = model(x).cross_entropy_loss(t)
        loss.backward()
        model.update(optimizer)
        return loss

    return model, optimizer, step, x, t


def values(model):
    return {path: w.cast("f32").numpy() for path, w in model.named_parameters().items()}


@pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.1}, {"maximize": True}], ids=str)
def test_a_step_is_that_by_gradients_that_were_looked_at(way, settings):
    name, scalar_type = way
    model, optimizer, step, x, t = begun(scalar_type, **settings)
    before = values(model)
    model(x).cross_entropy_loss(t).backward()
    gradients = {path: w.grad for path, w in model.named_parameters().items()}
    waits = {path for path, dw in gradients.items() if waited_for(dw) is not None}
    gradients = {path: dw.cast("f32").numpy() for path, dw in gradients.items()}
    assert waits == {"dense1.weight", "dense2.weight"}
    for w in model.parameters():
        w.grad = None
    step(x, t)

    sign = 1 if settings.get("maximize") else -1
    for path, w in values(model).items():
        decay = 1 - RATE * settings.get("weight_decay", 0.0)
        expected = before[path] * decay + sign * RATE * gradients[path]
        unit = {"bf16": 2.0**-8, "f16": 2.0**-10}.get(scalar_type, 1e-6)
        np.testing.assert_allclose(w, expected, rtol=unit, atol=unit * 0.2, err_msg=path)
    assert optimizer.tensors()["dense1.weight.step"].item() == 1


def test_eager_captured_and_again_have_the_same_bits(way):
    _, scalar_type = way
    found = []
    for captured in (False, True, True):
        model, optimizer, step, x, t = begun(scalar_type)
        run = ag.capture(step, optimizer=optimizer) if captured else step
        for _ in range(6):
            run(x, t)
        assert not (captured and run.eager)
        found.append(values(model))

    for each in found[1:]:
        for path, w in each.items():
            np.testing.assert_array_equal(w, found[0][path], err_msg=path)


def test_what_is_written_in_between_comes_too_late():
    found = []
    for writes in (False, True):
        model, optimizer, _, x, t = begun("f32")
        model(x).cross_entropy_loss(t).backward()
        if writes:
            with ag.no_grad():
                x[...] = 0.0
        model.update(optimizer)
        found.append(values(model))

    for path, w in found[0].items():
        np.testing.assert_allclose(w, found[1][path], rtol=1e-5, atol=1e-7, err_msg=path)


def test_a_pending_gradient_is_copied_as_a_value():
    model, _, _, x, t = begun("f32")
    model(x).cross_entropy_loss(t).backward()
    slope = model.dense2.weight.grad
    twin = copy.deepcopy(slope)

    np.testing.assert_array_equal(twin.numpy(), slope.numpy())


def test_masters_and_momentum_are_moved_as_before():
    for settings in ({"masters": True}, {"momentum": 0.9}):
        found = []
        for looks in (False, True):
            rng_model, _, _, x, t = begun("bf16")
            optimizer = SGD(**{"learning_rate": RATE, "masters": False, **settings})
            for _ in range(3):
                rng_model(x).cross_entropy_loss(t).backward()
                if looks:
                    assert rng_model.dense1.weight.grad.numpy().any()
                rng_model.update(optimizer)
            found.append(values(rng_model))
        for path, w in found[0].items():
            np.testing.assert_array_equal(w, found[1][path], err_msg=path)
