"""The first kernel of a chain, forward: from images and weights in global memory to results.

A stage hands each value to a function, `put`, which puts it where its reader wants it: so
activation, pool, flatten and bias take no phase of their own.
"""

from __future__ import annotations

from math import ceil, prod

from .memory import Phases
from .stages import ACTIVATIONS, Image, Shape, Stage, up, width
from .tiles import Block


class Forward:
    """Emits what a chain computes forward."""

    stages: list[Stage]
    block: Block
    head: str
    itemsize: int
    resident: bool  # whether the dense weights are in shared memory
    trains: bool
    images: list[Image]  # what each stage reads, and at last the scores
    phases: Phases
    structs: str
    rows: dict[str, int]  # what is left for the second kernel: of each sample, by its place
    partials: dict[str, int]  # and of each block

    # -- parts of the text ----------------------------------------------------------------

    def _struct(self, name: str, **constants: int) -> str:
        members = ", ".join(f"{key} = {int(value)}" for key, value in constants.items())
        self.structs += f"struct {name} {{ static constexpr int {members}; }};\n"
        return name

    def _samples(self, image: Image) -> int:
        return self.block.samples * image.sample

    def _result(self, i: int) -> str:
        """The place of a result of stage i, where its reader wants it."""
        stage, image = self.stages[i], self.images[i + 1]
        last = i + 1 == len(self.stages)
        if last or self.stages[i + 1].kind == "linear":
            return f"a{i + 1}[{flat(stage.out, image.sample)}]"
        return f"a{i + 1}[{image.at()}]"

    def _weight_row(self, stage: Stage) -> int:
        """From tap to tap of a staged weight: an odd number of vectors."""
        v = width(stage.plan["OB"])
        row = up(up(stage.out[0], stage.plan["OB"]), v)
        return row if row // v % 2 else row + v

    def _dense_weight(self, i: int) -> str:
        stage = self.stages[i]
        if self.resident:
            return f"((const Scalar*){self.phases.use(f'w{i}')})"
        return f"g.p{stage.weight}"

    # -- forward --------------------------------------------------------------------------

    def _arrive(self) -> None:
        """Images, filters, and the weights of dense layers behind them."""
        phases, image, first = self.phases, self.images[0], self.stages[0]
        dense = [i for i, each in enumerate(self.stages) if each.kind == "linear"]
        c, h, w = first.shape
        name = self._struct("Input", C=c, H=h, W=w, PY=image.py, PX=image.px, **image.strides)
        phases.make("a0", self._samples(image))
        if not image.is_plain:
            phases.add(f"zero_border<{name}>(a0);")
        phases.add(f"load_input<{name}>(g.x, a0, n0, N);")
        for i, stage in enumerate(self.stages):
            if stage.kind == "conv2":
                taps, row = stage.weights // stage.out[0], self._weight_row(stage)
                phases.make(f"k{i}", taps * row)
                phases.add(f"stage_weight<{stage.out[0]}, {taps}, {row}>(g.p{stage.weight}, k{i});")
            if stage.bias >= 0:
                phases.make(f"b{i}", stage.out[0])
                phases.add(f"stage_bias<{stage.out[0]}>(g.p{stage.bias}, b{i});")
        if self.head == "loss":
            phases.make("target", 2 * self.block.samples)
            target = "(const typename Spec::Target*)g.target"
            phases.add(f"load_target({target}, (typename Spec::Target*)target, n0, N);")
        phases.add("copies_wait();")
        if not self.resident or not dense:
            return phases.end()
        total = " + ".join(f"bulk_bytes({self.stages[i].weights})" for i in dense)
        phases.make("arrived", 2)
        phases.add(f"if (threadIdx.x == 0) barrier_init((uint64*)arrived, {total});")
        for i in dense:  # after the small copies, which would queue behind them
            count = self.stages[i].weights
            phases.make(f"w{i}", ceil(count * self.itemsize / 4))
            weight = f"g.p{self.stages[i].weight}"
            phases.add(f"copy_weight<{count}>((Scalar*)w{i}, {weight}, (uint64*)arrived);")
        phases.end()

    def _forward(self, i: int) -> None:
        stage, phases, image = self.stages[i], self.phases, self.images[i + 1]
        kinds = [each.kind for each in self.stages[:i]]
        source = phases.use(f"a{i}")
        if stage.kind == "linear" and self.resident and "linear" not in kinds:
            phases.add(f"barrier_wait((uint64*){phases.use('arrived')});")
        phases.make(f"a{i + 1}", self._samples(image))
        if not image.is_plain:
            late = stage.plan.get("SP", 1) > 1 and stage.kind == "conv2"
            phases.make_cleared(f"a{i + 1}", self._samples(image), now=late)
        getattr(self, f"_forward_{stage.kind}")(i, stage, source)
        if stage.bias >= 0:
            phases.use(f"b{i}")
        phases.end()

    def _keep_arg(self, i: int, stage: Stage) -> str:
        """The line that keeps where a maximum was; 255 where relu stops it."""
        stop = "if (v <= 0.f) arg = 255;" if stage.act == "relu" else ""
        if not self.trains:
            return ""
        self.phases.make(f"arg{i}", ceil(self.block.samples * prod(stage.out) / 4))
        return f"{stop} ((uint8*)arg{i})[{flat(stage.out, prod(stage.out))}] = arg;"

    def _active(self, stage: Stage) -> str:
        return f"v = {ACTIVATIONS[stage.act][0]};" if stage.act else ""

    def _forward_conv2(self, i: int, stage: Stage, source: str) -> None:
        p, phases, image, (c, *_) = stage.plan, self.phases, stage.input, stage.shape
        bias = f" + b{i}[c]" if stage.bias >= 0 else ""
        result, active = self._result(i), self._active(stage)
        cells, tx = p["TY"] * p["TX"], p["TX"]
        if stage.pool:
            keep = self._keep_arg(i, stage)
            put = (
                f"[&](int s, int c, int y, int x, const float* u) {{ float v = u[0]{bias}; "
                f"int arg = 0; UNROLL for (int e = 1; e < {cells}; e++) {{ "
                f"const float other = u[e]{bias}; if (wins(other, v)) {{ v = other; arg = e; }} }} "
                f"{keep} {active} {result} = v; }}"
            )
        else:
            put = tiled(p["TY"], tx, stage.out, f"float v = u[e]{bias}; {active} {result} = v;")
        row = self._weight_row(stage)
        constants = {key: p[key] for key in ("TY", "TX", "OB", "SP", "GY", "GX")}
        name = self._struct(
            f"Forward{i}", C=c, O=stage.out[0], KH=stage.filter[0], KW=stage.filter[1],
            SY=stage.stride[0], SX=stage.stride[1], LD=row, **constants, **image.strides,
            A=width(tx * stage.stride[1], image.row, image.plane), WA=width(p["OB"], row),
        )  # fmt: skip
        part = "nullptr"
        if p["SP"] > 1:
            part = phases.make(
                f"parts{i}", p["SP"] * self.block.samples * stage.out[0] * p["GY"] * p["GX"] * cells
            )
        direct = put if p["SP"] == 1 else "nothing"
        phases.add(f"conv_forward<{name}>({source}, {phases.use(f'k{i}')}, {part}, {direct});")
        if p["SP"] > 1:
            phases.end()
            for each in (part, f"a{i + 1}"):
                phases.use(each)
            if f"arg{i}" in phases.buffers:
                phases.use(f"arg{i}")
            tiles = self._struct(
                f"Tiles{i}", C=stage.out[0], GY=p["GY"], GX=p["GX"], TT=cells, SP=p["SP"]
            )
            phases.add(f"sum_tiles<{tiles}>({part}, {put});")

    def _forward_linear(self, i: int, stage: Stage, source: str) -> None:
        p, phases, inputs = stage.plan, self.phases, prod(stage.shape)
        bias = f"v += b{i}[c];" if stage.bias >= 0 else ""
        put = (
            f"[&](int s, int c, float v) {{ const int y = 0, x = 0; {bias} {self._active(stage)} "
            f"{self._result(i)} = v; }}"
        )
        name = self._struct(
            f"Dense{i}", I=inputs, O=stage.out[0], V=p["V"], R=p["R"], SP=p["SP"], IB=p["IB"],
            sample=stage.input.sample, dsample=stage.delta.sample,
        )  # fmt: skip
        shares, weight = p["SP"], self._dense_weight(i)
        part = "nullptr"
        if shares > 1:
            part = phases.make(f"parts{i}", shares * self.block.samples * stage.out[0])
        direct = put if shares == 1 else "nothing"
        phases.add(f"dense_forward<{name}>({source}, {weight}, {part}, {direct});")
        if self.trains and f"a{i}" in self.rows:
            self._save(f"a{i}", inputs, stage.input.sample)
        if shares > 1:
            phases.end()
            phases.use(part), phases.use(f"a{i + 1}")
            phases.add(f"sum_columns<{name}>({part}, {put});")

    def _save(self, name: str, size: int, sample: int) -> None:
        rows = f"g.rows + size_t({self.rows[name]}) * N"
        self.phases.add(
            f"save<{size}, {sample}, {up(size, 4)}>({self.phases.use(name)}, {rows}, n0, N);"
        )

    def _forward_activation(self, i: int, stage: Stage, source: str) -> None:
        value = f"float v = {source}[{stage.input.at()}]; {self._active(stage)}"
        self.phases.add(each_cell(stage.out, f"{value} {self._result(i)} = v;"))

    def _forward_max_pool2(self, i: int, stage: Stage, source: str) -> None:
        keep = self._keep_arg(i, stage) if stage.kind == "max_pool2" else ""
        put = (
            f"[&](int s, int c, int y, int x, float v, int arg) {{ {keep} {self._active(stage)} "
            f"{self._result(i)} = v; }}"
        )
        image = stage.input
        (c, h, w), (_, oh, ow), (kh, kw), (sy, sx) = (
            stage.shape, stage.out, stage.filter, stage.stride,
        )  # fmt: skip
        name = self._struct(
            f"Pool{i}", C=c, H=h, W=w, OH=oh, OW=ow, KH=kh, KW=kw, SY=sy, SX=sx,
            is_max=stage.kind == "max_pool2", dsample=stage.delta.sample, **image.strides,
        )  # fmt: skip
        self.phases.add(f"pool_forward<{name}>({source}, {put});")

    _forward_mean_pool2 = _forward_max_pool2


def flat(shape: Shape, sample: int) -> str:
    """The place of a cell in rows of each sample, in CUDA."""
    return f"s * {sample} + (c * {shape[1]} + y) * {shape[2]} + x"


def each_cell(shape: Shape, body: str) -> str:
    """A loop over all cells of the samples."""
    c, h, w = shape
    return (
        f"for (int t = threadIdx.x; t < S * {c * h * w}; t += NT) {{ const int x = t % {w}, "
        f"y = t / {w} % {h}, c = t / {h * w} % {c}, s = t / {c * h * w}; {body} }}"
    )


def tiled(ty: int, tx: int, shape: Shape, body: str) -> str:
    """A function of a tile, which does the same with each cell u[e] that is in the image."""
    return (
        "[&](int s, int c, int gy, int gx, const float* u) { "
        f"UNROLL for (int e = 0; e < {ty * tx}; e++) {{ const int y = gy * {ty} + e / {tx}, "
        f"x = gx * {tx} + e % {tx}; if (y < {shape[1]} && x < {shape[2]}) {{ {body} }} }} }}"
    )
