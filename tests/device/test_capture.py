"""Captured steps on a CUDA device: the bits of eager ones, or a warning. `pytest -m device`."""

from __future__ import annotations

import numpy as np
import pytest

import autograph as ag
from autograph import Tensor
from autograph.capturing import capture
from autograph.layers import Dense, Dropout, Layer, Relu, sequential
from autograph.optim import SGD, Adam, Cosine
from autograph.recording import Recording

pytestmark = pytest.mark.device


@sequential(input=(20,))
class Small(Layer):
    """Rows (N, 20) -> scores (N, 5)."""

    dense1: Dense = Dense.builder(outputs=16, bias=True)
    relu1: Relu
    dropout: Dropout = Dropout.builder(rate=0.25)
    dense2: Dense = Dense.builder(outputs=5, bias=True)


OPTIMIZERS = {
    "sgd": lambda: SGD(learning_rate=0.1, momentum=0.9),
    "adam": lambda: Adam(learning_rate=Cosine(peak=0.01, steps=30)),
    "forever": lambda: SGD(learning_rate=Cosine(peak=0.01, steps=5)),
}


def rows(seed: int, count: int = 8) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    x = Tensor(rng.standard_normal((count, 20), np.float32), device="cuda")
    return x, Tensor(rng.integers(0, 5, count), device="cuda")


def run(kind, scalar_type, *, captured, steps=12):
    model = Small.build(device="cuda", scalar_type=scalar_type, seed=3)
    optimizer = OPTIMIZERS[kind]()

    def step(x, t):
        loss = model(x.cast(scalar_type)).cross_entropy_loss(t)
        loss.backward()
        model.update(optimizer)
        return loss

    call = capture(step, optimizer=optimizer) if captured else step
    losses = [call(*rows(i, 8 if i % 3 else 5)).item() for i in range(steps)]
    if captured and kind != "forever":
        assert sum(isinstance(each, Recording) for each in call._entries.values()) == 2
    state = {name: each.numpy() for name, each in optimizer.tensors().items()}
    weights = {name: each.numpy() for name, each in model.named_parameters().items()}
    return losses, {**state, **weights}, optimizer.count


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("scalar_type", ["f32", "bf16"])
def test_a_captured_step_gives_the_bits_of_an_eager_one(kind, scalar_type):
    eager, eager_state, eager_count = run(kind, scalar_type, captured=False)
    found, state, count = run(kind, scalar_type, captured=True)

    assert found == eager
    assert count == eager_count
    assert state.keys() == eager_state.keys()
    for name, each in state.items():
        assert each.tobytes() == eager_state[name].tobytes(), name


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (lambda x: Tensor(x.sum().item()), "the host reads an array"),
        (lambda x: x + Tensor(np.ones(3, np.float32), device="cuda"), "is put on the device"),
        (lambda x: x.requires_grad, None),
    ],
)
def test_what_cannot_be_captured_runs_eagerly_and_says_why(step, why):
    call = capture(step)
    x = Tensor([1.0, 2.0, 3.0], device="cuda")
    expected = step(x)
    if why is None:
        for _ in range(4):
            assert call(x) == expected
        return
    call(x), call(x)
    with pytest.warns(UserWarning, match=why):
        found = call(x)

    assert found.tolist() == call(x).tolist() == expected.tolist()


def test_fit_gives_the_same_bits_captured_and_resumed():
    rng = np.random.default_rng(0)
    data = rng.standard_normal((103, 20)).astype("f"), rng.integers(0, 5, 103)
    digests = []
    for scalar_type in ("f32", "f32"):
        model = Small.build(device="cuda", scalar_type=scalar_type, seed=1)
        optimizer = SGD(learning_rate=0.05, momentum=0.9)
        reports = list(ag.fit(model, optimizer, data, data, epochs=4, batch_size=10))
        digests.append(
            (
                [(each.train, each.test) for each in reports],
                [each.numpy().tobytes() for each in model.parameters()],
            )
        )
    assert digests[0] == digests[1]
    assert reports[-1].train.count == 103
    assert optimizer.count == 44


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("scalar_type", ["f32", "bf16", "f64"])
def test_parameters_move_together_as_they_move_alone(kind, scalar_type):
    rng = np.random.default_rng(0)
    sizes = [(40,), (3, 7), (1,), *[(5,)] * 40]
    values, slopes = ([rng.standard_normal(size) for size in sizes] for _ in range(2))
    found = []
    for alone in (False, True):
        parameters = {
            f"w{i}": ag.Parameter(Tensor(each, device="cuda").cast(scalar_type))
            for i, each in enumerate(values)
        }
        optimizer = SGD(momentum=0.9, nesterov=True) if kind == "sgd" else Adam()
        groups = [{name: w} for name, w in parameters.items()] if alone else [parameters]
        for _ in range(3):
            for w, slope in zip(parameters.values(), slopes, strict=True):
                w.grad = Tensor(slope, device="cuda").cast(scalar_type)
            for group in groups:
                optimizer.update(group)
        found.append([w.numpy().tobytes() for w in parameters.values()])

    assert found[0] == found[1]


def test_products_whose_tiles_are_counted_are_replayed_again_and_again():
    """cublasLt takes the tiles of these in turn, by counters that every replay begins at 0."""
    rng = np.random.default_rng(0)
    w = [
        Tensor(rng.standard_normal(shape, np.float32) / 16, device="cuda").cast("bf16")
        for shape in ((512, 1536), (1536, 512), (512, 2048))
    ]

    def product(x):
        y = x.cast("bf16")
        for each in w:
            y = (y @ each).relu()
        return y.cast("f32"), x @ x.permute_dims((1, 0))

    call = capture(product)
    for seed in range(6):
        x = Tensor(
            np.random.default_rng(seed).standard_normal((4096, 512), np.float32), device="cuda"
        )
        with ag.precision("tf32"):
            found, expected = call(x), product(x)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert not call.eager
