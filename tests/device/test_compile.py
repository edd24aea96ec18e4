"""Every device kernel compiles for every architecture, on machines without a device too."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from autograph import ops  # noqa: F401  it fills the registry
from autograph.backends.cuda import compile as compiler
from autograph.backends.cuda import launch, lt, nvrtc, pointwise, words
from autograph.errors import KernelError
from autograph.expression import FUNCTIONS, Call, Name, Program
from autograph.op import REGISTRY

from . import cases, net_cases, update_cases

# the types that differ most, each for another architecture; F32 with every case
CASES = {**cases.CASES, **net_cases.CASES, **update_cases.CASES}
BUILDS = {cases.F32: 90, cases.F64: 100, cases.BF16: 80}

pytestmark = pytest.mark.skipif(
    not nvrtc.available(), reason="the wheel nvidia-cuda-nvrtc is not installed"
)


class FakeArray(np.ndarray):
    """A NumPy array with the attributes of CuPy's that kernels ask for."""

    class data:
        ptr = 0


def fake(array):
    return np.asarray(array).view(FakeArray)


@pytest.fixture
def compiled(monkeypatch):
    """The kernels that were launched, where launching compiles and CuPy is NumPy."""
    cupy = ModuleType("cupy")
    for name in ("empty", "zeros", "full", "ascontiguousarray", "broadcast_to"):
        function = getattr(np, name)
        setattr(cupy, name, lambda *a, _function=function, **k: fake(_function(*a, **k)))
    cupy.ndarray = type("ndarray", (), {})
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    for name in [each for each in sys.modules if ".cuda_" in each]:
        monkeypatch.delitem(sys.modules, name)
    pointwise._pointwise.cache_clear()
    pointwise._kernel.cache_clear()
    found, architecture = {}, [90]

    def compile_instead(kernel, blocks, *arguments):
        name, code = compiler.compile_kernel(
            kernel.source, kernel.name, kernel.constants, architecture[0]
        )
        assert name
        assert code[:4] == b"\x7fELF"
        found[kernel.name] = code

    monkeypatch.setattr(launch.Kernel, "__call__", compile_instead)

    monkeypatch.setattr(lt, "is_faster", lambda *sizes: False)

    class FakeWords:
        finished = hits = fault = groups = fake(np.zeros(1, "u8"))

    monkeypatch.setattr(words, "words", FakeWords)
    kernels = {op: list(op.kernels) for op in REGISTRY.values()}
    yield found, architecture
    for op, before in kernels.items():
        op.kernels[:] = before
    for name in [each for each in sys.modules if ".cuda_" in each]:
        del sys.modules[name]


@pytest.mark.parametrize("dtype", BUILDS, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_kernels_compile(case, dtype, compiled, monkeypatch):
    if dtype != cases.F32:
        for name in ("CONVOLUTIONS", "POOLS", "PRODUCTS", "REDUCTIONS", "POINTWISE"):
            monkeypatch.setattr(cases, name, getattr(cases, name)[:2])
    found, architecture = compiled
    architecture[0] = BUILDS[dtype]

    class Fake:
        asarray = staticmethod(fake)

    with np.errstate(all="ignore"):
        for _ in CASES[case](Fake, dtype):
            pass

    assert found


@pytest.mark.parametrize("scalar_type", ["float32", "float64", "int32", "uint64"])
def test_every_function_of_expressions_has_a_cuda_form(scalar_type):
    whole = Name("a")
    for function, rules in FUNCTIONS.items():
        if "float" in scalar_type and function.startswith(("bitwise", "shift")):
            continue
        count = 1 if function in ("isnan", "isinf", "isfinite", "bitwise_not") else 2
        count = 3 if function == "where" else len(rules) if rules else count
        call = Call(function, (Name("a"), Name("b"), Name("a"))[:count])
        whole = Call("add", (whole, Call("where", (call, Name("a"), Name("b")))))
    program = Program(("a", "b"), (), whole)
    dtype = np.dtype(scalar_type)
    kernel = pointwise._kernel(program, (dtype, dtype), (), ((1,), (1,)), dtype, np.dtype("i4"), 2)
    name, _ = compiler.compile_kernel(kernel.source, kernel.name, kernel.constants, 90)

    assert "pointwise" in name


def test_a_mistake_is_shown_with_its_line():
    text = '#include "scalar.cuh"\ntemplate <class Spec> __global__ void wrong() {\n  int a = b;\n}'

    with pytest.raises(KernelError) as caught:
        compiler.compile_kernel(text, "wrong", {"size": 3}, 90)
    assert str(caught.value) == (
        'generated, line 3: identifier "b" is undefined\n'
        "  line      int a = b;\n"
        "  kernel    wrong<Spec>\n"
        "  with      size = 3"
    )


def test_a_damaged_cache_entry_is_compiled_again(tmp_path, monkeypatch):
    monkeypatch.setattr(compiler, "cache_folder", lambda: tmp_path)
    text = "template <class Spec> __global__ void fine(int* a) { *a = Spec::size; }"
    name, code = compiler.compile_kernel(text, "fine", {"size": 3}, 90)
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

    assert compiler.compile_kernel(text, "fine", {"size": 3}, 90) == (name, code)
    assert entry.read_bytes() == whole
