"""Hooks by path, and the mode that names what is not finite."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import autograph as ag
from autograph import Tensor, ops
from autograph.errors import NonFiniteError, SettingsError, ShapeError
from examples.mnist.lenet5 import LeNet5

X = np.random.default_rng(0).normal(size=(2, 1, 28, 28)).astype(np.float32)


def test_a_hook_sees_what_each_layer_answers_also_where_layers_are_fused() -> None:
    model, seen = LeNet5.build(seed=0), {}
    before = model(Tensor(X))

    with model.on_forward("*", lambda path, y: seen.update({path: y})):
        during = model(Tensor(X))
    after = model(Tensor(X))

    assert list(model.named_layers()) == sorted(seen, key=list(model.named_layers()).index)
    assert (2, 6, 24, 24) == seen["conv1"].shape
    np.testing.assert_array_equal(seen["conv1"].relu().numpy(), seen["relu1"].numpy())
    np.testing.assert_allclose(before.numpy(), during.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(before.numpy(), after.numpy())


def test_a_hook_may_change_what_is_answered_and_is_removed_once() -> None:
    model, calls = LeNet5.build(seed=0), []
    zero = model.on_forward("relu4", lambda path, y: y * 0)
    count = model.on_forward("relu4", lambda path, y: calls.append(path))

    first, second = model(Tensor(X)).numpy()
    np.testing.assert_array_equal(first, second)  # nothing but the bias is left
    zero.remove()
    zero.remove()
    first, second = model(Tensor(X)).numpy()
    assert (first != second).any()
    count.remove()
    model(Tensor(X))
    assert ["relu4", "relu4"] == calls


def test_a_hook_sees_gradients_and_may_change_them() -> None:
    plain, model, seen = LeNet5.build(seed=0), LeNet5.build(seed=0), []
    plain(Tensor(X)).sum().backward()

    hook = model.on_gradient("conv?.weight", lambda path, dw: seen.append((path, dw)))
    with model.on_gradient("conv1.weight", lambda path, dw: dw * 2):
        model(Tensor(X)).sum().backward()
    hook.remove()

    assert plain.conv1.weight.grad is not None
    assert model.conv1.weight.grad is not None
    assert {"conv1.weight", "conv2.weight"} == {path for path, _ in seen}
    np.testing.assert_array_equal(
        2 * plain.conv1.weight.grad.numpy(), model.conv1.weight.grad.numpy()
    )
    assert 2 == len(seen)


def test_a_removed_hook_sees_no_gradient() -> None:
    plain, model, seen = LeNet5.build(seed=0), LeNet5.build(seed=0), []
    model.on_gradient("conv1.weight", lambda path, dw: seen.append(path)).remove()
    plain(Tensor(X)).sum().backward()
    model(Tensor(X)).sum().backward()

    assert plain.conv1.weight.grad is not None
    assert model.conv1.weight.grad is not None
    assert seen == []
    np.testing.assert_array_equal(plain.conv1.weight.grad.numpy(), model.conv1.weight.grad.numpy())


def test_gradients_in_higher_order_and_recomputed_pass_the_hook() -> None:
    model, seen = LeNet5.build(seed=0), []
    with model.on_gradient("dense3.bias", lambda path, dw: seen.append(dw.shape)):
        with ag.higher_order():
            model(Tensor(X)).sum().backward()
        ag.recompute(model, Tensor(X)).sum().backward()

    assert [(10,), (10,)] == seen


def test_hooks_that_do_not_fit_are_refused() -> None:
    model = LeNet5.build(seed=0)

    with pytest.raises(SettingsError, match=r"'conv9' fits no path\n  paths  conv1, relu1"):
        model.on_forward("conv9", print)
    with (
        model.on_gradient("dense3.bias", lambda path, dw: dw.sum()),
        pytest.raises(ShapeError, match=r"on_gradient\(dense3.bias\): the gradient is not"),
    ):
        model(Tensor(X)).sum().backward()
    model.conv1.freeze()
    with pytest.raises(SettingsError, match=r"conv1\.weight is frozen"):
        model.on_gradient("conv1.*", print)


def test_a_copy_of_a_model_has_no_hooks() -> None:
    model, seen = LeNet5.build(seed=0), []
    with model.on_forward("conv1", lambda path, y: seen.append(path)):
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            twin(Tensor(X))
            assert vars(twin.conv1)["forward"].layer is twin.conv1

    assert seen == []


# -- anomaly mode ----------------------------------------------------------------------


def test_the_op_and_the_layer_of_the_first_value_that_is_not_finite_are_named() -> None:
    model = LeNet5.build(seed=0)
    with ag.no_grad():
        model.conv2.weight[0, 0, 0, 0] = float("nan")

    with pytest.raises(NonFiniteError) as caught, ag.anomaly():
        model(Tensor(X))

    text = str(caught.value).splitlines()
    assert text[0] == "anomaly: conv2 was given a value that is not finite"
    assert text[1].split() == ["layer", "LeNet5.conv2"]
    assert text[3].endswith("1 not finite")


def test_a_value_that_an_op_makes_of_finite_ones_is_told_apart() -> None:
    told = "divide made what is not finite of finite values"
    with pytest.raises(NonFiniteError, match=told), ag.anomaly():
        Tensor([1.0]) / Tensor([0.0])


def test_gradients_name_the_op_and_the_layer_that_were_recorded() -> None:
    model = LeNet5.build(seed=0)

    with model.on_forward("relu4", lambda path, y: (y * 0).sqrt()), ag.anomaly():
        loss = model(Tensor(X)).sum()
    with pytest.raises(NonFiniteError) as caught:
        loss.backward()

    text = str(caught.value).splitlines()
    assert text[0] == "anomaly: the gradient of sqrt made what is not finite of finite values"
    assert text[1].split() == ["layer", "LeNet5.relu4"]
    assert model.conv1.weight.grad is None


def test_a_sound_step_is_left_as_it_is() -> None:
    plain, model = LeNet5.build(seed=0), LeNet5.build(seed=0)
    plain(Tensor(X)).cross_entropy_loss(Tensor([1, 2])).backward()
    with ag.anomaly():
        model(Tensor(X)).cross_entropy_loss(Tensor([1, 2])).backward()

    assert plain.conv1.weight.grad is not None
    assert model.conv1.weight.grad is not None
    np.testing.assert_allclose(
        plain.conv1.weight.grad.numpy(), model.conv1.weight.grad.numpy(), rtol=1e-4, atol=1e-6
    )


def test_infinities_may_be_meant() -> None:
    mask = Tensor([0.0, -np.inf])
    with ag.anomaly(infinities=False):
        y = ops.softmax(Tensor([1.0, 2.0]) + mask)
        with pytest.raises(NonFiniteError, match="subtract made NaN of values that are none"):
            mask - mask

    assert [1.0, 0.0] == y.tolist()
