"""The profiler: it sees every kernel, with its layer and way, and is gone afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import autograph as ag
from autograph.data import synthetic
from autograph.errors import SettingsError
from autograph.layers import Dense, Layer, Tanh, sequential
from autograph.op import Op
from autograph.profiler import Profile, profile
from autograph.tensor import staircase


@sequential(input=(2,))
class Points(Layer):
    """Points (N, 2) -> scores (N, 2)."""

    dense1: Dense = Dense.builder(outputs=8, bias=True)
    tanh: Tanh
    dense2: Dense = Dense.builder(outputs=2, bias=True)


@pytest.fixture
def profiled() -> Profile:
    model, data = Points.build(), synthetic("xor", 40)
    x, t = ag.Tensor(data.inputs), ag.Tensor(data.targets)
    with profile() as found:
        for _ in range(3):
            model(x).cross_entropy_loss(t).backward()
    return found


def test_ops_are_counted_with_their_bytes(profiled: Profile) -> None:
    by_op = profiled.by_op()

    assert 6 == by_op["linear"].calls
    assert 3 == by_op["cross_entropy_loss"].calls
    assert by_op["tanh"].bytes == 3 * 2 * 40 * 8 * 4
    assert 0 < sum(each.seconds for each in by_op.values()) <= profiled.seconds


def test_layers_are_told_on_both_ways(profiled: Profile) -> None:
    by_layer = profiled.by_layer()

    assert {"dense1", "tanh", "dense2", "backward of dense1", "backward of tanh"} <= set(by_layer)
    assert "dense2" in profiled.table()


def test_a_trace_is_what_chrome_reads(profiled: Profile, tmp_path: Path) -> None:
    profiled.save_trace(tmp_path / "trace.json")

    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]

    assert len(profiled.events) == len(events)
    assert {"X"} == {each["ph"] for each in events}
    assert {"forward", "backward"} == {each["cat"] for each in events}


def test_it_leaves_nothing_behind_and_changes_no_value() -> None:
    before = Op.plan, Layer.__call__, staircase._record
    model, x = Points.build(), ag.ones((3, 2))
    plain = model(x).numpy()

    def fail(found: Profile) -> None:
        raise RuntimeError(f"on purpose, after {len(found.events)} events")

    with profile() as found:
        seen = model(x).numpy()
    with pytest.raises(RuntimeError, match="after 0 events"), profile() as empty:
        fail(empty)

    assert before == (Op.plan, Layer.__call__, staircase._record)
    assert (plain == seen).all()
    count = len(found.events)
    model(x)
    assert count == len(found.events)


def test_there_is_one_at_a_time() -> None:
    with profile(), pytest.raises(SettingsError, match="there is one already"), profile():
        pass
    with profile():
        pass
