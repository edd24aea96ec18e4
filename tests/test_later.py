"""Gradients of large weights that wait for the optimizer are what they would have been."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest

import autograph as ag
from autograph import ops
from autograph.backends import NUMPY, using
from autograph.backends.precision import current_precision
from autograph.later import Later, here, may_wait
from autograph.op import REGISTRY, Op
from autograph.optim import SGD, Adam
from autograph.tensor import slopes
from autograph.tensor.deferred import waited_for
from autograph.tensor.slopes import Slope

WAITED = []  # whether the gradient of a weight was left to wait, walk by walk
SEEN = []  # the same, as the kernel of an op of somebody else meets it

waiting, seen = Op("test_waiting", "x weight"), Op("test_seen", "x")
for _op in (waiting, seen):
    del REGISTRY[_op.name]  # of these tests alone


@seen.outlined_by
def seen_outline(x):
    return x.like()


@seen.kernel(NUMPY)
def seen_numpy(x):
    SEEN.append(here.waits)
    return x.copy()


@waiting.outlined_by
def waiting_outline(x, weight):
    return x.like(shape=(x.shape[0], weight.shape[1]))


@waiting.kernel(NUMPY)
def waiting_numpy(x, weight):
    return ops.matmul(x, weight)


@waiting.gradient("x", "weight")
def waiting_gradient(y, x, weight):
    def product(x, dy):
        return ops.matmul(ops.permute_dims(x), dy)

    def rule(dy):
        dy = seen(dy)
        WAITED.append(may_wait(x, dy))
        dx = ops.matmul(dy, ops.permute_dims(weight))
        return dx, Later(product, x, dy) if WAITED[-1] else product(x, dy)

    return rule


waiting.gradients[0].function.__module__ = "autograph.tests"  # one of ours, which nobody checks


@pytest.fixture(autouse=True)
def fresh():
    WAITED.clear()
    SEEN.clear()
    yield
    assert not here.waits


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class Net:
    """loss = sum(sin(x w b)) of one large weight and a small vector, by the op or by matmul."""

    def __init__(self, product):
        self.product = product
        self.w = ag.Parameter(numbers(40, 30))
        self.b = ag.Parameter(numbers(30, seed=1))
        self.x = ag.Tensor(numbers(6, 40, seed=2))

    def parameters(self):
        return {"w": self.w, "b": self.b}

    def loss(self):
        return (self.product(self.x, self.w) * self.b).sin().sum()

    def step(self, optimizer):
        loss = self.loss()
        loss.backward()
        optimizer.update(self.parameters())
        return loss


@pytest.fixture
def nets():
    return Net(waiting), Net(ops.matmul)


def same(nets):
    ours, plain = nets
    for path, each in ours.parameters().items():
        np.testing.assert_array_equal(each.numpy(), plain.parameters()[path].numpy())


def train(nets, make, steps):
    for net in nets:
        optimizer = make(learning_rate=0.01)
        for _ in range(steps):
            net.step(optimizer)
    same(nets)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_decay": 0.1},
        {"maximize": True, "weight_decay": 0.1},
        {"momentum": 0.9},
        {"clip_norm": 0.5},
        {"groups": {"b": {"learning_rate": 0.3}}},
    ],
    ids=str,
)
def test_steps_are_those_of_gradients_written_down(nets, settings):
    for net in nets:
        optimizer = SGD(learning_rate=0.01, **settings)
        for _ in range(4):
            net.step(optimizer)
            assert net.w.grad is None
        assert optimizer.tensors()["w.step"].item() == 4

    same(nets)
    assert all(WAITED[-4:])


def test_other_optimizers_compute_it(nets):
    train(nets, Adam, 3)


def test_who_looks_gets_it_computed(nets):
    for net in nets:
        net.loss().backward()
    ours, plain = (net.w.grad for net in nets)
    assert type(waited_for(ours)) is Slope
    assert ours.shape == plain.shape
    assert type(waited_for(ours)) is Slope  # a shape is no value

    np.testing.assert_array_equal(ours.numpy(), plain.numpy())
    assert waited_for(ours) is None
    for net in nets:
        SGD(learning_rate=0.1).update(net.parameters())
    same(nets)


def test_it_is_of_the_moment_it_was_asked_for(nets):
    for net in nets:
        net.loss().backward()
        with ag.no_grad():
            net.x[...] = 0.0
            net.w[...] = 1.0
        SGD(learning_rate=0.1).update(net.parameters())

    same(nets)


def test_others_see_none_that_is_half_made(nets, monkeypatch):
    other = ag.Tensor(numbers(3))

    def asked():  # meanwhile another thread writes something
        with ag.no_grad():
            other[...] = 0.0
        return current_precision()

    monkeypatch.setattr(slopes, "current_precision", asked)
    for net in nets:
        net.step(SGD(learning_rate=0.1))

    same(nets)
    assert any(WAITED)


def test_it_is_of_the_backends_of_the_walk(nets, monkeypatch):
    compute, limits = Slope.compute, []

    def computed(slope):
        limits.append(slope.limit)
        compute(slope)

    monkeypatch.setattr(Slope, "compute", computed)
    for net in nets:
        with using(NUMPY):
            net.loss().backward()
        SGD(learning_rate=0.1).update(net.parameters())

    assert [{NUMPY}] == limits  # no product of other backends
    same(nets)


def test_gradients_add_up(nets):
    for net in nets:
        net.loss().backward()
        net.loss().backward()
        (net.loss() + 2 * net.loss()).backward()
        SGD(learning_rate=0.1).update(net.parameters())

    ours, plain = nets
    np.testing.assert_allclose(ours.w.numpy(), plain.w.numpy(), rtol=1e-5, atol=1e-6)


def test_weights_that_are_no_leaves_get_theirs(nets):
    for net in nets:
        product = net.product
        net.product = lambda x, w, product=product: product(x, w * 2.0)
        net.step(SGD(learning_rate=0.1))

    same(nets)


def test_what_wants_it_at_once_has_it(nets):
    ours, plain = nets
    found = [ag.grad(net.loss(), [net.w])[0].numpy() for net in nets]
    np.testing.assert_array_equal(*found)
    for net in nets:
        net.loss().backward(retain_graph=True)
    assert waited_for(ours.w.grad) is None
    np.testing.assert_array_equal(ours.w.grad.numpy(), plain.w.grad.numpy())
    assert not any(WAITED)


def test_small_gradients_do_not_wait():
    net = Net(waiting)
    net.x = ag.Tensor(numbers(60, 40))
    net.loss().backward()

    assert not any(WAITED)


@pytest.mark.parametrize("taken", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_it_is_copied_as_a_value(nets, taken):
    for net in nets:
        net.loss().backward()

    found = [taken(net.w.grad).numpy() for net in nets]
    np.testing.assert_array_equal(*found)


def test_ops_of_it_are_of_what_it_computes():
    x, dy = numbers(3, 4), numbers(3, 5)
    found = ops.add(Later(lambda x, dy: x.T @ dy, x, dy), np.float32(1))

    np.testing.assert_array_equal(found, x.T @ dy + 1)


def test_gradients_in_rules_of_others_do_not_wait(nets):
    waiting.plans.clear()
    waiting.gradients[0].function.__module__ = __name__
    try:
        for net in nets:
            net.step(SGD(learning_rate=0.1))
    finally:
        waiting.gradients[0].function.__module__ = "autograph.tests"
        waiting.plans.clear()

    same(nets)
    assert not any(WAITED)


def test_nothing_waits_in_kernels_of_others(nets):
    train(nets, SGD, 2)

    assert any(WAITED)
    assert SEEN
    assert not any(SEEN)


def test_a_recorded_step_does_the_same(nets):
    for net in nets:
        optimizer = SGD(learning_rate=0.01)
        step = ag.capture(partial(net.step, optimizer), optimizer=optimizer)
        for _ in range(6):
            step()

    same(nets)


def test_parameters_without_masters_move_themselves():
    x = numbers(8, 16)
    w = ag.Parameter(ag.Tensor(numbers(16, 4)).cast("bf16"))
    optimizer = SGD(learning_rate=0.5, masters=False)
    before = w.numpy().astype(np.float32)
    (ag.Tensor(x).cast("bf16") @ w).sum().backward()
    slope = w.grad.numpy().astype(np.float32)
    optimizer.update({"w": w})

    expected = ag.Tensor(before - np.float32(0.5) * slope).cast("bf16").numpy()
    np.testing.assert_array_equal(w.numpy(), expected)
    assert set(optimizer.tensors()) == {"w.step"}
    optimizer.masters = True
    (ag.Tensor(x).cast("bf16") @ w).sum().backward()
    optimizer.update({"w": w})
    assert set(optimizer.tensors()) == {"w.step", "w.master"}
