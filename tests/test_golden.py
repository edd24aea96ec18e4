"""Values and gradients against torch's, which `golden/make_golden.py` has written down."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from autograph import Tensor, ops
from autograph.scalar_type import F64, I64

FOLDER = Path(__file__).parent / "golden"
TOLERANCES = {"f32": 1e-5, "f64": 1e-7}

REDUCTIONS: dict[str, dict[str, Any]] = {
    "sum/all": {},
    "sum/axes": {"axis": (0, 2), "keepdims": True},
    "mean/axis": {"axis": 1},
    "max/ties": {"axis": 1},
    "min/ties": {"axis": 1},
}


@cache
def golden(file: str) -> dict[str, np.ndarray[Any, Any]]:
    return load_file(FOLDER / f"{file}.safetensors")


def cases() -> list[str]:
    return sorted(key.removesuffix("/output") for key in golden("ops") if key.endswith("/output"))


def settings_of(case: str) -> dict[str, Any]:
    """The settings that torch was given, in our words."""
    values = golden("ops").get(f"{case}/settings")
    if values is None:
        return REDUCTIONS.get(case, {})
    pairs = [tuple(map(int, values[i : i + 2])) for i in (0, 2, 4)]
    if case.startswith("conv2"):
        return dict(zip(("stride", "padding", "dilation"), pairs, strict=True)) | {
            "groups": int(values[6])
        }
    return dict(zip(("filter", "stride", "padding"), pairs, strict=True))


def near(found: Tensor, expected: np.ndarray[Any, Any], tolerance: float) -> None:
    """As close as the tolerance, of the value or of the largest beside it where sums cancel."""
    largest = float(np.abs(expected).max(initial=1.0))
    np.testing.assert_allclose(found.numpy(), expected, rtol=tolerance, atol=tolerance * largest)


@pytest.mark.parametrize("scalar_type", TOLERANCES)
@pytest.mark.parametrize("case", cases())
def test_outputs_and_gradients_are_torchs(case: str, scalar_type: str) -> None:
    stored, tolerance = golden("ops"), TOLERANCES[scalar_type]
    op = getattr(ops, case.partition("/")[0])
    inputs = []
    while (array := stored.get(f"{case}/input{len(inputs)}")) is not None:
        floating = array.dtype.kind == "f"
        x = Tensor(array).cast(scalar_type) if floating else Tensor(array)
        x.requires_grad = floating
        inputs.append(x)
    y = op(*inputs, **settings_of(case))
    y.backward(Tensor(stored[f"{case}/seed"]).cast(scalar_type))

    assert y.scalar_type.value == scalar_type
    near(y, stored[f"{case}/output"], tolerance)
    for i, x in enumerate(inputs):
        if x.requires_grad:
            assert x.grad.scalar_type.value == scalar_type
            near(x.grad, stored[f"{case}/gradient{i}"], tolerance)


# -- optimizers --------------------------------------------------------------------------

SEEN = (1, 2, 3, 10, 30, 60)
SETTINGS: dict[str, dict[str, Any]] = {
    "sgd/plain": {"rate": 0.1},
    "sgd/decay": {"rate": 0.1, "weight_decay": 0.01},
    "sgd/momentum": {"rate": 0.05, "momentum": 0.9},
    "sgd/dampening": {"rate": 0.05, "momentum": 0.9, "dampening": 0.3},
    "sgd/nesterov": {"rate": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "sgd/maximize": {"rate": 0.05, "momentum": 0.5, "maximize": True},
    "adam/plain": {"rate": 0.01},
    "adam/betas": {"rate": 0.01, "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-4},
    "adam/decay": {"rate": 0.01, "weight_decay": 0.1},
    "adam/amsgrad": {"rate": 0.01, "largest": True},
    "adamw/plain": {"rate": 0.01, "weight_decay": 0.01, "decoupled": True},
    "adamw/decay": {"rate": 0.01, "weight_decay": 0.1, "decoupled": True, "largest": True,
                    "maximize": True},
}  # fmt: skip


@pytest.mark.parametrize("scalar_type", ["f32", "f64"])
@pytest.mark.parametrize("case", SETTINGS)
def test_updates_are_torchs_over_60_steps(case: str, scalar_type: str) -> None:
    stored, tolerance = golden("optimizers"), {"f32": 1e-6, "f64": 1e-9}[scalar_type]
    settings = dict(SETTINGS[case])
    rate = np.array(settings.pop("rate"), F64.dtype)
    step = np.array(0, I64.dtype)
    w = Tensor(stored["start"]).cast(scalar_type).copy().numpy()
    state = [np.zeros_like(w) for _ in range(3)]
    wants_largest = settings.pop("largest", False)
    seen = []
    for count, gradient in enumerate(stored["gradients"], start=1):
        dw = gradient.astype(w.dtype)
        if case.startswith("sgd"):
            velocity = state[0] if "momentum" in settings else None
            ops.sgd_update(w, dw, step, rate, velocity, None, **settings)
        else:
            largest = state[2] if wants_largest else None
            ops.adam_update(w, dw, step, rate, state[0], state[1], largest, None, **settings)
        if count in SEEN:
            seen.append(w.copy())

    assert step == 60
    np.testing.assert_allclose(
        np.stack(seen), stored[f"{case}/{scalar_type}"], rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("scalar_type", ["bf16", "f16"])
def test_a_narrow_parameter_follows_its_master(scalar_type: str) -> None:
    """The master takes the steps of an f32 parameter; the parameter is its master, rounded."""
    stored = golden("optimizers")
    w = Tensor(stored["start"]).cast(scalar_type).numpy().copy()
    master, alone = w.astype(np.float32), w.astype(np.float32)
    steps = [np.array(0, I64.dtype), np.array(0, I64.dtype)]
    rate = np.array(0.05, F64.dtype)
    velocities = [np.zeros_like(master), np.zeros_like(master)]
    for gradient in stored["gradients"][:20]:
        narrow = Tensor(gradient).cast(scalar_type).numpy()
        ops.sgd_update(w, narrow, steps[0], rate, velocities[0], master, momentum=0.9)
        ops.sgd_update(
            alone, narrow.astype(np.float32), steps[1], rate, velocities[1], None, momentum=0.9
        )

    np.testing.assert_allclose(master, alone, rtol=1e-6)
    assert w.tobytes() == master.astype(w.dtype).tobytes()
