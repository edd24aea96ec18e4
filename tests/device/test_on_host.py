"""The device's own kernels run on the host, thread by thread: whether they are right is seen
without a device. What is made of expressions, and chains, have tests of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from autograph import ops  # noqa: F401  it fills the registry
from autograph.backends import CUDA
from autograph.op import REGISTRY, Op
from autograph.testing import kernels
from autograph.testing.kernels import cases_of

from . import cases, host_cupy, net_cases, update_cases

OWN = [op for op in REGISTRY.values() if CUDA in op.modules and op.samples]
CASES = {"few": net_cases.few, "updates": update_cases.updates}  # what no sample reaches

pytestmark = pytest.mark.skipif(bool(host_cupy.missing()), reason=host_cupy.missing())


@pytest.fixture(autouse=True, scope="module")
def cupy() -> Iterator[Any]:
    with host_cupy.installed() as cupy:
        yield cupy


def halves_and_singles(op: Op, arrays: Any) -> list[kernels.Case]:
    """The cases in f32 and bf16, which differ most; the others compile as long, and alike."""
    found = list(cases_of(op, arrays))
    return [each for each in found if "f32" in each.label or "bf16" in each.label] or found


@pytest.mark.parametrize("op", [op for op in OWN if op.name[:5] != "chain"], ids=lambda op: op.name)
def test_a_kernel_agrees_with_numpy(op: Op, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "cases_of", halves_and_singles)

    kernels.compare_kernels(op, backends=[CUDA])


@pytest.mark.parametrize("case", CASES)
def test_kernels_agree_where_threads_take_turns_backwards(
    case: str, cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_cupy, "in_reverse", True)

    for name, got, expected, tolerance in CASES[case](cupy, cases.F32):
        assert cases.distance(np.asarray(got, "f8"), expected) <= tolerance, name
