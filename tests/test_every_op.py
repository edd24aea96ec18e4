"""Every op of the registry on its samples: a new op is tested unasked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from autograph import Tensor, grad, higher_order, no_grad, ops
from autograph.backends import NUMPY, Backend
from autograph.op import REGISTRY, Op
from autograph.ops.pointwise import Pointwise
from autograph.platforms import PLATFORMS
from autograph.scalar_type import F32, ScalarType
from autograph.testing import (
    all_ops,
    check_gradient,
    check_gradients,
    check_op,
    compare_kernels,
    differentiable,
    kernel_backends,
    samples_of,
)

# Ops with float inputs that have no gradient, and why.
PARTS = "the op that it is the gradient of runs as its parts where gradients are differentiated"
STEPS = "what it answers is constant between the values at which it jumps"
NO_GRADIENT = {
    "batch_norm_back": PARTS,
    "batch_norm_plus_back": PARTS,
    "cofactor": "it runs as its parts where gradients are differentiated",
    "chain_back": PARTS,
    "conv2_relu_max_pool2_back": PARTS,
    "conv2_relu_max_pool2_dweight": PARTS,
    "cross_entropy_loss_dx": PARTS,
    "cumprod_dx": PARTS,
    "histogram": STEPS,
    "linear_back": PARTS,
    "linear_dweight": PARTS,
    "linear_gelu_tanh_back": PARTS,
    "linear_relu_back": PARTS,
    "linear_relu_dweight": PARTS,
    "log_softmax_dx": PARTS,
    "packed_attention_back": PARTS,
    "prod_dx": PARTS,
    "softmax_dx": PARTS,
    "standardise_plus_back": PARTS,
    "unique_all": STEPS,
}

# A setting with which the gradient is not the derivative, on purpose, and why.
ON_PURPOSE = {"embedding": ("padding", "the row of the padding index is not trained")}

# Fused ops with samples that their parts do not take, and why.
WIDER = {"cofactor": "as parts it divides by the determinant, which is 0 in one of its samples"}

# Ops without samples that no gradient of a sampled op reaches, and why.
DEFERRED = "what it is given has the layout of another kernel; tests/device/test_chain.py"
NOT_REACHED: dict[str, str] = dict.fromkeys(
    ("chain_step", "chain_gradients", "chain_sgd_updates", "chain_adam_updates"), DEFERRED
)


OPS = all_ops()
SAMPLED = [op for op in OPS if op.samples is not None]
POINTWISE = [op for op in SAMPLED if isinstance(op, Pointwise) and not op.boolean]
COMPOSED = [op for op in SAMPLED if op.parts is not None and op.name not in WIDER]
# The signs of their vectors are the library's: tests/device compares them up to those.
SIGNED = ("eigh", "svd")
UNSIGNED = [op for op in SAMPLED if op.name not in SIGNED]


def is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and ScalarType.of(value).is_float


def floats(op: Op) -> Iterator[tuple[tuple[Any, ...], dict[str, Any], list[int]]]:
    """The samples of an op with the positions of the float inputs that have a gradient."""
    if op.gradients and not op.writes:
        for arrays, settings in samples_of(op):
            wrt = [at for at in differentiable(op, len(arrays)) if is_float(arrays[at])]
            if wrt:
                yield arrays, settings, wrt


def tuple_of(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def recorded(
    op: Op, arrays: tuple[Any, ...], settings: dict[str, Any], wrt: list[int]
) -> tuple[list[Tensor], list[Tensor]]:
    """(The inputs that gradients are wanted of, the outputs that lead to them.)"""
    given = [
        Tensor(each, requires_grad=i in wrt) if isinstance(each, np.ndarray) else each
        for i, each in enumerate(arrays)
    ]
    outputs = [y for y in tuple_of(op(*given, **settings)) if y.requires_grad]
    return [given[at] for at in wrt], outputs


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_gradients_match_finite_differences(op: Op) -> None:
    setting, _ = ON_PURPOSE.get(op.name, ("", ""))
    check_gradients(op, where=lambda settings: settings.get(setting) is None)


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_kernels_agree(op: Op) -> None:
    """With the reference or NumPy in float64: values, scalar types, outlines, strided inputs."""
    runs = compare_kernels(op, backends=host_backends(op))

    if any(kernel.backend is NUMPY for kernel in op.kernels):
        assert runs["numpy"]


@pytest.mark.device
@pytest.mark.parametrize("op", UNSIGNED, ids=lambda op: op.name)
def test_device_kernels_agree(op: Op) -> None:
    chosen = [each for each in kernel_backends(op) if each.kind == "cuda"]

    assert sum(compare_kernels(op, backends=chosen).values())


def host_backends(op: Op) -> list[Backend]:
    return [each for each in kernel_backends(op) if each.kind == "host"]


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_float32_stays_float32(op: Op) -> None:
    """Outputs and gradients; an output that says another type says it whatever comes in."""
    for arrays, settings, wrt in floats(op):
        narrow = tuple(each.astype(np.float32) if is_float(each) else each for each in arrays)
        inputs, outputs = recorded(op, narrow, settings, wrt)
        wide = [y.dtype for y in tuple_of(op(*arrays, **settings))]
        for y, other in zip(outputs, wide, strict=False):
            assert y.scalar_type is F32 or "scalar_type" in settings or y.dtype != other
        for y in outputs:
            y.backward(np.ones(y.shape, y.dtype), retain_graph=True)
        for x in inputs:
            assert x.grad is None or x.grad.scalar_type is F32


@pytest.mark.parametrize("op", POINTWISE, ids=lambda op: op.name)
def test_numbers_and_0d_tensors_never_widen(op: Op) -> None:
    for arrays, settings, wrt in floats(op):
        if wrt != [0, 1] or len(arrays) != 2 or arrays[0].ndim == 0:
            continue
        x = Tensor(arrays[0].astype(np.float32))
        for other in (np.array(1.5), 2, 2.5, np.float64(1.5), True):
            assert op(x, other, **settings).scalar_type is F32
            assert op(other, x, **settings).scalar_type is F32


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_gradients_in_higher_order_are_the_same(op: Op) -> None:
    """There rules get tensors, which must be as good as arrays."""
    for arrays, settings, wrt in floats(op):
        inputs, outputs = recorded(op, arrays, settings, wrt)
        seeds = [np.random.default_rng(0).normal(size=y.shape) for y in outputs]
        plain = [
            grad(y, inputs, dy, retain_graph=True) for y, dy in zip(outputs, seeds, strict=True)
        ]
        if op.name in WIDER:
            continue
        with higher_order():
            inputs, outputs = recorded(op, arrays, settings, wrt)
            higher = [grad(y, inputs, Tensor(dy)) for y, dy in zip(outputs, seeds, strict=True)]
        for before, after in zip(plain, higher, strict=True):
            for a, b in zip(before, after, strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("op", COMPOSED, ids=lambda op: op.name)
def test_a_fused_op_is_its_parts(op: Op) -> None:
    for arrays, settings in samples_of(op):
        given = [Tensor(each) if isinstance(each, np.ndarray) else each for each in arrays]
        fused, parts = op(*given, **settings), op.parts(*given, **op.complete(settings))

        for a, b in zip(tuple_of(fused), tuple_of(parts), strict=True):
            assert a.scalar_type is b.scalar_type
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_a_tensor_and_an_array_give_the_same_bits(op: Op) -> None:
    for arrays, settings in samples_of(op):
        if op.writes or not any(isinstance(each, np.ndarray) for each in arrays):
            continue
        given = [Tensor(each) if isinstance(each, np.ndarray) else each for each in arrays]
        with no_grad():
            tensors = tuple_of(op(*given, **settings))
        for y, array in zip(tensors, tuple_of(op(*arrays, **settings)), strict=True):
            assert y.numpy().tobytes() == np.asarray(array).tobytes()


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_a_numpy_scalar_beside_arrays_is_a_0d_array(op: Op) -> None:
    for arrays, settings in samples_of(op):
        scalars = [isinstance(each, np.ndarray) and each.ndim == 0 for each in arrays]
        if op.writes or not any(scalars) or all(scalars):
            continue
        for dtype in ("f4", "f8"):
            typed = [each.astype(dtype) if is_float(each) else each for each in arrays]
            given = [a[()] if s else a for a, s in zip(typed, scalars, strict=True)]
            for y, other in zip(
                tuple_of(op(*given, **settings)), tuple_of(op(*typed, **settings)), strict=True
            ):
                assert y.tobytes() == other.tobytes()


def test_every_op_has_samples_or_is_reached_by_the_gradient_of_one_that_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached: set[str] = set()
    plan = Op.plan

    def noted(self: Op, *arguments: Any) -> Any:
        reached.add(self.name)
        return plan(self, *arguments)

    monkeypatch.setattr(Op, "plan", noted)
    for op in SAMPLED:
        for arrays, settings, wrt in floats(op):
            inputs, outputs = recorded(op, arrays, settings, wrt)
            for y in outputs:
                grad(y, inputs, np.ones(y.shape), retain_graph=True)
    without = {op.name for op in OPS if op.samples is None}

    assert without - reached == NOT_REACHED.keys()


def test_every_float_input_has_a_gradient_or_a_reason_to_have_none() -> None:
    missing = set()
    for op in SAMPLED:
        if op.writes:
            continue
        for arrays, settings in samples_of(op):
            outputs = tuple_of(op(*arrays, **settings))
            if any(is_float(np.asarray(y)) for y in outputs):
                ready = differentiable(op, len(arrays))
                if any(is_float(each) and at not in ready for at, each in enumerate(arrays)):
                    missing.add(op.name)

    assert missing == NO_GRADIENT.keys()


def test_every_op_has_a_numpy_kernel() -> None:
    for op in OPS:
        op.candidates("host")

    assert [op.name for op in OPS if all(k.backend is not NUMPY for k in op.kernels)] == []


def test_every_op_has_a_kernel_of_every_kind_of_device() -> None:
    for kind in PLATFORMS:
        named = {op.name for op in OPS if any(each.kind == kind for each in op.backends())}

        assert {op.name for op in OPS} == named


# -- the checker itself ------------------------------------------------------------------


@pytest.fixture
def square() -> Iterator[Op]:
    """An op from outside the package, to be spoilt."""
    op = Op("test_square", "x")

    @op.kernel(NUMPY)
    def square_numpy(x):
        return x * x

    @op.gradient("x")
    def square_dx(y, x):
        return lambda dy: ops.multiply(dy, ops.multiply(x, 2.0))

    @op.sampled_by
    def square_samples(rng):
        yield (rng.uniform(1.0, 2.0, size=(2, 3)),), {}

    yield op
    del REGISTRY["test_square"]


def test_an_op_from_outside_passes(square: Op) -> None:
    check_op(square)


def test_a_wrong_gradient_is_told_with_both_sides(square: Op) -> None:
    square.gradients.clear()
    square.gradient("x")(lambda y, x: lambda dy: ops.multiply(dy, x))

    with pytest.raises(AssertionError) as caught:
        check_op(square)

    lines = str(caught.value).splitlines()
    assert lines[0] == "test_square, sample 0 of f64 (2, 3): the gradient of input 0 is wrong"
    assert [line.split()[0] for line in lines[1:]] == ["at", "rule", "differences"]
    rule, differences = (float(line.split()[1]) for line in lines[2:])
    assert differences == pytest.approx(2 * rule, rel=1e-7)


def test_a_wrong_kernel_is_told_with_both_sides(square: Op) -> None:
    square.kernels.clear()
    square.kernel(NUMPY)(lambda x: np.float16(x) * x if x.dtype == np.float32 else x * x)

    with pytest.raises(AssertionError, match="numpy kernel, sample 0 in f32") as caught:
        check_op(square)

    lines = str(caught.value).splitlines()
    assert "output 0 differs in" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["at", "found", "expected"]


def test_a_changed_input_is_told(square: Op) -> None:
    square.kernels.clear()
    square.kernel(NUMPY)(lambda x: np.multiply(x, x, out=x))

    with pytest.raises(AssertionError, match="x was changed\n  write  writes='x'"):
        check_op(square)


def test_an_output_unlike_its_outline_is_told(square: Op) -> None:
    square.kernels.clear()
    square.kernel(NUMPY)(lambda x: (x * x)[:1])

    with pytest.raises(AssertionError, match="an output is not like its outline") as caught:
        check_op(square)

    assert "  outline  f64 (2, 3)\n  output   f64 (1, 3)" in str(caught.value)


def test_an_op_without_samples_is_told(square: Op) -> None:
    square.samples = None

    with pytest.raises(AssertionError, match="test_square has no samples"):
        check_op(square)


def test_any_function_of_tensors_can_be_checked() -> None:
    rng = np.random.default_rng(0)
    check_gradient(lambda a, b: (a @ b).tanh().sum(axis=0), rng.normal(size=(2, 3, 3)))

    with pytest.raises(AssertionError, match="detached: the gradient of input 0 is wrong"):
        check_gradient(detached, [rng.normal(size=3)])


def detached(x: Tensor) -> Tensor:
    """x squared, with half of its gradient lost."""
    return x * x.detach()
