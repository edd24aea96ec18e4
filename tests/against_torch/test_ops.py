"""Ops agree with PyTorch: outputs, gradients and scalar types, over random shapes and layouts."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed:  pip install torch")

from autograph.op import REGISTRY

from .cases import Case
from .table import ELSEWHERE, ROWS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch's, of var and of layouts


@pytest.mark.parametrize("name", sorted(ROWS))
def test_op_agrees_with_torch(name: str, torch_samples: int, torch_seed: int) -> None:
    row = ROWS[name]
    for sample in range(torch_samples):
        rng = np.random.default_rng([torch_seed, sample, sum(name.encode())])
        scalar_type = row.types[sample % len(row.types)]
        inputs, settings = row.draw(rng)
        if scalar_type == "u8":
            inputs = [np.abs(x) if isinstance(x, np.ndarray | np.generic) else x for x in inputs]
        if scalar_type not in ("f64", "f32", "f16", "bf16"):
            least = 0 if scalar_type == "u8" else -9
            inputs = [max(int(x), least) if type(x) is float else x for x in inputs]
        inputs = [np.asarray(x) if isinstance(x, np.generic) else x for x in inputs]
        Case(row, inputs, settings, scalar_type).check(rng)


def test_every_op_of_these_files_is_compared_or_says_why() -> None:
    files = """
        arrange broadcast cast comparison counting decompose elementwise index linalg matmul pad
        products reduce reduce.product rounding scan scatter shape softmax sort statistics svd take
        transcendental transfer triangle
    """
    modules = {f"autograph.ops.{name}" for name in files.split()}
    ours = {
        name
        for name, op in REGISTRY.items()
        if op.samples is not None and op.samples.__module__ in modules and "_d" not in name
    }

    assert set() == ours - ROWS.keys() - ELSEWHERE.keys()
