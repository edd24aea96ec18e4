"""The first kernel of a chain: the layers forward and, where it is trained, backward, for a few
samples a block, all values in shared memory."""

from __future__ import annotations

from math import prod

from .backward import Backward
from .memory import Phases
from .stages import Image, Stage, up
from .tiles import Block


class First(Backward):
    """The kernel for `block` samples and threads. `head`: "scores" is forward alone; "loss" ends
    in cross entropy, "gradient" in a gradient that is given, and both go backward from there."""

    templates: str  # the file of them

    def __init__(
        self, stages: list[Stage], block: Block, head: str, has_dx: bool, limit: int,
        itemsize: int = 4, resident: bool = False,
    ) -> None:  # fmt: skip
        self.stages, self.block, self.head, self.itemsize = stages, block, head, itemsize
        self.has_dx, self.resident = has_dx, resident
        self.trains = head != "scores"
        for i, stage in enumerate(stages):
            self._plan(stage, self._wants(i))
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

    def _plan(self, stage: Stage, wanted: bool) -> None:
        """Cut a stage into tasks, and lay out its input and the gradient of its output."""
        raise NotImplementedError

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

    # -- the whole ------------------------------------------------------------------------

    def text(self) -> str:
        """The kernel `first`, which is given one struct of words of 8 bytes."""
        parameters = [i for stage in self.stages for i in (stage.weight, stage.bias) if i >= 0]
        weights = ", ".join(f"*p{i}" for i in parameters)
        return (
            f"{self.structs}\ntemplate <class Spec> struct Given {{\n"
            "    const Scalar* x; const void* target; Scalar* y; Scalar* dx;\n"
            "    void* rows; float* partials; float* losses; uint64* fault; int64 N;\n"
            f"    const Scalar {weights};\n}};\n\n"
            "template <class Spec> __global__ void __launch_bounds__(NT, Spec::blocks)\n"
            "first(const __grid_constant__ Given<Spec> g) {\n"
            "    extern __shared__ __align__(128) unsigned char shared[];\n"
            "    const int N = int(g.N), n0 = blockIdx.x * S;\n"
            f"    float* const partials = g.partials + size_t(blockIdx.x) * {self.partial};\n"
            "    auto nothing = [](auto...) {};\n"
            f"{self.phases.text(self.places)}}}\n"
        )


def blocks_on_a_multiprocessor(shared: int, threads: int) -> int:
    """How many blocks a multiprocessor holds at a time."""
    return max(1, min(233472 // (shared + 1024), 65536 // (threads * 88), 2048 // threads))
