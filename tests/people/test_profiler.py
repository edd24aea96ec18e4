"""The profiler: it sees every kernel, with its layer and way, and is gone afterwards."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import autograph as ag
from autograph.data import synthetic
from autograph.errors import SettingsError
from autograph.layers import Dense, Layer, Relu, Tanh, sequential
from autograph.op import Op
from autograph.profiler import MARKS, Profile, profile
from autograph.tensor import staircase

from ..fake_device import fake_devices


@sequential(input=(2,))
class Points(Layer):
    """Points (N, 2) -> scores (N, 2)."""

    dense1: Dense = Dense.builder(outputs=8, bias=True)
    tanh: Tanh
    dense2: Dense = Dense.builder(outputs=2, bias=True)


@sequential(input=(2,))
class Wide(Layer):
    """Two layers that run as one op: (N, 2) -> (N, 8)."""

    dense: Dense = Dense.builder(outputs=8)
    relu: Relu


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


def test_layers_that_run_as_one_are_told_apart_where_it_is_asked() -> None:
    model, x = Wide.build(), ag.ones((3, 2))
    with ag.no_grad():
        model(x)
        with profile() as together:
            model(x)
        with profile(apart=True) as apart:
            model(x)

    assert {"linear_relu"} == set(together.by_op())
    assert ["linear", "relu"] == [each.op for each in apart.events]
    assert ["dense", "relu"] == [each.path for each in apart.events]


def test_a_trace_is_what_chrome_reads(profiled: Profile, tmp_path: Path) -> None:
    profiled.save_trace(tmp_path / "trace.json")

    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]

    assert ["M"] == [each["ph"] for each in events[:1]]
    assert len(profiled.events) == len(events) - 1
    assert {"X"} == {each["ph"] for each in events[1:]}
    assert {"forward", "backward"} == {each["cat"] for each in events[1:]}


def test_it_leaves_nothing_behind_and_changes_no_value() -> None:
    before = Op._planned, Layer.__call__, staircase._record, type(ag.ops.add.plans)
    model, x = Points.build(), ag.ones((3, 2))
    plain = model(x).numpy()

    def fail(found: Profile) -> None:
        raise RuntimeError(f"on purpose, after {len(found.events)} events")

    with profile() as found:
        seen = model(x).numpy()
    with pytest.raises(RuntimeError, match="after 0 events"), profile() as empty:
        fail(empty)

    assert before == (Op._planned, Layer.__call__, staircase._record, type(ag.ops.add.plans))
    assert (plain == seen).all()
    count = len(found.events)
    model(x)
    assert count == len(found.events)


def test_there_is_one_at_a_time() -> None:
    with profile(), pytest.raises(SettingsError, match="there is one already"), profile():
        pass
    with profile():
        pass


# -- devices ---------------------------------------------------------------------------


class Clock(types.ModuleType):
    """Marks of a device whose clock ticks once a mark, and which says when it was waited for."""

    def __init__(self) -> None:
        super().__init__("clock_of_a_fake_device")
        self.now, self.asked = 0, 0

    def mark(self, index: int) -> int:
        self.now += 1
        return self.now

    def seconds(self, start: int, end: int) -> float:
        self.asked += 1
        return float(end - start)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.setitem(MARKS, "fake", made.__name__)
    return made


def test_a_device_says_its_own_times_and_is_not_waited_for(clock: Clock, tmp_path: Path) -> None:
    with fake_devices() as platform:
        model, x = Points.build(device="fake:0"), ag.Tensor(np.ones((3, 2)), device="fake:0")
        x = x.cast("f32")
        with profile() as found:
            model(x).sum().backward()
            assert 0 == clock.asked
            assert {None} == {each.device for each in found.events}
        assert 0 == platform.read

    spans = [each.device for each in found.events if each.device is not None]
    # Kernels of the fake device call ops of the host's.
    assert ["fake:0"] * len(spans) == [each.place for each in found.events if each.device]
    assert {"linear", "tanh", "sum"} <= {each.op for each in found.events if each.device}
    starts = [each.start for each in spans]
    assert sorted(starts) == starts
    assert all(each.seconds >= each.own >= 1 for each in spans)
    tanh = next(each for each in found.events if each.op == "tanh")
    assert 1.0 == found.by_op()["tanh"].seconds > found.by_op()["tanh"].host == tanh.host.own
    assert "on fake:0" in found.table()
    assert "host ms" in found.table()
    found.save_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert ["host", "fake:0"] == [each["args"]["name"] for each in events if each["ph"] == "M"]
    assert len(found.events) + len(spans) + 2 == len(events)


def test_a_device_without_marks_is_told_by_the_host() -> None:
    with fake_devices():
        x = ag.Tensor(np.ones(3), device="fake:1")
        with profile() as found:
            _ = x + x

    assert [(None, "fake:1")] == [(each.device, each.place) for each in found.events]
    assert found.by_op()["add"].seconds > 0


@pytest.mark.device
def test_marks_of_a_device_lie_within_the_block() -> None:
    a = ag.ones((2048, 2048), device="cuda:0")
    (a @ a).device.synchronize()

    with profile() as found:
        for _ in range(20):
            a = a @ a * 0.0
        a.device.synchronize()

    spans = [each.device for each in found.events if each.device is not None]
    assert len(found.events) == len(spans) == 40
    assert 0 < sum(each.own for each in spans) < found.seconds
    assert max(each.start + each.seconds for each in spans) < 1.1 * found.seconds
    product = found.by_op()["matmul"].seconds
    assert product > found.by_op()["multiply"].seconds
