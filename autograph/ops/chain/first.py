"""The first kernel of a chain: the layers forward and, where it is trained, backward, for a few
samples a block, all values in shared memory.

A stage emits its forward and its backward. Who makes a value hands it to a function that puts it
where its reader wants it: `put` for results, `sink` for gradients, which masks and unpools them
too. So activation, pool, flatten and bias take no phase of their own.
"""

from __future__ import annotations

from math import ceil, prod

from .memory import Phases
from .stages import ACTIVATIONS, DoesNotFit, Image, Shape, Stage, up, width
from .tiles import Block, plan_stage

HEADS = "scores", "loss", "gradient"  # what stands behind the last stage


class First:
    """The kernel for `block` samples and threads. `head`: "scores" is forward alone; "loss" ends
    in cross entropy, "gradient" in a gradient that is given, and both go backward from there."""

    def __init__(
        self, stages: list[Stage], block: Block, head: str, has_dx: bool, resident: bool,
        limit: int, itemsize: int,
    ) -> None:  # fmt: skip
        self.stages, self.block, self.head, self.itemsize = stages, block, head, itemsize
        self.has_dx, self.resident = has_dx, resident
        self.trains = head != "scores"
        for i, stage in enumerate(stages):
            plan_stage(stage, block, has_dx or i > 0)
        self.images = [stage.input for stage in stages] + [Image(prod(stages[-1].out), 1, 1)]
        self.phases, self.structs = Phases(), ""
        self._lay_out_rows()
        self._arrive()
        for i in range(len(stages)):
            self._forward(i)
        self._end_in_head()
        if self.trains:
            for i in reversed(range(len(stages))):
                self._backward(i)
        self.places, self.shared = self.phases.placed(limit)

    def _lay_out_rows(self) -> None:
        """What is left for the second kernel: rows of each sample, partial sums of each block."""
        self.rows: dict[str, int] = {}
        self.partials: dict[str, int] = {}
        self.row = self.partial = 0
        for i, stage in enumerate(self.stages):
            if stage.kind == "linear":
                for name, size in ((f"a{i}", prod(stage.shape)), (f"d{i}", stage.out[0])):
                    if name != "a0":
                        self.rows[name], self.row = self.row, self.row + up(size, 4)
            elif stage.kind == "conv2":
                parts = [(f"w{i}", stage.weights), (f"b{i}", stage.out[0])]
                for name, size in parts[: 1 + (stage.bias >= 0)]:
                    self.partials[name] = self.partial
                    self.partial = up(self.partial + size, 4)

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
            return f"a{i + 1}[{_flat(stage.out, image.sample)}]"
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
        return f"{stop} ((uint8*)arg{i})[{_flat(stage.out, prod(stage.out))}] = arg;"

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
            put = _tiled(p["TY"], tx, stage.out, f"float v = u[e]{bias}; {active} {result} = v;")
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
        self.phases.add(_each(stage.out, f"{value} {self._result(i)} = v;"))

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
        flat = _flat(stage.out, prod(stage.out))
        if stage.kind != "conv2":
            phases.make(f"d{i}", S * d.sample)
            return f"{lines} d{i}[{_flat(stage.out, d.sample)}] = g;"
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
        lines += f" int arg = ((uint8*){phases.use(f'arg{i}')})[{flat}];"
        if stage.act == "relu":
            lines += " if (arg == 255) { g = 0.f; arg = 0; }"
        if stage.plan["cells"]:
            image, (sy, sx), (ph, pw) = stage.input, stage.stride, stage.pool
            phases.make(f"c{i}", 2 * S * prod(stage.out))
            row = f"(y * {ph} + arg / {pw}) * {sy * image.row}"
            column = f"(x * {pw} + arg % {pw}) * {sx}"
            place = f"__int_as_float(s * {image.sample} + {row} + {column})"
            lines += f" ((float2*)c{i})[{flat}] = make_float2(g, {place});"
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
        return _tiled(p["DTY"], p["DTX"], shape, f"{sink}(s, c, y, x, u[e]);")

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
            d = f"{self.phases.use(f'd{i}')}[{_flat(stage.out, stage.delta.sample)}]"
            self.phases.add(_each(stage.out, f"{sink}(s, c, y, x, {d});"))
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

    # -- the whole ------------------------------------------------------------------------

    def text(self) -> str:
        """The kernel `first`, which is given one struct of words of 8 bytes."""
        pointers = "\n".join(
            f"    float* const {name} = (float*)(shared + {at});"
            for name, at in self.places.items()
        )
        parameters = [i for stage in self.stages for i in (stage.weight, stage.bias) if i >= 0]
        weights = ", ".join(f"*p{i}" for i in parameters)
        return (
            f"{self.structs}\ntemplate <class Spec> struct Given {{\n"
            "    const Scalar* x; const void* target; Scalar* y; Scalar* dx;\n"
            "    float* rows; float* partials; float* losses; uint64* fault; int64 N;\n"
            f"    const Scalar {weights};\n}};\n\n"
            "template <class Spec> __global__ void __launch_bounds__(NT, Spec::blocks)\n"
            "first(const __grid_constant__ Given<Spec> g) {\n"
            "    extern __shared__ __align__(128) unsigned char shared[];\n"
            f"{pointers}\n"
            "    const int N = int(g.N), n0 = blockIdx.x * S;\n"
            f"    float* const partials = g.partials + size_t(blockIdx.x) * {self.partial};\n"
            "    auto nothing = [](auto...) {};\n"
            f"{self.phases.text()}}}\n"
        )


def _flat(shape: Shape, sample: int) -> str:
    """The place of a cell in rows of each sample, in CUDA."""
    return f"s * {sample} + (c * {shape[1]} + y) * {shape[2]} + x"


def _each(shape: Shape, body: str) -> str:
    """A loop over all cells of the samples."""
    c, h, w = shape
    return (
        f"for (int t = threadIdx.x; t < S * {c * h * w}; t += NT) {{ const int x = t % {w}, "
        f"y = t / {w} % {h}, c = t / {h * w} % {c}, s = t / {c * h * w}; {body} }}"
    )


def _tiled(ty: int, tx: int, shape: Shape, body: str) -> str:
    """A function of a tile, which does the same with each cell u[e] that is in the image."""
    return (
        "[&](int s, int c, int gy, int gx, const float* u) { "
        f"UNROLL for (int e = 0; e < {ty * tx}; e++) {{ const int y = gy * {ty} + e / {tx}, "
        f"x = gx * {tx} + e % {tx}; if (y < {shape[1]} && x < {shape[2]}) {{ {body} }} }} }}"
    )


def blocks_on_a_multiprocessor(shared: int, threads: int) -> int:
    """How many blocks a multiprocessor holds at a time."""
    return max(1, min(233472 // (shared + 1024), 65536 // (threads * 88), 2048 // threads))


def first_kernel(
    stages: list[Stage], block: Block, head: str, has_dx: bool, limit: int, resident: bool,
    itemsize: int = 4,
) -> First:  # fmt: skip
    """The kernel with the dense weights in shared memory, or without where that is too much."""
    if resident:
        try:
            return First(stages, block, head, has_dx, True, limit, itemsize)
        except DoesNotFit:
            pass
    return First(stages, block, head, has_dx, False, limit, itemsize)
