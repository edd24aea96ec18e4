"""The first kernel of a chain without tensor cores: a thread has a tile, or some columns."""

from __future__ import annotations

from math import prod

from .first import First
from .forward import tiled
from .stages import Stage, up, width
from .tiles import plan_stage


class Scalar(First):
    """Dense weights are `resident` in shared memory or read from global memory by every block."""

    templates = "first.cuh"
    value = "float"
    scatters = False

    def _plan(self, stage: Stage, wanted: bool) -> None:
        plan_stage(stage, self.block, wanted)

    # -- weights ------------------------------------------------------------------------------

    def _row(self, stage: Stage) -> int:
        """From tap to tap of a staged filter: an odd number of vectors."""
        v = width(stage.plan["OB"])
        row = up(up(stage.out[0], stage.plan["OB"]), v)
        return row if row // v % 2 else row + v

    def _copy_filter(self, i: int, stage: Stage) -> None:
        taps, row = stage.weights // stage.out[0], self._row(stage)
        self.phases.make(f"k{i}", taps * row)
        self.phases.add(f"stage_weight<{stage.out[0]}, {taps}, {row}>(g.p{stage.weight}, k{i});")

    # -- forward ------------------------------------------------------------------------------

    def _product_conv2(self, i: int, stage: Stage, source: str, part: str, put: str) -> None:
        p, image, (kh, kw), (sy, sx) = stage.plan, stage.input, stage.filter, stage.stride
        row = self._row(stage)
        constants = {key: p[key] for key in ("TY", "TX", "OB", "SP", "GY", "GX")}
        name = self._struct(
            f"Forward{i}", C=stage.shape[0], O=stage.out[0], KH=kh, KW=kw, SY=sy, SX=sx, LD=row,
            A=width(p["TX"] * sx, image.row, image.plane), WA=width(p["OB"], row), **constants,
            **image.strides,
        )  # fmt: skip
        weight = self.phases.use(f"k{i}")
        self.phases.add(f"conv_forward<{name}>({source}, {weight}, {part}, {put});")

    def _product_linear(self, i: int, stage: Stage, source: str, part: str, put: str) -> None:
        p, phases = stage.plan, self.phases
        name = self._struct(
            f"Dense{i}", I=prod(stage.shape), O=stage.out[0], V=p["V"], R=p["R"], SP=p["SP"],
            IB=p["IB"], sample=stage.input.sample, dsample=stage.delta.sample,
        )  # fmt: skip
        phases.add(f"dense_forward<{name}>({source}, {self._dense_weight(i)}, {part}, {put});")

    # -- backward -----------------------------------------------------------------------------

    def _input_grad_linear(self, i: int, stage: Stage, sink: str) -> None:
        d, weight = self.phases.use(f"d{i}"), self._dense_weight(i)
        self.phases.add(f"dense_input_grad<Dense{i}>({d}, {weight}, {sink});")

    def _weight_grad_conv2(self, i: int, stage: Stage, out: str) -> None:
        p, phases, image, d = stage.plan, self.phases, stage.input, stage.delta
        (c, *_), (o, oh, ow), (kh, kw), (sy, sx) = (
            stage.shape, stage.conv_out, stage.filter, stage.stride,
        )  # fmt: skip
        shape = {"C": c, "O": o, "KH": kh, "KW": kw, "SP": p["WSP"], **image.strides}
        source = phases.use(f"a{i}")
        if p["cells"]:
            name = self._struct(f"Weight{i}", **shape, NP=prod(stage.out[1:]), Q=p["WQ"])
            cells = phases.use(f"c{i}")
            phases.add(f"conv_weight_grad_cells<{name}>({cells}, {source}, {out});")
            return
        name = self._struct(
            f"Weight{i}", **shape, OH=oh, OW=ow, SY=sy, SX=sx, OB=p["WOB"], XU=p["XU"],
            dplane=d.plane, drow=d.row, dsample=d.sample,
            A=width(p["XU"] * sx, image.row, image.plane),
            DA=width(p["XU"], d.row, d.plane, d.origin),
        )  # fmt: skip
        delta = f"{phases.use(f'd{i}')} + {d.origin}"
        phases.add(f"conv_weight_grad<{name}>({delta}, {source}, {out});")

    def _input_grad_conv2(self, i: int, stage: Stage) -> str:
        p, phases, d, (c, h, w) = stage.plan, self.phases, stage.delta, stage.shape
        (o, oh, ow), (kh, kw), (sy, sx), (py, px) = (
            stage.conv_out, stage.filter, stage.stride, stage.padding,
        )  # fmt: skip
        constants = {
            "C": c, "O": o, "KH": kh, "KW": kw, "SY": sy, "SX": sx, "PY": py, "PX": px,
            "OB": p["DOB"], "SP": p["DSP"], "LD": self._row(stage), **d.strides,
        }  # fmt: skip
        if p["rows"]:
            constants |= {"OH": oh, "OW": ow, "H": h, "W": w, "A": width(d.row, d.plane)}
            template, total, size = "conv_input_grad_rows", "sum_rows", up(h * w, 8) + 4
        else:
            tiles = {"GY": p["DGY"], "GX": p["DGX"], "TY": p["DTY"], "TX": p["DTX"]}
            cells = p["DTY"] * p["DTX"]
            constants |= tiles | {"TT": cells, "A": width(p["DTX"] // sx, d.row, d.plane)}
            template, total = "conv_input_grad", "sum_tiles"
            size = p["DGY"] * p["DGX"] * cells
        name = self._struct(f"Back{i}", **constants)
        part, put = "nullptr", "nothing"
        if p["DSP"] > 1:
            part = phases.make(f"back{i}", p["DSP"] * self.block.samples * c * size)
        else:
            put = self._grad_put(stage, self._sink(i - 1))
        weight = phases.use(f"k{i}")
        phases.add(f"{template}<{name}>({phases.use(f'd{i}')}, {weight}, {part}, {put});")
        return f"{total}<{name}>({part}, SINK);" if p["DSP"] > 1 else ""

    def _grad_put(self, stage: Stage, sink: str) -> str:
        p, shape = stage.plan, stage.shape
        if p["rows"] and p["DSP"] > 1:
            return sink
        if p["rows"]:
            return (
                "[&](int s, int c, int y, int, const float* u) { "
                f"UNROLL for (int x = 0; x < {shape[2]}; x++) {sink}(s, c, y, x, u[x]); }}"
            )
        return tiled(p["DTY"], p["DTX"], shape, f"{sink}(s, c, y, x, u[e]);")
