"""The first kernel of a chain, forward: from images and weights in global memory to results.

A stage hands each value to a function, `put`, which puts it where its reader wants it: so
activation, pool, flatten and bias take no phase of their own.
"""

from __future__ import annotations

from math import ceil, gcd, prod

from .memory import BYTES, Phases
from .stages import ACTIVATIONS, Image, Shape, Stage, up
from .tiles import Block


class Forward:
    """Emits what a chain computes forward. How products are computed its subclasses say."""

    value: str  # the type of numbers in images and rows
    stages: list[Stage]
    block: Block
    head: str
    itemsize: int
    resident: bool  # whether the dense weights are in shared memory
    has_waited = False  # for them
    trains: bool
    has_dx: bool  # whether the gradient of the input is wanted
    images: list[Image]  # what each stage reads, and at last the scores
    phases: Phases
    structs: str
    rows: dict[str, int]  # what is left for the second kernel: of each sample, by its place
    partials: dict[str, int]  # and of each block

    # -- what there is of products ---------------------------------------------------------

    def _copy_filter(self, i: int, stage: Stage) -> None:
        """Bring the filter of stage i to shared memory."""
        raise NotImplementedError

    def _stage_filter(self, i: int) -> bool:
        """Bring the filter of stage i, which comes next, from there into the order that it is read
        in; whether there was anything to do."""
        return False

    def _dense_pieces(self, stage: Stage) -> tuple[int, int]:
        """How many numbers of a resident weight lie together, and where the next begin."""
        return stage.weights, stage.weights

    def _product_conv2(self, i: int, stage: Stage, source: str, part: str, put: str) -> None:
        """A convolution, in tiles; or its shares in `part`."""
        raise NotImplementedError

    def _product_linear(self, i: int, stage: Stage, source: str, part: str, put: str) -> None:
        """A dense layer without its bias, or its shares in `part`."""
        raise NotImplementedError

    # -- parts of the text ----------------------------------------------------------------

    @property
    def _scalar(self) -> str:
        """The type of parameters."""
        return "bf16" if self.itemsize == 2 else "float"

    def _struct(self, name: str, **constants: int) -> str:
        members = ", ".join(f"{key} = {int(value)}" for key, value in constants.items())
        self.structs += f"struct {name} {{ static constexpr int {members}; }};\n"
        return name

    def _samples(self, image: Image) -> int:
        return self.block.samples * image.sample

    def _make(self, name: str, image: Image, covers: bool = True, now: bool = False) -> str:
        """A buffer of images, with zeros where nobody writes."""
        if covers and image.is_plain:
            return self.phases.make(name, self._samples(image), self.value)
        return self.phases.make_cleared(name, self._samples(image), self.value, now)

    def _result(self, i: int) -> str:
        """The place of a result of stage i, where its reader wants it."""
        stage, image = self.stages[i], self.images[i + 1]
        if i + 1 == len(self.stages) or self.stages[i + 1].kind == "linear":
            return f"a{i + 1}[{flat(stage.out, image.sample)}]"
        return f"a{i + 1}[{image.at()}]"

    def _store(self, i: int) -> str:
        """The line that makes v a result of stage i."""
        active = f"v = {ACTIVATIONS[self.stages[i].act][0]}; " if self.stages[i].act else ""
        if i + 1 < len(self.stages) or self.head != "scores":
            return f"{active}set({self._result(i)}, v);"
        out = self.stages[i].out
        at = f"g.y[{flat(out, prod(out)).replace('s *', 'size_t(n0 + s) *', 1)}]"
        return f"{active}if (n0 + s < N) {at} = narrow<Scalar>(v);"

    # -- forward --------------------------------------------------------------------------

    def _arrive(self) -> None:
        """Images, filters, and the weights of dense layers behind them."""
        phases, image, (c, h, w) = self.phases, self.images[0], self.stages[0].shape
        run = w if image.cell == 1 else 1
        if (image.plane, image.row, image.cell) == (h * w, w, 1):
            run = c * h * w
        places = (image.plane, image.row) if run == w else ()
        pack = gcd(16 // BYTES[self.value], run, image.sample, image.origin, *places)
        name = self._struct(
            "Input", C=c, H=h, W=w, PY=image.py, PX=image.px, extent=image.extent, V=pack,
            **image.strides,
        )  # fmt: skip
        phases.make("a0", self._samples(image), self.value)
        if not image.is_plain:
            phases.add(f"zero_border<{name}>(a0);")
        phases.add(f"load_input<{name}>(g.x, a0, n0, N);")
        if self.head == "loss":
            phases.make("target", self.block.samples, "uint64")
            target = "(const typename Spec::Target*)g.target"
            phases.add(f"load_target({target}, (typename Spec::Target*)target, n0, N);")
        for i, stage in enumerate(self.stages):
            if stage.kind == "conv2":
                self._copy_filter(i, stage)
            if stage.bias >= 0:
                phases.make(f"b{i}", stage.out[0], self._scalar)
                phases.add(f"copy_bias<{stage.out[0]}>(g.p{stage.bias}, b{i});")
        for line in self._copies_of_dense():  # large ones, for which small ones would wait
            phases.add(line)
        phases.add("copies_wait();")
        phases.end()
        if self._stage_filter(0):
            phases.end()

    def _copies_of_dense(self) -> list[str]:
        """The lines that ask for the large weights of dense layers, after a phase that makes what
        they are waited for by; small ones are asked for in it."""
        phases, pieces, total, lines = self.phases, 0, [], []
        for i, stage in enumerate(self.stages):
            if stage.kind == "linear" and self.resident:
                piece, stride = self._dense_pieces(stage)
                count, size = stage.weights, ceil(stage.weights / piece)
                phases.make(f"w{i}", size * stride, self._scalar)
                if count * self.itemsize <= 16 * self.block.threads:
                    phases.add(f"copy_small<{count}, {piece}, {stride}>(w{i}, g.p{stage.weight});")
                    continue
                total.append(f"bulk_bytes<{count}, {piece}>()")
                sizes = f"{count}, {piece}, {stride}, {pieces}"
                lines.append(f"copy_weight<{sizes}>(w{i}, g.p{stage.weight}, arrived);")
                pieces += size
        if lines:
            phases.make("arrived", 1, "uint64")
            total_bytes = " + ".join(total)
            phases.add(f"if (threadIdx.x == 0) barrier_init(arrived, {total_bytes});")
            phases.end()
        return lines

    def _dense_weight(self, i: int) -> str:
        if not self.resident:
            return f"g.p{self.stages[i].weight}"
        if "arrived" in self.phases.buffers and not self.has_waited:
            self.phases.add(f"barrier_wait({self.phases.use('arrived')});")
            self.has_waited = True
        return self.phases.use(f"w{i}")

    def _forward(self, i: int) -> None:
        stage, phases, image = self.stages[i], self.phases, self.images[i + 1]
        source = phases.use(f"a{i}")
        if i + 1 < len(self.stages):
            late = stage.plan.get("SP", 1) > 1 and stage.kind == "conv2"
            self._make(f"a{i + 1}", image, now=late)
            self._stage_filter(i + 1)
        elif self.trains:
            phases.make(f"a{i + 1}", self._samples(image))
        getattr(self, f"_forward_{stage.kind}")(i, stage, source)
        if stage.bias >= 0:
            phases.use(f"b{i}")
        phases.end()

    def _keep_arg(self, i: int, stage: Stage) -> str:
        """The line that keeps where a maximum was; 255 where relu stops it."""
        stop = "if (v <= 0.f) arg = 255;" if stage.act == "relu" else ""
        if not self.trains:
            return ""
        self.phases.make(f"arg{i}", self.block.samples * prod(stage.out), "uint8")
        return f"{stop} arg{i}[{flat(stage.out, prod(stage.out))}] = arg;"

    def _in_shares(self, i: int, count: int) -> str:
        """Where the shares of so many sums stand; nothing where there are none."""
        shares = self.stages[i].plan["SP"]
        if shares == 1:
            return ""
        return self.phases.make(f"parts{i}", shares * self.block.samples * count)

    def _end_shares(self, i: int, part: str) -> None:
        """A new phase, in which the shares are summed."""
        self.phases.end()
        for each in (part, f"a{i + 1}", f"arg{i}"):
            if each in self.phases.buffers:
                self.phases.use(each)

    def _forward_conv2(self, i: int, stage: Stage, source: str) -> None:
        p = stage.plan
        cells, bias = p["TY"] * p["TX"], f" + widen(b{i}[c])" if stage.bias >= 0 else ""
        if stage.pool:
            take = "v = larger(v, other);"
            if self.trains:
                take = "if (wins(other, v)) { v = other; arg = e; }"
            put = (
                f"[&](int s, int c, int y, int x, const float* u) {{ float v = u[0]{bias}; "
                f"int arg = 0; UNROLL for (int e = 1; e < {cells}; e++) {{ "
                f"const float other = u[e]{bias}; {take} }} "
                f"{self._keep_arg(i, stage)} {self._store(i)} }}"
            )
        else:
            put = tiled(p["TY"], p["TX"], stage.out, f"float v = u[e]{bias}; {self._store(i)}")
        part = self._in_shares(i, stage.out[0] * p["GY"] * p["GX"] * cells)
        self._product_conv2(i, stage, source, part or "nullptr", "nothing" if part else put)
        if part:
            self._end_shares(i, part)
            tiles = self._struct(
                f"Tiles{i}", C=stage.out[0], GY=p["GY"], GX=p["GX"], TT=cells, SP=p["SP"]
            )
            self.phases.add(f"sum_tiles<{tiles}>({part}, {put});")

    def _forward_linear(self, i: int, stage: Stage, source: str) -> None:
        bias = f"v += widen(b{i}[c]);" if stage.bias >= 0 else ""
        put = f"[&](int s, int c, float v) {{ const int y = 0, x = 0; {bias} {self._store(i)} }}"
        part = self._in_shares(i, stage.out[0])
        if self.trains and f"a{i}" in self.rows:
            self._save(f"a{i}", prod(stage.shape), stage.input.sample)
        self._product_linear(i, stage, source, part or "nullptr", "nothing" if part else put)
        if part:
            self._end_shares(i, part)
            self.phases.add(f"sum_columns<Dense{i}>({part}, {put});")

    def _save(self, name: str, size: int, sample: int) -> None:
        rows = f"({self.value}*)g.rows + size_t({self.rows[name]}) * N"
        self.phases.add(
            f"save<{size}, {sample}, {up(size, 4)}>({self.phases.use(name)}, {rows}, n0, N);"
        )

    def _forward_activation(self, i: int, stage: Stage, source: str) -> None:
        value = f"float v = widen({source}[{stage.input.at()}]);"
        self.phases.add(each_cell(stage.out, f"{value} {self._store(i)}"))

    def _forward_max_pool2(self, i: int, stage: Stage, source: str) -> None:
        keep = self._keep_arg(i, stage) if stage.kind == "max_pool2" else ""
        put = f"[&](int s, int c, int y, int x, float v, int arg) {{ {keep} {self._store(i)} }}"
        (c, h, w), (_, oh, ow), (kh, kw), (sy, sx) = (
            stage.shape, stage.out, stage.filter, stage.stride,
        )  # fmt: skip
        name = self._struct(
            f"Pool{i}", C=c, H=h, W=w, OH=oh, OW=ow, KH=kh, KW=kw, SY=sy, SX=sx,
            is_max=stage.kind == "max_pool2", dsample=stage.delta.sample, **stage.input.strides,
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
