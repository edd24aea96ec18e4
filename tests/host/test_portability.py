"""Tiles compiled for other processors: which instructions they are made of, and that no sum leaves
its register in the loop. Nothing of this is run here."""

import re
from functools import cache

import pytest

pytest.importorskip("llvmlite")

from llvmlite import binding, ir

from autograph.backends.host import tiles

LINUX, ARM, APPLE = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "arm64-apple-macosx"
PROCESSORS = {  # triple, lanes, rows, vectors, registers of vectors, the multiply-add
    "sapphirerapids": (LINUX, 16, 12, 2, "zmm", r"vfmadd\d+ps"),
    "znver4": (LINUX, 16, 12, 2, "zmm", r"vfmadd\d+ps"),
    "haswell": (LINUX, 8, 6, 2, "ymm", r"vfmadd\d+ps"),
    "neoverse-n1": (ARM, 4, 12, 2, r"v\d+\.4s", "fmla"),
    "neoverse-v1": (ARM, 4, 12, 2, r"v\d+\.4s", "fmla"),
    "apple-m1": (APPLE, 4, 12, 2, r"v\d+\.4s|fmla\.4s", "fmla"),
}
PAIRS = {"sapphirerapids": "dpbf16ps", "znver4": "dpbf16ps", "neoverse-v1": "bfdot"}


@cache
def assembly(processor, output, dot):
    """The text of the largest tile for a processor."""
    triple, lanes, rows, vectors, *_ = PROCESSORS[processor]
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        target = binding.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip(f"this llvmlite does not compile for {triple}")
    machine = target.create_target_machine(
        cpu=processor, opt=3, reloc="default", codemodel="jitdefault", jit=True
    )
    module = ir.Module()
    tiles.Tile(module, "tile", lanes, rows, vectors, output, dot).emit()
    module.triple = triple
    code = binding.parse_assembly(str(module))
    code.verify()
    options = binding.create_pipeline_tuning_options(speed_level=3)
    builder = binding.create_pass_builder(machine, options)
    builder.getModulePassManager().run(code, builder)
    return machine.emit_assembly(code)


def inner_loop(text, multiply_add):
    """The lines of the block that multiplies."""
    lines = text.split("\n")
    found = [i for i, line in enumerate(lines) if re.search(multiply_add, line)]
    first, last = found[0], found[-1]
    while not re.match(r"[.\w]+:", lines[first]):
        first -= 1
    while not re.match(r"\s+(j\w+|b\.?\w+|cbn?z)\s", lines[last]):
        last += 1
    return lines[first : last + 1], len(found)


@pytest.mark.parametrize("output", ["f32", "bf16"])
@pytest.mark.parametrize("processor", PROCESSORS)
def test_the_loop_of_a_tile_is_multiply_adds_on_registers(processor, output):
    _, _, rows, vectors, register, multiply_add = PROCESSORS[processor]
    lines, count = inner_loop(assembly(processor, output, ""), multiply_add)

    assert count == rows * vectors
    assert sum(bool(re.search(register, line)) for line in lines) >= rows * vectors
    assert not spilled(lines)


@pytest.mark.parametrize("output", ["f32", "bf16"])
@pytest.mark.parametrize("processor", PAIRS)
def test_pairs_of_bfloat16_are_multiplied_by_one_instruction(processor, output):
    _, _, rows, vectors, *_ = PROCESSORS[processor]
    dot = PAIRS[processor]
    lines, count = inner_loop(assembly(processor, output, dot), dot)

    assert count == rows * vectors
    assert not spilled(lines)


def spilled(lines):
    """Vectors that the stack holds, and whatever is stored there; addresses may be read from it."""
    stack = [line for line in lines if re.search(r"%rsp|\[sp", line)]
    moves = r"[xyz]mm|\bst[rp]\b|ld[rp]\s+q|mov\w*\s+%\w+, -?\d*\(%rsp"
    return [line for line in stack if re.search(moves, line)]
