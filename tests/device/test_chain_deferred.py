"""Deferred chains on the host, where ops run by their parts."""

from __future__ import annotations

import copy
import pickle
from threading import Thread
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import Tensor, no_grad
from autograph.device import HOST
from autograph.errors import GraphError, ShapeError
from autograph.layers import Dense
from autograph.ops.chain import SAMPLES, chain
from autograph.optim import SGD, Adam
from autograph.tensor import Parameter, chained
from autograph.tensor.deferred import Pending, settle
from autograph.tensor.state import state


@pytest.fixture
def on_host(monkeypatch):
    monkeypatch.setattr(chained, "KINDS", {HOST.kind})


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


def test_what_is_pending_outlives_the_graph_of_x(on_host):
    x, target, parameters, layers = small()
    x.requires_grad = True
    doubled = x * 2
    with no_grad():
        expected = chain(doubled, *parameters, layers=layers).cross_entropy_loss(target).item()
    y = chain(doubled, *parameters, layers=layers)
    loss = y.cross_entropy_loss(target)
    chain(doubled, *parameters, layers=layers).cross_entropy_loss(target).backward()
    assert type(loss) is Pending
    SGD(learning_rate=0.1).update({str(i): w for i, w in enumerate(parameters)})

    assert expected == loss.item()
    for each in (loss, y.sum()):
        with pytest.raises(GraphError, match="multiply: backward has used up the graph"):
            each.backward()


def test_a_replay_leaves_to_other_threads_what_they_have_pending(on_host):
    x, _, parameters, layers = small()
    answers = []

    def asked():
        answers.append(chain(x, *parameters, layers=layers))

    thread = Thread(target=asked)
    thread.start()
    thread.join()
    asked()
    settle()

    assert [Pending, Tensor] == [*map(type, answers)]


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
