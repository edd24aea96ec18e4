"""The first kernel of a chain, backward: from the head to the gradient of its input.

A stage hands each gradient to a function, the `sink` of the stage before, which masks and unpools
it and puts it where that stage's backward reads it.
"""

from __future__ import annotations

from math import prod

from .forward import Forward, each_cell, flat
from .stages import ACTIVATIONS, Stage


class Backward(Forward):
    """Emits what a chain computes backward."""

    scatters: bool  # whether gradients of filters come in an order that memory does not like

    # -- what there is of products ---------------------------------------------------------

    def _input_grad_linear(self, i: int, stage: Stage, sink: str) -> None:
        """The gradient of a dense layer's input."""
        raise NotImplementedError

    def _weight_grad_conv2(self, i: int, stage: Stage, out: str) -> None:
        """The gradient of a filter, or its shares, in `out`."""
        raise NotImplementedError

    def _input_grad_conv2(self, i: int, stage: Stage) -> str:
        """The gradient of a convolution's input; the line that sums its shares, where there are
        any, with SINK for who takes it."""
        raise NotImplementedError

    def _grad_put(self, stage: Stage, sink: str) -> str:
        """The function that takes what `_input_grad_conv2` makes."""
        raise NotImplementedError

    def _wants(self, i: int) -> bool:
        """Whether the gradient of stage i's input is wanted."""
        return i > 0 or self.has_dx

    # -- the head -------------------------------------------------------------------------

    def _end_in_head(self) -> None:
        if not self.trains:
            return
        phases, last = self.phases, len(self.stages)
        classes, sample = prod(self.stages[-1].out), self.images[last].sample
        scores = phases.use(f"a{last}")
        if self.head == "loss":
            phases.add(f"save<{classes}, {sample}, {classes}>({scores}, g.y, n0, N);")
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
        if i < 0:
            shape = self.stages[0].shape
            at = flat(shape, prod(shape)).replace("s *", "size_t(n0 + s) *", 1)
            return f"if (n0 + s < N) g.dx[{at}] = narrow<Scalar>(g_);"
        stage, d, phases = self.stages[i], self.stages[i].delta, self.phases
        pooled = stage.pool or stage.kind == "max_pool2"
        lines = "float g = g_;"
        if stage.act and not (pooled and stage.act == "relu"):
            phases.use(f"a{i + 1}")
            lines += f" const float y_ = widen({self._result(i)}); "
            lines += f"g = {ACTIVATIONS[stage.act][1].replace('y', 'y_')};"
        if stage.kind != "conv2":
            self._make(f"d{i}", d)
            return f"{lines} set(d{i}[{flat(stage.out, d.sample)}], g);"
        ph, pw = stage.pool or (1, 1)
        is_read = self._wants(i) or not stage.plan["cells"]
        if is_read:
            self._make(f"d{i}", d, covers=(stage.out[1] * ph, stage.out[2] * pw) == (d.h, d.w))
        if not stage.pool:
            return f"{lines} set(d{i}[{d.at()}], g);"
        window = flat(stage.out, prod(stage.out))
        lines += f" int arg = {phases.use(f'arg{i}')}[{window}];"
        if stage.act == "relu":
            lines += " if (arg == 255) { g = 0.f; arg = 0; }"
        if stage.plan["cells"]:
            image, (sy, sx) = stage.input, stage.stride
            phases.make(f"c{i}", self.block.samples * prod(stage.out), "float2")
            row = f"(y * {ph} + arg / {pw}) * {sy * image.row}"
            column = f"(x * {pw} + arg % {pw}) * {sx}"
            place = f"__int_as_float(s * {image.sample} + {row} + {column})"
            lines += f" c{i}[{window}] = make_float2(g, {place});"
        if is_read:
            cell = d.at(y=f"y * {ph} + e / {pw}", x=f"x * {pw} + e % {pw}")
            lines += f" UNROLL for (int e = 0; e < {ph * pw}; e++) "
            lines += f"set(d{i}[{cell}], e == arg ? g : 0.f);"
        return lines

    def _backward(self, i: int) -> None:
        stage = self.stages[i]
        getattr(self, f"_backward_{stage.kind}")(i, stage)

    def _backward_linear(self, i: int, stage: Stage) -> None:
        self._save(f"d{i}", stage.out[0], stage.delta.sample)
        if self._wants(i):
            self._input_grad_linear(i, stage, self._sink(i - 1, rows=True))
            self.phases.end()

    def _backward_conv2(self, i: int, stage: Stage) -> None:
        p, phases, out = stage.plan, self.phases, f"partials + {self.partials[f'w{i}']}"
        shared = p["WSP"] > 1 or self.scatters
        shares = phases.make(f"shares{i}", p["WSP"] * stage.weights) if shared else out
        self._weight_grad_conv2(i, stage, shares)
        if stage.bias >= 0:
            self._bias_grad_conv2(i, stage)
        finish = self._input_grad_conv2(i, stage) if self._wants(i) else ""
        if self._wants(i) or shared:
            phases.end()
        if shared:
            phases.add(f"sum_shares<{stage.weights}, {p['WSP']}>({phases.use(shares)}, {out});")
        if finish:
            phases.use(f"back{i}")
            phases.add(finish.replace("SINK", self._grad_put(stage, self._sink(i - 1))))
            phases.end()

    def _bias_grad_conv2(self, i: int, stage: Stage) -> None:
        """Of the cells that a pool has left, or of all."""
        (o, h, w), S = stage.conv_out, self.block.samples
        if stage.plan["cells"]:
            count = prod(stage.out[1:])
            value = f"c{i}[(k / {count} * {o} + c) * {count} + k % {count}].x"
        else:
            count = h * w
            at = stage.delta.at(f"k / {count}", "c", f"k / {w} % {h}", f"k % {w}")
            value = f"widen(d{i}[{at}])"
        bias = f"partials + {self.partials[f'b{i}']}"
        function = f"[&](int c, int k) {{ return {value}; }}"
        self.phases.add(f"conv_bias_grad<{o}, {S * count}>({bias}, {function});")

    def _backward_activation(self, i: int, stage: Stage) -> None:
        if self._wants(i):
            sink = self._sink(i - 1)
            d = f"widen({self.phases.use(f'd{i}')}[{flat(stage.out, stage.delta.sample)}])"
            self.phases.add(each_cell(stage.out, f"{sink}(s, c, y, x, {d});"))
            self.phases.end()

    def _backward_max_pool2(self, i: int, stage: Stage) -> None:
        if self._wants(i):
            sink = self._sink(i - 1)
            arg = self.phases.use(f"arg{i}") if stage.kind == "max_pool2" else "nullptr"
            d = self.phases.use(f"d{i}")
            self.phases.add(f"pool_input_grad<Pool{i}>({d}, {arg}, {sink});")
            self.phases.end()

    _backward_mean_pool2 = _backward_max_pool2
