"""Phases of a kernel, and who has which part of shared memory in which of them."""

from __future__ import annotations

from .stages import DoesNotFit, up

BYTES = {"uint8": 1, "bf16": 2, "float": 4, "float2": 8, "uint2": 8, "uint64": 8}


class Phases:
    """Lines of CUDA with barriers between the phases. A buffer lives from the phase that makes it
    to the last that uses it."""

    def __init__(self) -> None:
        self.lines: list[list[str]] = [[]]
        self.buffers: dict[str, list[int]] = {}  # first phase, last phase, bytes
        self.kinds: dict[str, str] = {}  # of numbers

    def add(self, line: str) -> None:
        self.lines[-1].append(line)

    def end(self) -> None:
        """The next lines come after a barrier."""
        self.lines.append([])

    def make(self, name: str, numbers: int, kind: str = "float") -> str:
        """A buffer of so many numbers, from this phase on."""
        now = len(self.lines) - 1
        self.buffers[name] = [now, now, up(numbers * BYTES[kind], 16)]
        self.kinds[name] = kind
        return name

    def make_cleared(self, name: str, numbers: int, kind: str = "float", now: bool = False) -> str:
        """A buffer that is zeroed a phase before this one, or in this one for the next."""
        self.make(name, numbers, kind)
        at = len(self.lines) - (1 if now else 2)
        self.buffers[name][0] = at
        self.lines[at].append(f"zero<{self.buffers[name][2]}>({name});")
        return name

    def use(self, name: str) -> str:
        """The buffer, which has to live until this phase."""
        self.buffers[name][1] = len(self.lines) - 1
        return name

    def placed(self, limit: int) -> tuple[dict[str, int], int]:
        """Where each buffer lies, the largest first at the lowest place that is free, and how
        much that is in all."""
        taken: list[tuple[int, int, int, int]] = []  # from, to, first phase, last phase
        places = {}
        for name, (first, last, size) in sorted(self.buffers.items(), key=lambda b: -b[1][2]):
            at = 0
            for low, high, begin, end in sorted(taken):
                if begin <= last and first <= end:
                    if at + size <= low:
                        break
                    at = max(at, high)
            places[name] = at
            taken.append((at, at + size, first, last))
        top = max(high for _, high, _, _ in taken)
        if top > limit:
            raise DoesNotFit(f"it needs {top:,} bytes of shared memory, and a block has {limit:,}")
        return places, top

    def text(self, places: dict[str, int]) -> str:
        """The buffers at their places, and all phases in order."""
        pointers = [
            f"    {self.kinds[name]}* const {name} = ({self.kinds[name]}*)(shared + {at});\n"
            for name, at in places.items()
        ]
        phases = ["".join(f"    {line}\n" for line in phase) for phase in self.lines if phase]
        return "".join(pointers) + "    __syncthreads();\n".join(phases)
