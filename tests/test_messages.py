"""Every text of a refusal, whole, in messages.txt: a change of wording is seen in review."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

import autograph as ag
from autograph import Tensor, grad, higher_order, no_grad, ops
from autograph.errors import AutographError, DeviceError
from autograph.expression import FUNCTIONS
from autograph.layers import Dense, Layer, sequential
from autograph.op import REGISTRY, Op
from autograph.ops.pointwise import pointwise

from .fake_device import fake_devices


@sequential(input=(1,))
class Declared1(Layer):
    """Scores (N, 1) of numbers (N, 1)."""

    dense: Dense = Dense.builder(outputs=1)


def T(*shape: int, leaf: bool = False) -> Tensor:
    """Ones."""
    return Tensor(np.ones(shape, np.float32), requires_grad=leaf)


def walk_twice() -> None:
    x = T(1, leaf=True)
    y = (x * x).sum()
    y.backward()
    y.backward()


def use_what_is_spent() -> None:
    x = T(1, leaf=True)
    y = x * x
    y.sum().backward()
    y + 1.0


def write_what_was_recorded() -> None:
    x, w = T(2, leaf=True), T(2, leaf=True)
    y = (x * w).sum()
    with no_grad():
        w[...] = 0.0
    y.backward()


def differentiate_a_plain_graph_again() -> None:
    x = T(1, leaf=True)
    y = (x * x).sum()
    with higher_order():
        grad(y, [x])


def run_without_a_kernel() -> None:
    op = Op("lonely", "x")
    try:
        op(np.ones(2))
    finally:
        del REGISTRY["lonely"]


NAMES = {name: getattr(ag, name) for name in ag.__all__} | {
    "Dense": Dense, "T": T, "ag": ag, "copy": copy, "np": np, "pointwise": pointwise,
    **{
        each.__name__: each
        for each in (
            Declared1, differentiate_a_plain_graph_again, run_without_a_kernel, use_what_is_spent,
            walk_twice, write_what_was_recorded,
        )
    },
}  # fmt: skip
REFUSALS = Path(__file__).with_name("messages.txt").read_text("utf-8").rstrip().split("\n\n")


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda each: each.partition("\n")[0])
def test_a_refusal_says(refusal: str) -> None:
    """A name, a call, and the error as Python tells it."""
    _, call, told = refusal.replace("{functions}", ", ".join(FUNCTIONS)).split("\n", 2)
    with pytest.raises(AutographError) as caught:
        eval(call.removeprefix(">>> "), NAMES)

    assert told == f"{type(caught.value).__name__}: {caught.value}"


def test_inputs_on_two_devices() -> None:
    with fake_devices():
        x, weight = Tensor([[1.0]], device="fake:1"), T(1, 1)
        with pytest.raises(DeviceError) as caught:
            ops.linear(x, weight)
        with pytest.raises(DeviceError) as beside:
            x + np.ones(1)
        with pytest.raises(DeviceError) as written:
            x[...] = weight

    assert str(caught.value) == (
        "linear: inputs are on different devices\n"
        "  x       fake:1\n"
        "  weight  host\n"
        "  move one: x.to(device)"
    )
    assert str(beside.value) == (
        "add: inputs are on different devices\n"
        "  tensor   fake:1\n"
        "  ndarray  host\n"
        "  move it: Tensor(array, device='fake:1')"
    )
    assert str(written.value) == (
        "assign: the value is on another device\n"
        "  x      fake:1\n"
        "  value  host\n"
        "  write  value.to(x.device)"
    )


@pytest.mark.parametrize("error", AutographError.__subclasses__(), ids=lambda each: each.__name__)
def test_every_error_is_a_builtin_too(error: type[AutographError]) -> None:
    """So that callers who know no autograph can catch it."""
    builtin = error.__mro__[2]

    assert builtin.__module__ == "builtins"
    assert builtin not in (Exception, BaseException)
