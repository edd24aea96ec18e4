"""The first kernel of a chain of bf16 on tensor cores: a warp has tiles of products."""

from __future__ import annotations

from math import ceil, prod

from .first import First
from .forward import tiled
from .products import plan_stage
from .stages import Stage, up


class Matrix(First):
    """Values are rounded to bf16 between stages, as between layers, and summed in float."""

    templates = "matrix.cuh"
    scatters = True
    value = "bf16"

    def _plan(self, stage: Stage, wanted: bool) -> None:
        plan_stage(stage, self.block, wanted, self.resident)

    # -- weights ------------------------------------------------------------------------------

    def _copy_filter(self, i: int, stage: Stage) -> None:
        self.phases.make(f"f{i}", stage.weights, "bf16")
        self.phases.add(f"copy_filter<{stage.weights}>(g.p{stage.weight}, f{i});")

    def _stage_filter(self, i: int) -> bool:
        stage = self.stages[i]
        if stage.kind != "conv2":
            return False
        self._stage_operand(
            f"k{i}", i, C=stage.shape[0], O=stage.out[0], P=stage.input.cell,
            Q=stage.plan["Q"], flipped=0,
        )  # fmt: skip
        return True

    def _stage_operand(self, name: str, i: int, **constants: int) -> None:
        (kh, kw), source = self.stages[i].filter, self.phases.use(f"f{i}")
        struct = self._struct(f"Filter_{name}", KH=kh, KW=kw, **constants)
        steps, columns = ceil(kh * constants["Q"] / 2), ceil(constants["O"] / 8)
        self.phases.make(name, steps * columns * 32, "uint2")
        self.phases.add(f"stage_filter<{struct}>({source}, (uint32*){name});")

    def _dense_pieces(self, stage: Stage) -> tuple[int, int]:
        size = stage.plan["R"] * stage.out[0]
        return size, up(size - 8, 64) + 8 if self.resident else size

    # -- forward ------------------------------------------------------------------------------

    def _product_conv2(self, i: int, stage: Stage, source: str, part: str, put: str) -> None:
        constants = {key: stage.plan[key] for key in ("TY", "TX", "GY", "GX", "N", "SP", "B", "Q")}
        (kh, kw), (sy, sx), image = stage.filter, stage.stride, stage.input
        name = self._struct(
            f"Forward{i}", C=stage.shape[0], O=stage.out[0], KH=kh, KW=kw, SY=sy, SX=sx,
            P=image.cell, row=image.row, sample=image.sample, **constants,
        )  # fmt: skip
        weight = self.phases.use(f"k{i}")
        self.phases.add(f"conv_product<{name}>({source}, {weight}, {part}, {put});")
        if self.trains and self._wants(i):  # by warps that have nothing to do
            self._stage_operand(
                f"r{i}", i, C=stage.out[0], O=stage.shape[0],
                P=stage.delta.cell // stage.stride[1], Q=stage.plan["DQ"], flipped=1,
            )  # fmt: skip

    def _product_linear(self, i: int, stage: Stage, source: str, part: str, put: str) -> None:
        name = self._dense(i, stage, V=stage.plan["V"], SP=stage.plan["SP"], back=0)
        weight = self._dense_weight(i)
        self.phases.add(f"dense_product<{name}>({source}, {weight}, {part}, {put});")

    def _dense(self, i: int, stage: Stage, **constants: int) -> str:
        return self._struct(
            f"{'Back' if constants['back'] else 'Dense'}{i}", I=prod(stage.shape), O=stage.out[0],
            R=stage.plan["R"], stride=self._dense_pieces(stage)[1], **constants,
            sample=(stage.delta if constants["back"] else stage.input).sample,
        )  # fmt: skip

    # -- backward -----------------------------------------------------------------------------

    def _input_grad_linear(self, i: int, stage: Stage, sink: str) -> None:
        name, d = self._dense(i, stage, V=2, SP=1, back=1), self.phases.use(f"d{i}")
        self.phases.add(f"dense_product<{name}>({d}, {self._dense_weight(i)}, nullptr, {sink});")

    def _weight_grad_conv2(self, i: int, stage: Stage, out: str) -> None:
        p, image, d = stage.plan, stage.input, stage.delta
        (o, oh, ow), (kh, kw), (sy, sx) = stage.conv_out, stage.filter, stage.stride
        name = self._struct(
            f"Weight{i}", C=stage.shape[0], O=o, KH=kh, KW=kw, SY=sy, SX=sx, OH=oh, OW=ow,
            P=image.cell, row=image.row, sample=image.sample, drow=d.row, dcell=d.cell,
            dsample=d.sample, B=p["WB"], SP=p["WSP"],
        )  # fmt: skip
        delta, source = f"{self.phases.use(f'd{i}')} + {d.origin}", self.phases.use(f"a{i}")
        self.phases.add(f"conv_weight_product<{name}>({delta}, {source}, {out});")

    def _input_grad_conv2(self, i: int, stage: Stage) -> str:
        """As a convolution of the gradient of the output, between whose pixels stand zeros where
        there is a stride, with the flipped filter."""
        p, d, c, (kh, kw) = stage.plan, stage.delta, stage.shape[0], stage.filter
        names = "TY", "TX", "GY", "GX", "N", "SP", "B", "Q"
        constants = {key: p[f"D{key}"] for key in names}
        cells = p["DTY"] * p["DTX"]
        name = self._struct(
            f"Back{i}", C=stage.out[0], O=c, KH=kh, KW=kw, SY=1, SX=1, P=d.cell // stage.stride[1],
            row=d.row // stage.stride[0], sample=d.sample, **constants,
        )  # fmt: skip
        part, put = "nullptr", "nothing"
        if p["DSP"] > 1:
            size = c * p["DGY"] * p["DGX"] * cells
            part = self.phases.make(f"back{i}", p["DSP"] * self.block.samples * size)
        else:
            put = self._grad_put(stage, self._sink(i - 1))
        delta, weight = self.phases.use(f"d{i}"), self.phases.use(f"r{i}")
        self.phases.add(f"conv_product<{name}>({delta}, {weight}, {part}, {put});")
        if p["DSP"] == 1:
            return ""
        tiles = self._struct(f"BackTiles{i}", C=c, GY=p["DGY"], GX=p["DGX"], TT=cells, SP=p["DSP"])
        return f"sum_tiles<{tiles}>({part}, SINK);"

    def _grad_put(self, stage: Stage, sink: str) -> str:
        p = stage.plan
        return tiled(p["DTY"], p["DTX"], stage.shape, f"{sink}(s, c, y, x, u[e]);")
