"""Captured steps on the host: the bits of eager ones, or a warning that says why not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest

import autograph as ag
from autograph import Tensor
from autograph.backends import NUMPY, using
from autograph.capturing import capture
from autograph.data import Dataset
from autograph.layers import (
    BatchNorm2,
    Conv2,
    Dense,
    Dropout,
    Flatten,
    Identity,
    Layer,
    MaxPool2,
    Relu,
    sequential,
)
from autograph.optim import SGD, Adam, AdamW, Cosine, Lion
from autograph.recording import Recording


@sequential(input=(1, 12, 12))
class Small(Layer):
    """Images (N, 1, 12, 12) -> scores (N, 5)."""

    conv: Conv2 = Conv2.builder(outputs=4, filter=3, bias=True)
    relu1: Relu
    pool: MaxPool2 = MaxPool2.builder(filter=2)
    norm: BatchNorm2
    flatten: Flatten
    dense1: Dense = Dense.builder(outputs=16, bias=True)
    relu2: Relu
    dropout: Dropout = Dropout.builder(rate=0.25)
    dense2: Dense = Dense.builder(outputs=5, bias=True)


OPTIMIZERS = {
    "sgd": lambda: SGD(learning_rate=0.1, momentum=0.9),
    "adam": lambda: Adam(learning_rate=Cosine(peak=0.01, steps=30)),
    "clipped": lambda: SGD(learning_rate=0.1, clip_norm=0.5),
    "groups": lambda: AdamW(groups={"*.bias": {"weight_decay": 0.0, "learning_rate": 0.02}}),
    "lion": lambda: Lion(learning_rate=0.001),
    "forever": lambda: SGD(learning_rate=Cosine(peak=0.01, steps=5)),
}


def batch(seed: int, count: int = 8) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    return Tensor(rng.standard_normal((count, 1, 12, 12), np.float32)), Tensor(
        rng.integers(0, 5, count)
    )


def run(kind, scalar_type, *, captured, steps=12):
    model = Small.build(scalar_type=scalar_type, seed=3)
    optimizer = OPTIMIZERS[kind]()

    def step(x, t):
        loss = model(x.cast(scalar_type)).cross_entropy_loss(t)
        loss.backward()
        model.update(optimizer)
        return loss

    call = capture(step, optimizer=optimizer) if captured else step
    losses = [call(*batch(i, 8 if i % 3 else 5)).item() for i in range(steps)]
    if captured and kind != "forever":
        assert recordings(call) == 2
    state = {name: each.numpy() for name, each in optimizer.tensors().items()}
    named = {**model.named_parameters(), **model.named_buffers()}
    return losses, {**state, **{name: each.numpy() for name, each in named.items()}}, optimizer


def recordings(call) -> int:
    return sum(isinstance(each, Recording) for each in call._entries.values())


@pytest.mark.parametrize("scalar_type", ["f32", "bf16"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_captured_step_gives_the_bits_of_an_eager_one(kind, scalar_type):
    eager, eager_state, eager_optimizer = run(kind, scalar_type, captured=False)
    found, state, optimizer = run(kind, scalar_type, captured=True)

    assert found == eager
    assert optimizer.count == eager_optimizer.count
    assert state.keys() == eager_state.keys()
    for name, each in state.items():
        assert each.tobytes() == eager_state[name].tobytes(), name


def test_numpys_kernels_are_called_again():
    with using(NUMPY):
        eager, eager_state, _ = run("adam", "f32", captured=False)
        found, state, _ = run("adam", "f32", captured=True)

    assert found == eager
    assert all(each.tobytes() == eager_state[name].tobytes() for name, each in state.items())


def test_what_it_returned_stays_when_it_is_called_again(device):
    double = capture(lambda x: x * 2.0)
    found = [double(Tensor([float(i)], device=device)) for i in range(6)]

    assert [each.item() for each in found] == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]


def test_a_parameter_that_was_replaced_is_recorded_anew(device):
    w = Tensor([2.0], device=device)
    scale = capture(lambda x: x * w)
    x = Tensor([3.0], device=device)
    assert [scale(x).item() for _ in range(5)] == [6.0] * 5
    w._array = Tensor([5.0], device=device)._array

    assert [scale(x).item() for _ in range(5)] == [15.0] * 5
    w[...] = 7.0
    assert scale(x).item() == 21.0


def test_a_class_that_is_not_there_is_refused_and_nothing_is_updated():
    model, optimizer = Small.build(seed=0), SGD(learning_rate=0.1)

    def step(x, t):
        model(x).cross_entropy_loss(t).backward()
        model.update(optimizer)

    call = capture(step, optimizer=optimizer)
    for i in range(4):
        call(*batch(i))
    before = [each.numpy().copy() for each in model.parameters()]
    x, t = batch(9)
    t[3] = 7
    with pytest.raises(ag.errors.IndexRangeError, match=r"target\[3\] = 7 is not a class"):
        call(x, t)

    assert recordings(call) == 1
    assert optimizer.count == 4
    assert all((a == b.numpy()).all() for a, b in zip(before, model.parameters(), strict=True))
    call(*batch(10))
    assert optimizer.count == 5


@pytest.mark.parametrize("named", [False, True])
def test_an_optimizer_that_is_not_named_keeps_a_step_eager_and_counts_right(named):
    first, second = Small.build(seed=0), Small.build(seed=1)
    optimizers = [SGD(learning_rate=0.1), Adam()]

    def step(x, t):
        for model, optimizer in zip((first, second), optimizers, strict=True):
            model(x).cross_entropy_loss(t).backward()
            model.update(optimizer)

    call = capture(step, optimizer=optimizers[0] if named else None)
    call(*batch(0)), call(*batch(1))
    with pytest.warns(UserWarning, match="several times" if named else r"write capture\(step, opt"):
        call(*batch(2))
    call(*batch(3))

    assert [4, 4] == [each.count for each in optimizers]


READS = "it reads the values of a tensor"


@pytest.mark.parametrize(("step", "why"), [
    (lambda x: Tensor(x.sum().item()), READS),
    (lambda x: x * 2.0 if x.sum() > 1.0 else x, READS),
    (lambda x: Tensor(np.asarray(x * 2.0) + 1.0), READS),
    (lambda x: ag.ops.nonzero(x), "the shape of its output depends on values"),
])  # fmt: skip
def test_what_cannot_be_captured_runs_eagerly_and_says_why(step, why):
    call = capture(step)
    x = Tensor([1.0, 2.0, 3.0])
    expected = step(x)
    call(x), call(x)
    with pytest.warns(UserWarning, match=why):
        found = call(x)

    assert repr(found) == repr(call(x)) == repr(expected)


def test_an_argument_that_is_written_keeps_a_step_eager(device):
    x = Tensor([1.0], device=device)

    def double(x):
        x[...] = x * 2.0

    call = capture(double)
    call(x), call(x)
    with pytest.warns(UserWarning, match="it writes an argument"):
        call(x)

    assert x.item() == 8.0


def test_gradients_that_are_left_behind_keep_a_step_eager(device):
    w = Tensor([1.0], device=device, requires_grad=True)

    def step(x):
        (w * x).sum().backward()

    call, x = capture(step), Tensor([2.0], device=device)
    call(x), call(x)
    with pytest.warns(UserWarning, match="leaves gradients behind"):
        call(x)
    call(x)

    assert w.grad.item() == 8.0


def test_numbers_that_change_are_noticed(device):
    rate = iter(range(1, 100))
    call, x = capture(lambda x: x * float(next(rate))), Tensor([1.0], device=device)
    found = [call(x).item(), call(x).item()]
    with pytest.warns(UserWarning, match="differs from the eager step"):
        call(x)

    assert found == [1.0, 2.0]


def test_a_number_in_an_array_may_change(device):
    w = Tensor(1.0, device=device)
    scale, x = capture(lambda x: x * w), Tensor([2.0, 3.0], device=device)
    found = []
    for i in range(6):
        w[...] = float(i)
        found.append(scale(x).tolist())

    assert found == [[2.0 * i, 3.0 * i] for i in range(6)]
    assert recordings(scale) == 1
    assert not scale.eager


def test_hooks_see_every_step():
    model = Small.build(seed=0)
    call = capture(lambda x: model(x))
    with ag.no_grad():
        for i in range(4):
            call(batch(i)[0])
        seen: list[str] = []
        with model.on_forward("dense1", lambda path, y: seen.append(path)):
            call(batch(5)[0]), call(batch(6)[0])
        call(batch(7)[0])

    assert seen == ["dense1", "dense1"]
    assert recordings(call) == 1


def test_threads_replay_in_turn():
    model = Small.build(seed=0)
    infer = capture(lambda x: model(x))
    with ag.no_grad():
        expected = [model(batch(i)[0]).numpy() for i in range(8)]
        for i in range(4):
            infer(batch(i)[0])
    wrong: list[int] = []

    def work(i: int) -> None:
        with ag.no_grad():
            found = [infer(batch(i)[0]).numpy() for _ in range(50)]
        wrong.extend(i for each in found if not (each == expected[i]).all())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert wrong == []


def test_a_restored_optimizer_is_that_of_recorded_steps(tmp_path):
    rng = np.random.default_rng(0)
    batches = [(rng.normal(size=(4, 8)), rng.integers(0, 3, 4)) for _ in range(14)]
    digests = []
    for captured in (False, True):
        model = Dense.builder(inputs=8, outputs=3).build(scalar_type="f64")
        optimizer = Adam(learning_rate=0.01)

        def step(x, t, model=model, optimizer=optimizer):
            model(x).cross_entropy_loss(t).backward()
            model.update(optimizer)

        run = capture(step, optimizer=optimizer) if captured else step
        for i, (x, t) in enumerate(batches):
            if i == 4:
                ag.save(tmp_path / "model", model, optimizer)
            if i == 9:
                kept = optimizer.tensors()  # somebody holds on to what was there before
                ag.Checkpoint.open(tmp_path / "model").restore(model, optimizer)
            run(Tensor(x), Tensor(t))
        state = {**optimizer.tensors(), "weight": model.weight}
        digests.append({name: each.numpy().tobytes() for name, each in sorted(state.items())})
        assert kept

    assert digests[0] == digests[1]


def test_fit_gives_the_bits_of_eager_steps_and_resumes():
    rng = np.random.default_rng(0)
    data = rng.standard_normal((103, 1, 12, 12)).astype("f"), rng.integers(0, 5, 103)
    digests = []
    for stop in (0, 2):
        model, optimizer = Small.build(seed=1), SGD(learning_rate=0.05, momentum=0.9)
        stats, progress = [], None
        for report in ag.fit(model, optimizer, data, data, epochs=4, batch_size=10):
            stats.append((report.train, report.test))
            progress = report.progress
            if report.epoch == stop:
                break
        if stop:  # another capture goes on from there
            rest = ag.fit(model, optimizer, data, data, progress=progress)
            stats += [(report.train, report.test) for report in rest]
        digests.append((stats, [each.numpy().tobytes() for each in model.parameters()]))
        assert optimizer.count == 44

    assert digests[0] == digests[1]
    model, optimizer = Small.build(seed=1), SGD(learning_rate=0.05, momentum=0.9)
    train = Dataset(*data)
    for epoch in range(1, 5):
        for each in train.batches(10, order=train.order(0, epoch)):
            model(each.inputs).cross_entropy_loss(each.targets).backward()
            model.update(optimizer)
    assert digests[0][1] == [each.numpy().tobytes() for each in model.parameters()]


@pytest.mark.parametrize(
    "change",
    [
        lambda model, optimizer: model.conv.freeze(),
        lambda model, optimizer: setattr(model.dropout, "rate", 0.0),
        lambda model, optimizer: setattr(model, "relu2", Identity.builder().build()),
        lambda model, optimizer: setattr(optimizer, "momentum", 0.5),
    ],
)
def test_what_is_changed_between_epochs_of_fit_is_heeded(change):
    rng = np.random.default_rng(0)
    data = rng.standard_normal((50, 1, 12, 12)).astype("f"), rng.integers(0, 5, 50)
    found = []
    for seen in (False, True):  # a hook keeps every step eager
        model, optimizer = Small.build(seed=1), SGD(learning_rate=0.05, momentum=0.9)
        with model.on_forward("dense2", lambda path, y: None) if seen else nullcontext():
            for report in ag.fit(model, optimizer, data, epochs=2, batch_size=10):
                if report.epoch == 1:
                    change(model, optimizer)
        found.append([each.numpy().tobytes() for each in model.parameters()])

    assert found[0] == found[1]


def test_threads_that_record_at_the_same_time_do_not_mix():
    models = [Small.build(seed=i) for i in range(4)]
    optimizers = [SGD(learning_rate=0.1) for _ in models]
    plain = [Small.build(seed=i) for i in range(4)]

    def stepping(model, optimizer):
        def step(x, t):
            model(x).cross_entropy_loss(t).backward()
            model.update(optimizer)

        return step

    def work(i: int) -> None:
        step = capture(stepping(models[i], optimizers[i]), optimizer=optimizers[i])
        for k in range(30):
            step(*batch(k))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    for i, model in enumerate(plain):
        step = stepping(model, SGD(learning_rate=0.1))
        for k in range(30):
            step(*batch(k))
        for a, b in zip(model.parameters(), models[i].parameters(), strict=True):
            assert a.numpy().tobytes() == b.numpy().tobytes()
