"""The first kernel of a chain, backward: from the head to the gradient of its input.

A stage hands each gradient to a function, the `sink` of the stage before, which masks and unpools
it and puts it where that stage's backward reads it.
"""

from __future__ import annotations

from math import prod

from .forward import Forward, each_cell, flat, tiled
from .stages import ACTIVATIONS, Stage, up, width


class Backward(Forward):
    """Emits what a chain computes backward."""

    has_dx: bool  # whether the gradient of the input is wanted

    # -- the head -------------------------------------------------------------------------

    def _end_in_head(self) -> None:
        phases, last = self.phases, len(self.stages)
        classes, sample = prod(self.stages[-1].out), self.images[last].sample
        scores = phases.use(f"a{last}")
        if self.head != "gradient":
            phases.add(f"save<{classes}, {sample}, {classes}>({scores}, g.y, n0, N);")
        if not self.trains:
            return
        sink = self._sink(last - 1, rows=True)
        if self.head == "loss":
            phases.add(
                f"cross_entropy<{classes}, {sample}>({scores}, (const typename Spec::Target*)"
                f"{phases.use('target')}, g.losses, 1.f / float(N), g.fault, n0, N, {sink});"
            )
        else:
            phases.add(f"load_gradient<{classes}>((const Scalar*)g.target, n0, N, {sink});")
        phases.end()

    # -- backward -------------------------------------------------------------------------

    def _sink(self, i: int, rows: bool = False) -> str:
        """The function that takes the gradient of stage i's result (of the chain's input: -1),
        as cells (s, c, y, x), or as places in a row of each sample."""
        body = self._sink_body(i)
        name = f"sink{i}" if i >= 0 else "sink_input"
        self.phases.add(f"auto {name} = [&](int s, int c, int y, int x, float g_) {{ {body} }};")
        shape = self.stages[i].out if i >= 0 else self.stages[0].shape
        if rows:
            cell = f"i / {prod(shape[1:])}, i / {shape[2]} % {shape[1]}, i % {shape[2]}"
            return f"[&](int s, int i, float v) {{ {name}(s, {cell}, v); }}"
        return name

    def _sink_body(self, i: int) -> str:
        """Masks and unpools the gradient, and writes it where the stage's backward reads it."""
        phases, S = self.phases, self.block.samples
        if i < 0:
            shape = self.stages[0].shape
            at = f"size_t(n0 + s) * {prod(shape)} + (c * {shape[1]} + y) * {shape[2]} + x"
            return f"if (n0 + s < N) g.dx[{at}] = narrow<Scalar>(g_);"
        stage, d = self.stages[i], self.stages[i].delta
        pooled = stage.pool or stage.kind == "max_pool2"
        lines = "float g = g_;"
        if stage.act and not (pooled and stage.act == "relu"):
            phases.use(f"a{i + 1}")
            lines = f"float g = g_; const float y_ = {self._result(i)}; "
            lines += f"g = {ACTIVATIONS[stage.act][1].replace('y', 'y_')};"
        window = flat(stage.out, prod(stage.out))
        if stage.kind != "conv2":
            phases.make(f"d{i}", S * d.sample)
            return f"{lines} d{i}[{flat(stage.out, d.sample)}] = g;"
        needs_delta = i > 0 or self.has_dx or not stage.plan["cells"]
        if needs_delta:
            ph, pw = stage.pool or (1, 1)
            h, w = stage.out[1] * ph, stage.out[2] * pw
            if (h, w, h * w) == (d.rows, d.row, d.plane):
                phases.make(f"d{i}", S * d.sample)
            else:
                phases.make_cleared(f"d{i}", S * d.sample)
        if not stage.pool:
            return f"{lines} d{i}[{d.at()}] = g;"
        lines += f" int arg = ((uint8*){phases.use(f'arg{i}')})[{window}];"
        if stage.act == "relu":
            lines += " if (arg == 255) { g = 0.f; arg = 0; }"
        if stage.plan["cells"]:
            image, (sy, sx), (ph, pw) = stage.input, stage.stride, stage.pool
            phases.make(f"c{i}", 2 * S * prod(stage.out))
            row = f"(y * {ph} + arg / {pw}) * {sy * image.row}"
            column = f"(x * {pw} + arg % {pw}) * {sx}"
            place = f"__int_as_float(s * {image.sample} + {row} + {column})"
            lines += f" ((float2*)c{i})[{window}] = make_float2(g, {place});"
        if needs_delta:
            ph, pw = stage.pool
            cell = d.at(y=f"y * {ph} + e / {pw}", x=f"x * {pw} + e % {pw}")
            lines += f" UNROLL for (int e = 0; e < {ph * pw}; e++) "
            lines += f"d{i}[{cell}] = e == arg ? g : 0.f;"
        return lines

    def _backward(self, i: int) -> None:
        stage = self.stages[i]
        getattr(self, f"_backward_{stage.kind}")(i, stage, i > 0 or self.has_dx)

    def _backward_linear(self, i: int, stage: Stage, wanted: bool) -> None:
        phases = self.phases
        self._save(f"d{i}", stage.out[0], stage.delta.sample)
        if wanted:
            sink = self._sink(i - 1, rows=True)
            weight = self._dense_weight(i)
            phases.add(f"dense_input_grad<Dense{i}>({phases.use(f'd{i}')}, {weight}, {sink});")
            phases.end()

    def _backward_conv2(self, i: int, stage: Stage, wanted: bool) -> None:
        p, phases, image, d = stage.plan, self.phases, stage.input, stage.delta
        (c, *_), (o, oh, ow), (kh, kw), (sy, sx) = (
            stage.shape, stage.conv_out, stage.filter, stage.stride,
        )  # fmt: skip
        count, windows, S = stage.weights, prod(stage.out[1:]), self.block.samples
        out = f"partials + {self.partials[f'w{i}']}"
        shares = phases.make(f"shares{i}", p["WSP"] * count) if p["WSP"] > 1 else out
        shape = {"C": c, "O": o, "KH": kh, "KW": kw}
        if p["cells"]:
            name = self._struct(
                f"Weight{i}", **shape, NP=windows, Q=p["WQ"], SP=p["WSP"], **image.strides
            )
            cells = f"(const float2*){phases.use(f'c{i}')}"
            phases.add(f"conv_weight_grad_cells<{name}>({cells}, {phases.use(f'a{i}')}, {shares});")
            value = f"(({cells})[(k / {windows} * {o} + c) * {windows} + k % {windows}]).x"
            places = S * windows
        else:
            first = d.py * d.row + d.px
            name = self._struct(
                f"Weight{i}", **shape, OH=oh, OW=ow, SY=sy, SX=sx, OB=p["WOB"], XU=p["XU"],
                SP=p["WSP"], dplane=d.plane, drow=d.row, dsample=d.sample, **image.strides,
                A=width(p["XU"] * sx, image.row, image.plane),
                DA=width(p["XU"], d.row, d.plane, first),
            )  # fmt: skip
            source = f"{phases.use(f'd{i}')} + {first}"
            phases.add(f"conv_weight_grad<{name}>({source}, {phases.use(f'a{i}')}, {shares});")
            cell = d.at(f"k / {oh * ow}", "c", f"k / {ow} % {oh}", f"k % {ow}")
            value, places = f"d{i}[{cell}]", S * oh * ow
        if stage.bias >= 0:
            bias = f"partials + {self.partials[f'b{i}']}"
            function = f"[&](int c, int k) {{ return {value}; }}"
            phases.add(f"conv_bias_grad<{o}, {places}>({bias}, {function});")
        finish = self._conv_input_grad(i, stage) if wanted else ""
        if wanted or p["WSP"] > 1:
            phases.end()
        if p["WSP"] > 1:
            phases.add(f"sum_shares<{count}, {p['WSP']}>({phases.use(shares)}, {out});")
        if finish:
            phases.use(f"back{i}")
            sink = self._sink(i - 1)
            phases.add(finish.replace("SINK", self._grad_put(i, stage, sink)))
            phases.end()

    def _grad_put(self, i: int, stage: Stage, sink: str) -> str:
        p, shape = stage.plan, stage.shape
        if p["rows"] and p["DSP"] > 1:
            return sink
        if p["rows"]:
            return (
                "[&](int s, int c, int y, int, const float* u) { "
                f"UNROLL for (int x = 0; x < {shape[2]}; x++) {sink}(s, c, y, x, u[x]); }}"
            )
        return tiled(p["DTY"], p["DTX"], shape, f"{sink}(s, c, y, x, u[e]);")

    def _conv_input_grad(self, i: int, stage: Stage) -> str:
        """Emit the gradient of the input; the line that sums its shares, where there are any."""
        p, phases, d, (c, h, w) = stage.plan, self.phases, stage.delta, stage.shape
        (o, oh, ow), (kh, kw), (sy, sx), (py, px) = (
            stage.conv_out, stage.filter, stage.stride, stage.padding,
        )  # fmt: skip
        constants = {
            "C": c, "O": o, "KH": kh, "KW": kw, "SY": sy, "SX": sx, "PY": py, "PX": px,
            "OB": p["DOB"], "SP": p["DSP"], "LD": self._weight_row(stage), **d.strides,
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
            put = self._grad_put(i, stage, self._sink(i - 1))
        weight = phases.use(f"k{i}")
        phases.add(f"{template}<{name}>({phases.use(f'd{i}')}, {weight}, {part}, {put});")
        return f"{total}<{name}>({part}, SINK);" if p["DSP"] > 1 else ""

    def _backward_activation(self, i: int, stage: Stage, wanted: bool) -> None:
        if wanted:
            sink = self._sink(i - 1)
            d = f"{self.phases.use(f'd{i}')}[{flat(stage.out, stage.delta.sample)}]"
            self.phases.add(each_cell(stage.out, f"{sink}(s, c, y, x, {d});"))
            self.phases.end()

    def _backward_max_pool2(self, i: int, stage: Stage, wanted: bool) -> None:
        if wanted:
            sink = self._sink(i - 1)
            is_max = stage.kind == "max_pool2"
            arg = f"(const uint8*){self.phases.use(f'arg{i}')}" if is_max else "nullptr"
            d = self.phases.use(f"d{i}")
            self.phases.add(f"pool_input_grad<Pool{i}>({d}, {arg}, {sink});")
            self.phases.end()

    _backward_mean_pool2 = _backward_max_pool2
