"""The second kernel of a chain: weight gradients summed over the batch, and what is done then."""

from __future__ import annotations

from math import ceil, prod

from .first import First
from .stages import up

THREADS = 512  # of a block
ROOM = 32 * 16 + 16  # numbers of a share of a tile: its weights, and biases
PARTS = 128  # numbers of a block that adds up partial sums
TILES = 1024  # counters that there are for tiles that several blocks share


class Second:
    """The jobs that its blocks do: `tiles` of dense weights, `sums` of partial sums, the loss."""

    def __init__(self, first: First) -> None:
        self.tiles, self.sums, jobs, structs = 0, 0, [], ""
        for i, stage in enumerate(first.stages):
            if stage.kind == "linear":
                inputs, outputs = prod(stage.shape), stage.out[0]
                tiles = ceil(inputs / 32) * ceil(outputs / 16)
                saved = first.rows.get(f"a{i}")
                rows = f"(const {first.value}*)table.rows"
                a = "table.x" if saved is None else f"{rows} + size_t({saved}) * N"
                stride = inputs if saved is None else up(inputs, 4)
                structs += (
                    f"struct Total{i} {{ static constexpr int I = {inputs}, O = {outputs}, "
                    f"LDA = {stride}, LDD = {up(outputs, 4)}, has_bias = {int(stage.bias >= 0)}, "
                    f"w = {stage.weight}, b = {stage.bias}; }};\n"
                )
                jobs.append(
                    f"if (b < {tiles} * shares) {{\n"
                    f"        const int tile = b / shares, at = {self.tiles} + tile;\n"
                    f"        dense_total<Total{i}>(table, tile, b % shares, {a}, {rows} + "
                    f"size_t({first.rows[f'd{i}']}) * N, table.room + size_t(at) * shares * ROOM, "
                    f"table.groups + at, memory, movers);\n"
                    f"        return count_steps(table);\n    }}\n    b -= {tiles} * shares;"
                )
                self.tiles += tiles
            elif stage.kind == "conv2":
                parts = [(stage.weight, stage.weights, first.partials[f"w{i}"])]
                if stage.bias >= 0:
                    parts.append((stage.bias, stage.out[0], first.partials[f"b{i}"]))
                for which, count, at in parts:
                    blocks = ceil(count / PARTS)
                    jobs.append(
                        f"if (b < {blocks}) {{\n"
                        f"        partial_total<{which}, {count}, {first.partial}>"
                        f"(table, b * PARTS, table.partials + {at}, (float*)memory, movers[0]);\n"
                        f"        return count_steps(table);\n    }}\n    b -= {blocks};"
                    )
                    self.sums += blocks
        self.has_loss = first.head == "loss"
        lines = "\n    ".join(jobs)
        last = "    if (table.losses) mean_loss(table);\n" if self.has_loss else ""
        self._text = (
            f"{structs}\ntemplate <class Spec> __global__ void __launch_bounds__(NT, 1)\n"
            "second(const __grid_constant__ Table<Spec> table) {\n"
            "    __shared__ float4 memory[2048];\n    __shared__ double powers[2][2];\n"
            "    Mover<Spec> movers[2] = {{table, powers[0]}, {table, powers[1]}};\n"
            "    const size_t N = table.N;\n    constexpr int shares = Spec::shares;\n"
            f"    int b = blockIdx.x;\n    count_steps_early(table);\n    {lines}\n{last}"
            "    count_steps(table);\n}\n"
        )

    def shares(self, samples: int) -> int:
        """How many blocks work on one tile: more where the batch is long."""
        if samples <= 192 or not 0 < self.tiles <= TILES:
            return 1
        return max(1, min(16, round(264 / self.tiles), ceil(samples / 48)))

    def blocks(self, samples: int) -> int:
        return self.tiles * self.shares(samples) + self.sums + self.has_loss

    def room(self, samples: int) -> int:
        """How many numbers the shares of dense tiles take."""
        return self.tiles * self.shares(samples) * ROOM if self.shares(samples) > 1 else 0

    def text(self) -> str:
        return self._text
