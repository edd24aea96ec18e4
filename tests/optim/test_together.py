"""Parameters that one op moves together, beside a loop over them in NumPy: whatever changes from
one step to the next counts in the next."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from collections.abc import Callable
from typing import Any
from weakref import ref

import numpy as np
import pytest

from autograph import Parameter, Tensor, no_grad, optim
from autograph.attending import attending
from autograph.device import HOST
from autograph.errors import GraphError
from autograph.ops.chain import SAMPLES, chain
from autograph.profiler import profile
from autograph.settings import described
from autograph.tensor import chained, deferred

MANY = 40  # more than one op moves


class Model:
    """Parameters by path, and beside them what they should be under SGD with a momentum."""

    def __init__(self, count: int = 3, seed: int = 0, scalar_type: str = "f64") -> None:
        self.rng = np.random.default_rng(seed)
        self.expected = [self.rng.normal(size=(2, 3 + i % 3)) for i in range(count)]
        self.velocity = [np.zeros_like(w) for w in self.expected]
        self.parameters = {
            f"layer{i}.weight": Parameter(w, scalar_type=scalar_type)
            for i, w in enumerate(self.expected)
        }

    def step(
        self, optimizer: Any, momentum: float = 0.5, rate: float = 0.1, moved: Any = None
    ) -> None:
        """One update of all parameters, or of those at the places `moved`."""
        places = range(len(self.expected)) if moved is None else moved
        named = list(self.parameters.values())
        for at in places:
            slope = self.rng.normal(size=self.expected[at].shape)
            named[at].grad = Tensor(slope, scalar_type=named[at].scalar_type)
            self.velocity[at] = momentum * self.velocity[at] + slope
            self.expected[at] = self.expected[at] - rate * self.velocity[at]
        optimizer.update(self.parameters)

    def check(self) -> None:
        for w, expected in zip(self.parameters.values(), self.expected, strict=True):
            assert w.grad is None
            np.testing.assert_allclose(w.numpy(), expected, rtol=1e-12, atol=1e-12)


def sgd() -> Any:
    return optim.SGD(learning_rate=0.1, momentum=0.5)


@pytest.mark.parametrize("count", [1, 3, MANY])
def test_any_number_of_parameters_is_moved(count: int) -> None:
    model, optimizer = Model(count), sgd()
    for _ in range(4):
        model.step(optimizer)

    model.check()


def test_settings_may_change_between_steps() -> None:
    model, optimizer = Model(), sgd()
    for momentum, rate in ((0.5, 0.1), (0.25, 0.1), (0.25, 0.2), (0.5, 0.2)):
        optimizer.momentum, optimizer.learning_rate = momentum, rate
        model.step(optimizer, momentum, rate)

    model.check()


def test_state_may_be_replaced_between_steps() -> None:
    model, optimizer = Model(), sgd()
    for _ in range(2):
        model.step(optimizer)
    optimizer.state["layer1.weight"]["velocity"] = Tensor(np.ones((2, 4)))
    model.velocity[1] = np.ones((2, 4))
    model.step(optimizer)
    optimizer.restore(optimizer.tensors(), optimizer.count, model.parameters)
    model.step(optimizer)
    optimizer.state["layer2.weight"] = dict(optimizer.state["layer2.weight"])
    optimizer.state["layer2.weight"] |= {"velocity": Tensor(np.ones((2, 5)))}
    model.velocity[2] = np.ones((2, 5))
    model.step(optimizer)

    model.check()


def test_settings_of_groups_may_change_between_steps() -> None:
    model = Model()
    optimizer = optim.SGD(learning_rate=0.1, momentum=0.9, groups={"layer*": {"weight_decay": 0.0}})
    for momentum in (0.5, 0.25):
        optimizer.momentum = momentum
        model.step(optimizer, momentum)

    model.check()


def test_the_schedule_of_a_group_goes_on_while_the_group_rests() -> None:
    model, rates = Model(2), (0.1, 0.2, 0.3, 0.4, 0.5)
    groups = {"layer1*": {"learning_rate": optim.Pieces(rates=rates)}}
    optimizer = optim.SGD(learning_rate=0.1, momentum=0.5, groups=groups)
    for step, moved in enumerate((1, 0, 0, 1, 1)):
        model.step(optimizer, rate=rates[step] if moved else 0.1, moved=[moved])

    model.check()


def test_parameters_may_come_and_go() -> None:
    model, optimizer = Model(), sgd()
    for moved in ([0, 1, 2], [0, 2], [0, 2], [1], [0, 1, 2], [0, 1, 2]):
        for at, w in enumerate(model.parameters.values()):
            w.requires_grad = at in moved
        model.step(optimizer, moved=moved)

    model.check()


def test_a_parameter_may_get_another_array() -> None:
    from autograph.layers.base import _replace

    model, optimizer = Model(), sgd()
    model.step(optimizer)
    w = model.parameters["layer0.weight"]
    _replace(w, np.zeros((2, 3)))
    model.expected[0] = np.zeros((2, 3))
    model.step(optimizer)
    model.step(optimizer)

    model.check()


def test_gradients_may_lie_otherwise() -> None:
    w, optimizer = Parameter(np.zeros((2, 3))), optim.SGD(learning_rate=1.0)
    expected = np.zeros((2, 3))
    for i, turned in enumerate((False, True, False, True)):
        slope = np.arange(6.0).reshape(2, 3) + i
        w.grad = Tensor(slope.T.copy()).permute_dims() if turned else Tensor(slope)
        optimizer.update({"w": w})
        expected -= slope

    np.testing.assert_array_equal(w.numpy(), expected)


def test_masters_keep_what_halves_lose() -> None:
    model, optimizer = Model(scalar_type="bf16"), sgd()
    masters = [w.cast("f32").numpy().copy() for w in model.parameters.values()]
    velocity = [np.zeros_like(w) for w in masters]
    for _ in range(5):
        for at, w in enumerate(model.parameters.values()):
            w.grad = Tensor(model.rng.normal(size=w.shape), scalar_type="bf16")
            velocity[at] = np.float32(0.5) * velocity[at] + w.grad.cast("f32").numpy()
            masters[at] = masters[at] - np.float32(0.1) * velocity[at]
        optimizer.update(model.parameters)

    for (path, w), master in zip(model.parameters.items(), masters, strict=True):
        found = optimizer.state[path]["master"].numpy()
        np.testing.assert_allclose(found, master, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(w.numpy(), found.astype(w.dtype))


def test_a_copy_heeds_what_was_written_before() -> None:
    model, optimizer = Model(scalar_type="bf16"), sgd()
    model.step(optimizer)
    with no_grad():
        model.parameters["layer1.weight"][...] = 3.0
    twin, copied = copy.deepcopy((model, optimizer))
    model.step(optimizer)
    twin.step(copied)

    for path, w in model.parameters.items():
        np.testing.assert_array_equal(twin.parameters[path].numpy(), w.numpy())
        master = copied.state[path]["master"].numpy()
        np.testing.assert_array_equal(master, optimizer.state[path]["master"].numpy())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copy_goes_on_alone(copied: Callable[[Any], Any]) -> None:
    model, optimizer = Model(), sgd()
    model.step(optimizer)
    model, optimizer = copied((model, optimizer))
    model.step(optimizer)
    model.step(optimizer)

    model.check()


@pytest.mark.parametrize(
    "make",
    [sgd, optim.Adam, optim.Lion, lambda: optim.SGD(groups={"layer1*": {"learning_rate": 0.3}})],
)
def test_an_optimizer_dies_by_reference_count(make: Callable[[], Any]) -> None:
    model, optimizer = Model(), make()
    for _ in range(2):
        model.step(optimizer)
    tensors = *model.parameters.values(), *optimizer.tensors().values()
    left = [*map(ref, tensors), ref(optimizer)]
    gc.disable()
    try:
        del model, optimizer, tensors
        assert not any(each() is not None for each in left)
    finally:
        gc.enable()


@described
class Signs(optim.SGD):
    """One whose own move counts."""

    def move(self, w: Any, dw: Any, rate: Any, state: Any) -> None:
        super().move(w, Tensor(np.sign(dw.numpy())), rate, state)


def test_the_move_of_a_subclass_counts() -> None:
    w, optimizer = Parameter(np.zeros(3)), Signs(learning_rate=0.5)
    for _ in range(2):
        w.grad = Tensor([3.0, -7.0, 0.0], scalar_type="f64")
        optimizer.update({"w": w})

    np.testing.assert_array_equal(w.numpy(), [-1.0, 1.0, 0.0])


def test_what_an_update_writes_is_seen_by_graphs() -> None:
    model, optimizer = Model(), sgd()
    for _ in range(3):
        w = model.parameters["layer0.weight"]
        y = (w * w).sum()
        model.step(optimizer)
        with pytest.raises(GraphError, match="was written after the forward"):
            y.backward()


def test_those_who_watch_ops_see_every_update() -> None:
    model, optimizer, seen = Model(), sgd(), []

    def attendant(apply: Any, op: Any, inputs: Any, settings: Any) -> Any:
        seen.append(op.name)
        return apply(op, inputs, settings)

    model.step(optimizer)
    model.step(optimizer)
    with attending(attendant):
        model.step(optimizer)
    with profile() as profiled:
        model.step(optimizer)

    assert seen == ["sgd_updates"]
    assert profiled.by_op()["sgd_updates"].calls == 1
    model.check()


def test_threads_update_models_of_their_own() -> None:
    models = [Model(seed=i) for i in range(4)]

    def train(model: Model) -> None:
        optimizer = sgd()
        for _ in range(50):
            model.step(optimizer)

    threads = [threading.Thread(target=train, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for model in models:
        model.check()


@pytest.mark.parametrize("turned", [False, True], ids=["in order", "in another order"])
@pytest.mark.parametrize("make", [sgd, lambda: optim.Adam(learning_rate=0.01)])
def test_a_joint_update_follows_what_changes(
    make: Callable[[], Any], turned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradients of a deferred chain are never written down, and the parameters are the same."""

    def trained() -> list[Any]:
        rng = np.random.default_rng(0)
        shape, layers, shapes = SAMPLES[0]
        x, target = Tensor(rng.normal(size=shape)), Tensor(np.array([0, 2, 1]))
        parameters = [Parameter(rng.normal(size=each)) for each in shapes]
        named = dict(zip("abcd", parameters, strict=True))
        named = dict(reversed(named.items())) if turned else named
        optimizer, kinds = make(), []
        for count in range(6):
            chain(x, *parameters, layers=layers).cross_entropy_loss(target).backward()
            kinds.append(type(parameters[0].grad))
            if count == 2:
                optimizer.learning_rate, optimizer.weight_decay = 0.05, 0.1
            if count == 4:
                for name, each in optimizer.state["b"].items():
                    optimizer.state["b"][name] = each * 2
            optimizer.update(named)
        state = optimizer.tensors()
        return [kinds, *[each.numpy() for each in (*parameters, *map(state.get, sorted(state)))]]

    apart, *expected = trained()
    monkeypatch.setattr(chained, "KINDS", {HOST.kind})
    joined, *found = trained()

    assert {*apart} == {Tensor}
    assert {*joined} == {deferred.Pending}
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
