"""Optimizers beside torch's under the same gradients, step by step; those that torch has not
beside their formulas."""

from __future__ import annotations

import json
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import Parameter, Tensor, layers, no_grad, optim
from autograph.backends import NUMPY, using
from autograph.errors import CheckpointError, GraphError, SettingsError
from autograph.optim import optimizer_from_description

STEPS = 60
TOLERANCE = {"f32": 1e-6, "f64": 1e-9}
ADAM = {"beta1": 0.8, "beta2": 0.99}
BETAS = {"betas": (0.8, 0.99)}

CASES: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("SGD", {}, "SGD", {}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, "SGD", {}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3, "maximize": True}, "SGD", {}),
    ("Adam", {"weight_decay": 0.1, "amsgrad": True}, "Adam", {}),
    ("Adam", ADAM, "Adam", BETAS),
    ("AdamW", {}, "AdamW", {}),
    ("NAdam", {}, "NAdam", {}),
    ("NAdam", {**ADAM, "weight_decay": 0.1}, "NAdam", {**BETAS}),
    ("NAdam", {"decoupled": True, "weight_decay": 0.1}, "NAdam", {"decoupled_weight_decay": True}),
    ("RAdam", {}, "RAdam", {}),
    ("RAdam", {**ADAM, "decoupled": True, "weight_decay": 0.1}, "RAdam",
     {**BETAS, "decoupled_weight_decay": True}),
    ("RMSprop", {}, "RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.1}, "RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "maximize": True}, "RMSprop", {}),
    ("Adagrad", {}, "Adagrad", {}),
    ("Adagrad", {"rate_decay": 0.1, "initial": 0.5, "weight_decay": 0.1}, "Adagrad",
     {"lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adadelta", {}, "Adadelta", {}),
    ("Adadelta", {"rho": 0.8, "weight_decay": 0.1}, "Adadelta", {}),
    ("Adamax", {}, "Adamax", {}),
    ("Adamax", {**ADAM, "weight_decay": 0.1}, "Adamax", BETAS),
    ("Adafactor", {}, "Adafactor", {}),
    ("Adafactor", {"clip": 1.2, "weight_decay": 0.1, "decay": -0.5}, "Adafactor",
     {"d": 1.2, "beta2_decay": -0.5}),
]  # fmt: skip
RENAMED = {
    "learning_rate": "lr", "beta1": None, "beta2": None, "decoupled": None, "rate_decay": None,
    "initial": None, "clip": None, "decay": None,
}  # fmt: skip


def gradients(dtype: Any, shape: tuple[int, ...] = (4, 3)) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).normal(size=(STEPS, *shape)).astype(dtype)


def stepped(optimizer: Any, start: np.ndarray[Any, Any], slopes: Any) -> list[np.ndarray[Any, Any]]:
    w = Parameter(start)
    found = []
    for slope in slopes:
        w.grad = Tensor(slope)
        optimizer.update({"w": w})
        found.append(w.numpy().copy())
    return found


@pytest.mark.parametrize("shape", [(4, 3), (5,)])
@pytest.mark.parametrize("scalar_type", ["f32", "f64"])
@pytest.mark.parametrize(("kind", "settings", "theirs", "words"), CASES)
def test_sixty_steps_are_torchs(
    kind: str,
    settings: dict[str, Any],
    theirs: str,
    words: dict[str, Any],
    scalar_type: str,
    shape: tuple[int, ...],
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    dtype = {"f32": np.float32, "f64": np.float64}[scalar_type]
    start = np.random.default_rng(0).normal(size=shape).astype(dtype)
    slopes = gradients(dtype, shape)
    known = {RENAMED.get(name, name): value for name, value in settings.items()}
    known.pop(None, None)
    optimizer = getattr(optim, kind)(**settings)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, np.dtype(dtype).name))  # NAdam counts in it
    try:
        parameter = torch.nn.Parameter(torch.tensor(start))
        other = getattr(torch.optim, theirs)(
            [parameter], lr=optimizer.learning_rate, foreach=False, **{**known, **words}
        )
        for ours, slope in zip(stepped(optimizer, start, slopes), slopes, strict=True):
            parameter.grad = torch.tensor(slope)
            other.step()
            tolerance = TOLERANCE[scalar_type]
            np.testing.assert_allclose(
                ours, parameter.detach().numpy(), rtol=tolerance, atol=tolerance
            )
    finally:
        torch.set_default_dtype(before)


def test_decayed_steps_are_rounded_as_torchs() -> None:
    """Else the roundings of a decay of 1e-5 a step, all in one direction, add up to 2e-6."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    start = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)
    slopes = gradients(np.float32, start.shape)
    parameter = torch.nn.Parameter(torch.tensor(start))
    other = torch.optim.AdamW([parameter], foreach=False)
    for slope in slopes:
        parameter.grad = torch.tensor(slope)
        other.step()

    ours = stepped(optim.AdamW(), start, slopes)[-1]
    np.testing.assert_allclose(ours, parameter.detach().numpy(), rtol=3e-7, atol=3e-7)


def test_muon_is_torchs_but_for_its_bf16() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    start = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    slopes = gradients(np.float32)
    parameter = torch.nn.Parameter(torch.tensor(start.T.copy()))  # theirs is (outputs, inputs)
    other = torch.optim.Muon([parameter], lr=1e-2)

    for ours, slope in zip(
        stepped(optim.Muon(learning_rate=1e-2), start, slopes), slopes, strict=True
    ):
        parameter.grad = torch.tensor(slope.T.copy())
        other.step()
        np.testing.assert_allclose(ours, parameter.detach().numpy().T, atol=2e-2)


def lion(w: Any, dw: Any, state: dict[str, Any], t: int) -> Any:
    m = state.setdefault("m", np.zeros_like(w))
    way = np.sign(0.9 * m + 0.1 * dw)
    state["m"] = 0.99 * m + 0.01 * dw
    return w - 1e-4 * (way + 0.1 * w)


def lamb(w: Any, dw: Any, state: dict[str, Any], t: int) -> Any:
    m = state["m"] = 0.9 * state.get("m", 0 * w) + 0.1 * dw
    v = state["v"] = 0.999 * state.get("v", 0 * w) + 0.001 * dw * dw
    way = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-6) + 0.01 * w
    return w - 1e-3 * np.linalg.norm(w) / np.linalg.norm(way) * way


def muon(w: Any, dw: Any, state: dict[str, Any], t: int) -> Any:
    v = state["v"] = 0.95 * state.get("v", 0 * w) + 0.05 * dw
    x = 0.05 * dw + 0.95 * v
    x = x.T / (np.linalg.norm(x) + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return w * (1 - 1e-3 * 0.1) - 1e-3 * x.T


@pytest.mark.parametrize(
    ("optimizer", "formula"),
    [(optim.Lion(weight_decay=0.1), lion), (optim.LAMB(), lamb), (optim.Muon(), muon)],
)
def test_sixty_steps_are_the_formulas(optimizer: Any, formula: Any) -> None:
    w, slopes, state = np.random.default_rng(0).normal(size=(4, 3)), gradients(np.float64), {}

    for t, (ours, slope) in enumerate(zip(stepped(optimizer, w, slopes), slopes, strict=True), 1):
        w = formula(w, slope, state, t)
        np.testing.assert_allclose(ours, w, rtol=1e-9, atol=1e-9)


def test_the_singular_values_of_a_muon_step_are_near_one() -> None:
    from autograph.ops.update.muon import orthogonal

    found = np.linalg.svd(orthogonal(np.random.default_rng(0).normal(size=(16, 8)), 5, 1e-7))[1]

    assert ((found > 0.6) & (found < 1.3)).all()


KINDS = sorted(optim.describe.OPTIMIZERS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_optimizer_lowers_a_loss_in_bf16_with_masters(kind: str) -> None:
    rate = 1.0 if kind == "Adadelta" else 0.01  # whose first steps are far below its rate
    optimizer = optim.describe.OPTIMIZERS[kind](learning_rate=rate)
    w = Parameter(np.full((4, 3), 2.0, np.float32), scalar_type="bf16")
    first = (w * w).sum().item()
    for _ in range(40):
        (w * w).sum().backward()
        optimizer.update({"w": w})

    assert (w * w).sum().item() < first
    assert str(optimizer.state["w"]["master"].scalar_type) == "f32"


@pytest.mark.parametrize("backends", [nullcontext, partial(using, NUMPY)], ids=["best", "numpy"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_optimizer_without_masters_rounds_once_a_step(kind: str, backends: Any) -> None:
    start, slopes, *_ = (Tensor(each).cast("bf16") for each in gradients(np.float32, (6, 5)))
    w, single = Parameter(start), Parameter(start.cast("f32"))
    halves, singles = (optim.describe.OPTIMIZERS[kind](masters=False) for _ in range(2))
    with backends():
        for step in range(4):
            for each, optimizer in ((w, halves), (single, singles)):
                each.grad = (slopes * float(step + 1)).cast(each.scalar_type)
                optimizer.update({"w": each})
            with no_grad():
                single[...] = single.cast("bf16").cast("f32")

            assert set(halves.tensors()) == set(singles.tensors())
            np.testing.assert_array_equal(w.cast("f32").numpy(), single.numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_every_optimizer_is_told_and_made_again(kind: str) -> None:
    rate = optim.Warmup(after=optim.Cosine(peak=0.1, steps=10), length=3)
    optimizer = optim.describe.OPTIMIZERS[kind](
        learning_rate=rate, groups={"*.bias": {"learning_rate": optim.Constant(rate=0.5)}}
    )

    again = optimizer_from_description(json.loads(json.dumps(optimizer.describe())))

    assert again.describe() == optimizer.describe()
    assert again.learning_rate == rate


def test_state_that_does_not_fit_is_refused() -> None:
    w = Parameter(np.zeros((4, 3), np.float32))
    w.grad = Tensor(np.ones((4, 3), np.float32))
    adagrad = optim.Adagrad()
    adagrad.update({"w": w})

    with pytest.raises(CheckpointError, match="the file's state of w does not fit"):
        optim.Adadelta().restore(adagrad.tensors(), 1, {"w": w})


# -- groups ------------------------------------------------------------------------------


def named() -> dict[str, Parameter]:
    return {
        name: Parameter(np.ones(2, np.float32))
        for name in ("body.weight", "body.bias", "head.weight")
    }


def moved(optimizer: Any, steps: int = 1) -> dict[str, float]:
    parameters = named()
    for _ in range(steps):
        for each in parameters.values():
            each.grad = Tensor(np.ones(2, np.float32))
        optimizer.update(parameters)
    return {name: round(float(each.numpy()[0]), 6) for name, each in parameters.items()}


def test_groups_have_settings_of_their_own() -> None:
    optimizer = optim.SGD(
        learning_rate=0.1,
        weight_decay=1.0,
        groups={"*.bias": {"weight_decay": 0.0}, "head.*": {"learning_rate": 0.5}},
    )

    assert moved(optimizer) == {"body.weight": 0.8, "body.bias": 0.9, "head.weight": 0.0}


def test_the_later_of_two_groups_stands() -> None:
    optimizer = optim.SGD(
        learning_rate=0.1,
        groups={"body.*": {"learning_rate": 0.2}, "*.bias": {"learning_rate": 0.3}},
    )

    assert moved(optimizer) == {"body.weight": 0.8, "body.bias": 0.7, "head.weight": 0.9}


def test_a_group_follows_a_schedule_of_its_own() -> None:
    optimizer = optim.SGD(
        learning_rate=0.1, groups={"head.*": {"learning_rate": optim.Pieces(rates=(0.0, 0.2))}}
    )

    assert moved(optimizer, steps=2) == {"body.weight": 0.8, "body.bias": 0.8, "head.weight": 0.8}


def test_a_group_follows_the_common_rate_where_it_has_none() -> None:
    optimizer = optim.SGD(learning_rate=0.1, groups={"*.bias": {"momentum": 0.5}})
    moved(optimizer)
    optimizer.learning_rate = 0.2
    fresh = optim.SGD(learning_rate=0.2, groups={"*.bias": {"momentum": 0.5}})

    assert moved(fresh)["body.bias"] == 0.8


def test_a_group_that_fits_nothing_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"groups: 'tail.\*' fits no parameter"):
        moved(optim.SGD(groups={"tail.*": {"momentum": 0.5}}))


def test_a_group_cannot_change_what_is_common() -> None:
    with pytest.raises(SettingsError, match="changes what is no setting of a group"):
        optim.SGD(groups={"*": {"clip_norm": 1.0}})


# -- averages and accumulation -----------------------------------------------------------


class Model:
    def __init__(self, value: float) -> None:
        self.w = Parameter(np.full(2, value, np.float32))

    def named_parameters(self) -> dict[str, Parameter]:
        return {"w": self.w}


def test_an_average_follows_and_is_put_in_and_out() -> None:
    model, average = Model(1.0), optim.Average(decay=0.75)
    average.update(model)
    model.w[...] = Tensor(np.full(2, 5.0, np.float32))
    average.update(model)

    with average.applied(model):
        assert model.w.tolist() == [2.0, 2.0]
    assert model.w.tolist() == [5.0, 5.0]


def test_an_average_is_kept_in_f32_and_restored() -> None:
    model, average, again = Model(1.0), optim.Average(decay=0.5), optim.Average(decay=0.5)
    model.w = Parameter(np.ones(2, np.float32), scalar_type="bf16")
    average.update(model)
    again.restore(average.tensors(), model.named_parameters())

    assert str(again.tensors()["w"].scalar_type) == "f32"
    with pytest.raises(GraphError, match="there is none yet"), optim.Average().applied(model):
        pass


def test_gradients_of_several_walks_add_up_until_the_update() -> None:
    w, optimizer = Parameter(np.ones(2, np.float32)), optim.SGD(learning_rate=0.1)
    for _ in range(4):
        (w.sum() / 4).backward()
    optimizer.update({"w": w})

    np.testing.assert_allclose(w.numpy(), [0.9, 0.9])


def test_settings_that_are_changed_later_are_those_of_groups_too() -> None:
    optimizer = optim.SGD(
        learning_rate=0.1,
        momentum=0.9,
        groups={"b*": {"momentum": 0.5}, "a": {"weight_decay": 0.0}},
    )
    a, b = Parameter([1.0]), Parameter([1.0])
    for momentum in (0.9, 0.0):
        optimizer.momentum = momentum
        a.grad, b.grad = Tensor([1.0]), Tensor([1.0])
        optimizer.update({"a": a, "b": b})

    np.testing.assert_allclose(a.item(), 1 - 0.1 - 0.1, rtol=1e-6)
    np.testing.assert_allclose(b.item(), 1 - 0.1 - 0.15, rtol=1e-6)
    with pytest.raises(AttributeError, match=r"has no lr\n  write  optimizer\.learning_rate"):
        optimizer.lr = 0.5


def test_schedules_of_groups_have_the_horizon_of_fit() -> None:
    model = layers.Dense.builder(inputs=2, outputs=2, bias=True).build()
    optimizer = optim.SGD(
        learning_rate=0.0, groups={"bias": {"learning_rate": optim.Linear(initial=1.0)}}
    )
    data = np.zeros((6, 2), np.float32), np.array([0, 1] * 3)
    list(ag.fit(model, optimizer, data, epochs=2, batch_size=2))

    assert 6 == optimizer.describe()["groups"]["bias"]["learning_rate"]["steps"]
