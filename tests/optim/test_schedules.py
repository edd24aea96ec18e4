"""Schedules beside torch's, to 1e-12, and told as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autograph import optim
from autograph.errors import SettingsError
from autograph.optim.schedules import schedule_of

STEPS = 60


def torchs_rates(make: Callable[[Any, Any], Any], rate: float) -> list[float]:
    """The rates of a torch scheduler, which `make(module, optimizer)` makes."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=rate)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    found = []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


CASES = [
    (optim.Step(initial=0.1, every=7, factor=0.5), lambda m, o: m.StepLR(o, 7, 0.5)),
    (optim.MultiStep(initial=0.1, at=(5, 20)), lambda m, o: m.MultiStepLR(o, [5, 20])),
    (optim.Exponential(initial=0.1, factor=0.9), lambda m, o: m.ExponentialLR(o, 0.9)),
    (optim.Linear(initial=0.1, final=0.02, steps=50), lambda m, o: m.LinearLR(o, 1.0, 0.2, 50)),
    (optim.Polynomial(initial=0.1, power=2.0, steps=50), lambda m, o: m.PolynomialLR(o, 50, 2.0)),
    (optim.Cosine(peak=0.1, floor=0.01, steps=STEPS),
     lambda m, o: m.CosineAnnealingLR(o, STEPS, 0.01)),
    (optim.CosineRestarts(peak=0.1, every=5, factor=2, floor=0.01),
     lambda m, o: m.CosineAnnealingWarmRestarts(o, 5, 2, 0.01)),
    (optim.CosineRestarts(peak=0.1, every=7), lambda m, o: m.CosineAnnealingWarmRestarts(o, 7)),
    (optim.OneCycle(peak=0.1, steps=61), lambda m, o: m.OneCycleLR(o, 0.1, total_steps=61)),
    (optim.OneCycle(peak=0.1, steps=61, share=0.5, start=10.0, end=100.0, form="linear"),
     lambda m, o: m.OneCycleLR(
         o, 0.1, total_steps=61, pct_start=0.5, div_factor=10.0, final_div_factor=100.0,
         anneal_strategy="linear")),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "make"), CASES, ids=lambda each: getattr(each, "kind", ""))
def test_schedules_are_torchs(schedule: Any, make: Any) -> None:
    expected = torchs_rates(make, 0.1)

    np.testing.assert_allclose(schedule.table(STEPS), expected, rtol=0, atol=1e-12)


def test_a_warm_up_is_torchs_linear_then_what_comes_after() -> None:
    schedule = optim.Warmup(after=optim.Exponential(initial=0.1, factor=0.9), length=5, start=0.2)
    expected = torchs_rates(
        lambda m, o: m.SequentialLR(o, [m.LinearLR(o, 0.2, 1.0, 5), m.ExponentialLR(o, 0.9)], [5]),
        0.1,
    )

    np.testing.assert_allclose(schedule.table(STEPS), expected, rtol=0, atol=1e-12)


def test_a_constant_and_rates_in_a_row_are_torchs() -> None:
    rates = (0.1, 0.03, 0.07)
    for schedule, factor in (
        (optim.Constant(rate=0.1), lambda step: 1.0),
        (optim.Pieces(rates=rates), lambda step: rates[min(step, 2)] / 0.1),
    ):
        expected = torchs_rates(lambda m, o, f=factor: m.LambdaLR(o, f), 0.1)

        np.testing.assert_allclose(
            [schedule(step) for step in range(len(expected))], expected, rtol=1e-12
        )


def test_a_plateau_falls_as_torchs_does() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    reports = np.abs(np.random.default_rng(0).normal(size=80)).cumsum()[::-1].round(1).tolist()
    reports += [0.5] * 30
    reports[:0] = [float("nan"), float("inf"), -1.0, -1.0]  # as a loss may begin, and be
    for settings, words in (
        ({}, {}),
        (
            {"patience": 2, "cooldown": 3, "factor": 0.5},
            {"patience": 2, "cooldown": 3, "factor": 0.5},
        ),
        (
            {"smallest": False, "patience": 4, "floor": 1e-3},
            {"mode": "max", "patience": 4, "min_lr": 1e-3},
        ),
    ):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **words)
        plateau = optim.Plateau(initial=0.1, **settings)
        for count, report in enumerate(reports, 1):
            scheduler.step(report)
            expected = optimizer.param_groups[0]["lr"]

            assert abs(plateau.after(reports[:count]) - expected) < 1e-12


@pytest.mark.parametrize("schedule", [case[0] for case in CASES], ids=lambda each: each.kind)
def test_schedules_are_told_and_made_again(schedule: Any) -> None:
    warm = optim.Warmup(after=schedule, length=3)

    for each in (schedule, warm):
        assert schedule_of(json.loads(json.dumps(each.describe()))) == each


def test_a_horizon_is_filled_in_behind_a_warm_up() -> None:
    schedule = optim.Warmup(after=optim.Linear(initial=1.0), length=10)

    assert schedule.depends_on_horizon
    assert schedule.over(110).after.steps == 100
    assert schedule.over(110)(110) == 0.0
    with pytest.raises(SettingsError, match="Linear: steps is not known"):
        schedule(11)


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"there is no schedule 'os\.system'"):
        schedule_of({"kind": "os.system"})
