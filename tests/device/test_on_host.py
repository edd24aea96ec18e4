"""The device's own kernels run on the host, thread by thread and watched: whether they are right,
touch nothing but their arrays, and wait where they have to is seen without a device. What is made
of expressions has tests of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from autograph import ops  # it fills the registry
from autograph.backends import CUDA, NUMPY, using
from autograph.backends.cuda import arrange
from autograph.backends.cuda.launch import Kernel
from autograph.backends.cuda.words import check_faults
from autograph.backends.precision import precision
from autograph.errors import IndexRangeError
from autograph.op import REGISTRY, Op, signature_of
from autograph.ops import chain
from autograph.scalar_type import BF16, F32
from autograph.testing import kernels
from autograph.testing.kernels import cases_of

from . import cases, host_cupy, net_cases, random_cases, update_cases

OWN = [op for op in REGISTRY.values() if CUDA in op.modules and op.samples]
CASES = {  # what no sample reaches
    "few": net_cases.few, "added": net_cases.added, "sums": net_cases.sums,
    "updates": update_cases.updates, "product steps": update_cases.product_steps,
}  # fmt: skip
TENSOR_CORES = "few", cases.BF16  # kernels of its own
ORDERS = 0, 1, 6, 9  # forward, backward, threads anyhow, warps anyhow

pytestmark = pytest.mark.skipif(bool(host_cupy.missing()), reason=host_cupy.missing())


@pytest.fixture(autouse=True, scope="module")
def cupy() -> Iterator[Any]:
    with host_cupy.installed() as cupy:
        yield cupy


@pytest.fixture(autouse=True)
def orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_cupy, "orders", ORDERS)


def halves_and_singles(op: Op, arrays: Any) -> list[kernels.Case]:
    """The cases in f32 and bf16, which differ most; the others compile as long, and alike."""
    found = list(cases_of(op, arrays))
    return [each for each in found if "f32" in each.label or "bf16" in each.label] or found


@pytest.mark.parametrize("op", OWN, ids=lambda op: op.name)
def test_a_kernel_agrees_with_numpy(op: Op, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "cases_of", halves_and_singles)

    kernels.compare_kernels(op, backends=[CUDA])


@pytest.mark.parametrize(
    ("case", "dtype"), [*((each, cases.F32) for each in CASES), TENSOR_CORES], ids=str
)
def test_larger_kernels_agree(
    case: str, dtype: Any, cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_cupy, "orders", (0, 9))

    for name, got, expected, tolerance in CASES[case](cupy, dtype):
        assert cases.distance(np.asarray(got, "f8"), expected) <= tolerance, name


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", random_cases.CASES)
def test_random_shapes_agree(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random_cases.Draw(seed)
    for op, arrays, settings in random_cases.calls(name, draw, monkeypatch):
        if CUDA not in op.modules:
            continue

        def any_case(op: Op, arrays: Any) -> list[kernels.Case]:
            return [draw.one(*cases_of(op, arrays))]

        monkeypatch.setattr(kernels, "cases_of", any_case)
        monkeypatch.setattr(kernels, "samples_of", lambda *_, of=(arrays, settings): [of])
        kernels.compare_kernels(op, backends=[CUDA])


EMPTY = {"matmul": ((0, 3), (3, 4)), "accumulate": ((0,), (0,)), "sum": ((3, 0),)}


@pytest.mark.parametrize("name", EMPTY)
def test_empty_arrays_are_no_launch_of_no_blocks(name: str, monkeypatch: Any) -> None:
    sample = [np.zeros(shape) for shape in EMPTY[name]], {}
    monkeypatch.setattr(kernels, "samples_of", lambda *_: [sample])

    assert kernels.compare_kernels(REGISTRY[name], backends=[CUDA])["cuda"]


@pytest.mark.parametrize("sorts", [False, True])
@pytest.mark.parametrize("scalar_type", [F32, BF16], ids=str)
def test_rows_are_added_in_their_order(
    scalar_type: Any, sorts: bool, cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autograph.ops.batch_rows import cuda_added

    monkeypatch.setattr(cuda_added, "_LISTED", (0, 0) if sorts else cuda_added._LISTED)
    cuda_added._added.cache_clear()
    rng, wide = np.random.default_rng(0), "f8" if scalar_type is F32 else "f4"
    rows = (1e3 * rng.standard_normal((300, 5))).astype(scalar_type.dtype)
    places = np.where(rng.random(300) < 0.5, 3, rng.integers(-9, 9, 300))
    places[[4, 9]] = 9, -10
    found = cuda_added.added_rows_cuda(9, cupy.asarray(places), cupy.asarray(rows))
    cuda_added._added.cache_clear()

    expected = np.zeros((9, 5), wide)
    for row in range(9):
        own = rows[(places == row) | (places == row - 9)]
        for first in range(0, len(own), 32):  # a piece: so many one after the other
            piece = np.zeros(5, wide)
            for each in own[first : first + 32]:
                piece += each.astype(wide)
            expected[row] += piece
    assert found.tobytes() == expected.astype(scalar_type.dtype).tobytes()
    with pytest.raises(IndexRangeError, match=r"value     9\n  position  4"):
        check_faults(0)


def test_an_empty_batch_has_no_loss(cupy: Any) -> None:
    assert np.isnan(ops.cross_entropy_loss(cupy.zeros((0, 3)), cupy.zeros(0, np.int64)))


def test_more_tiles_than_blocks_are_turned(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = cupy.asarray(np.arange(1400.0).reshape(70, 20)), cupy.empty((20, 70))
    launch = Kernel.__call__
    monkeypatch.setattr(
        Kernel, "__call__", lambda kernel, blocks, *given: launch(kernel, (blocks[0], 1), *given)
    )
    arrange._transpose(x, y, 1, 70, 20, 20, 70)

    np.testing.assert_array_equal(y, x.T)


@pytest.mark.parametrize("dtype", ["f4", "u2", "f8", "u1"])
@pytest.mark.parametrize("tile", [(64, 64), (32, 128), (128, 32)], ids=str)
def test_tiles_are_turned_in_wide_accesses_and_without(
    tile: Any, dtype: str, cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrange, "_LARGE", 1)
    monkeypatch.setattr(arrange, "_TILE", tile)
    for shape in ((128, 192), (100, 132), (33, 47)):
        x = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)

        np.testing.assert_array_equal(arrange.arranged(cupy.asarray(x).T), x.T)


@pytest.mark.parametrize("rows", [32, 544, 1024])  # blocks with a tile, with 3 or 4, and with 4
@pytest.mark.parametrize("behind", ["relu", "gelu", ""])
def test_a_gradient_that_is_turned_besides_has_the_same_bits(
    behind: str, rows: int, cupy: Any
) -> None:
    from autograph.ops.linear.cuda_back import column_sums, turned_sums

    rng = np.random.default_rng(0)
    dy, seen = (cupy.asarray(rng.standard_normal((rows, 128), np.float32)) for _ in range(2))
    given = (dy, seen, behind) if behind else (dy,)
    dx, dbias = column_sums(*given)
    for has_dx in (True, False):
        again, sums, turned = turned_sums(*given, has_dx=has_dx)

        assert turned.T.flags.c_contiguous
        assert turned.tobytes() == dx.tobytes()
        assert sums.tobytes() == dbias.tobytes()
        assert not has_dx or again.tobytes() == dx.tobytes()


@pytest.mark.parametrize("changes", [True, False])
def test_gradients_of_a_large_layer_take_what_is_turned(
    changes: bool, cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autograph.backends.cuda import lt
    from autograph.ops.linear import cuda_back

    rng, given = np.random.default_rng(0), []

    def multiplied(a: Any, b: Any, bias: Any = None) -> Any:
        given.append([each.strides for each in lt._turned(a, b)])
        return cupy.asarray(np.asarray(a) @ np.asarray(b))

    monkeypatch.setattr(lt, "_TURNED", 32)
    monkeypatch.setattr(lt, "_LONG", 32)
    monkeypatch.setattr(cuda_back, "product_cuda", multiplied)
    dy, y = (rng.standard_normal((64, 128), np.float32) for _ in range(2))
    x, w = rng.standard_normal((64, 48), np.float32), rng.standard_normal((48, 128), np.float32)
    seen = cupy.asarray(y) if changes else None
    arrays = cupy.asarray(dy), seen, cupy.asarray(x)
    slope = np.where(y <= 0, 0, dy) if changes else dy
    with precision("tf32"):
        dx, dweight, dbias = cuda_back._gradients(*arrays, cupy.asarray(w))
        alone = cuda_back._gradients(*arrays)

    along = [(256, 4), (4, 256)]  # of (48, 64) times (64, 128): both lie along the sums
    assert given == [[(512, 4), (4, 512)], along, along]
    np.testing.assert_allclose(dx, slope @ w.T, rtol=1e-5, atol=1e-5)
    for found in ((dweight, dbias), alone):
        np.testing.assert_allclose(found[0], x.T @ slope, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found[1], slope.sum(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("scalar_type", "moves"), [("bf16", [False]), ("f16", [True])])
def test_a_product_is_scaled_before_where_nothing_gets_lost(
    scalar_type: str, moves: list[bool], cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autograph.backends.cuda import lt
    from autograph.ops.update.cuda_product import sgd_product_update_cuda
    from autograph.outline import Outline
    from autograph.scalar_type import ScalarType

    asked = []

    def adding(y: Any, a: Any, b: Any, *, moves: bool = False) -> Any:
        asked.append(moves)
        return lambda *factors: None

    monkeypatch.setattr(lt, "adding", adding)
    dtype = ScalarType(scalar_type).dtype
    arrays = [cupy.asarray(np.ones(each, dtype)) for each in ((16, 8), (4, 16), (4, 8))]
    step, rate = cupy.asarray(np.zeros((), "i8")), cupy.asarray(np.full((), 0.1))
    inputs = [Outline.of(np.asarray(each)) for each in (*arrays, step, rate)]
    run = sgd_product_update_cuda(inputs, (), maximize=False)
    run(*arrays, step, rate)

    assert moves == asked
    assert step == 1


# -- steps of chains -------------------------------------------------------------------------


def on_device(op: Op, *arrays: Any, **settings: Any) -> Any:
    with using(CUDA):
        settings = op.complete(settings)
        return op.run(op.plan(list(map(signature_of, arrays)), settings), arrays)[1]


@pytest.mark.parametrize("scalar_type", [F32, BF16], ids=str)
def test_a_step_agrees_with_numpy_and_moves_as_the_updates_do(scalar_type: Any, cupy: Any) -> None:
    (_, *shape), layers, shapes = chain.SAMPLES[0]
    rng, dtype = np.random.default_rng(0), scalar_type.dtype
    x, target = rng.standard_normal((133, *shape)).astype(dtype), rng.integers(0, 3, 133)
    parameters = [(rng.standard_normal(each) / 3).astype(dtype) for each in shapes]
    settings = {"layers": layers, "has_dx": True}
    with using(NUMPY):
        wide = [each.astype("f8") for each in parameters]
        expected = chain.chain_step(x.astype("f8"), target, *wide, **settings)
    given = [cupy.asarray(each) for each in (x, target, *parameters)]
    y, left, dx = on_device(chain.chain_step, *given, **settings)
    loss, *gradients = on_device(chain.chain_gradients, given[0], left, *given[2:], **settings)

    flat = np.concatenate([np.ravel(each) for each in (loss, *gradients)])
    for found, wanted in zip((y, flat, dx), expected, strict=True):
        apart = np.linalg.norm(np.asarray(found, "f8") - wanted) / np.linalg.norm(wanted)
        assert apart < (1e-6 if scalar_type is F32 else 2e-2)
    for op, one, states in (
        (chain.chain_sgd_updates, ops.sgd_update, 1),
        (chain.chain_adam_updates, ops.adam_update, 3),
    ):
        moving = []
        for w in parameters:
            state = [rng.random(w.shape).astype("f4") for _ in range(states)]
            master = w.astype("f4") if scalar_type is BF16 else None
            moving.append([w.copy(), np.array(1), *state, master])
        there = [[None if a is None else cupy.asarray(a) for a in part] for part in moving]
        rate, flat_there = cupy.asarray(np.array(0.1)), [a for part in there for a in part]
        on_device(op, given[0], left, rate, *flat_there, **settings)
        for (w, step, *rest), part, dw in zip(moving, there, gradients, strict=True):
            one(w, np.asarray(dw), step, np.array(0.1), *rest)
            for a, b in zip(part, (w, step, *rest), strict=True):
                if b is not None:
                    a, b = np.asarray(a, "f8"), b.astype("f8")
                    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


# -- what the watch sees ---------------------------------------------------------------------

SEEN = {
    "reads what another wrote": "shared[i] = x[i]; y[i] = shared[i ^ 1];",
    "writes what another read": "y[i] = shared[i ^ 1]; shared[i] = 1;",
    "reads what nobody wrote": "if (i) shared[i] = 1; __syncthreads(); y[i] = shared[i];",
    "reads outside": "y[i] = x[i + 1];",
    "writes outside": "y[i - 1] = 0;",
    "writes what another wrote": "y[i] = blockIdx.x;",
    "a warp is not whole": "if (i < 3) y[i] = __shfl_xor_sync(~0u, x[i], 1);",
    "other bits": "y[i] = atomicAdd(shared, 1.0f);",
}


@pytest.mark.parametrize("message", SEEN)
def test_what_no_device_forgives_is_seen(message: str, cupy: Any) -> None:
    begin = "" if message.startswith("reads") else "shared[i] = 0; __syncthreads();"
    kernel = Kernel(
        "template <class Spec> __global__ void wrong(const float* x, float* y) {\n"
        f"__shared__ float shared[64]; const int i = threadIdx.x; {begin} {SEEN[message]} }}",
        "wrong", {}, threads=64,
    )  # fmt: skip

    with pytest.raises(AssertionError, match=message):
        kernel(2, cupy.zeros(64, np.float32), cupy.zeros(64, np.float32))
