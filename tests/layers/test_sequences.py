"""Attention and recurrent layers beside torch's modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import ops
from autograph.errors import SettingsError, ShapeError
from autograph.layers import GRU, LSTM, Dense, Layer, MultiheadAttention, sequential
from autograph.ops import attention
from autograph.testing import check_gradient

from .comparison import assert_close

RNG = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape)


# -- attention ---------------------------------------------------------------------------

Q, K, V = normal(2, 3, 7, 4), normal(2, 3, 9, 4), normal(2, 3, 9, 5)
SEEN = normal(7, 9) > -0.5
SEEN[:, 0] = True
CASES: list[tuple[tuple[Any, ...], Any, dict[str, Any], dict[str, Any]]] = [
    ((Q, K, V), None, {}, {}),
    ((Q, K, V), None, {"causal": True, "scale": 0.2}, {"is_causal": True, "scale": 0.2}),
    ((Q, K, V), SEEN, {}, {}),
    ((Q, K, V), normal(3, 7, 9), {}, {}),
    ((Q[:, 0], K[:, 0], V[:, 0]), normal(2, 1, 9), {}, {}),
]


@pytest.mark.parametrize("block", [256, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("inputs", "mask", "settings", "words"), CASES)
def test_attention_is_torchs(
    inputs: tuple[Any, ...],
    mask: Any,
    settings: dict[str, Any],
    words: dict[str, Any],
    dtype: Any,
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setattr(attention, "ROWS", block)
    monkeypatch.setattr(attention, "COLUMNS", block + 1)
    arrays = [each.astype(dtype) for each in inputs]
    if mask is not None:
        mask = mask if mask.dtype == bool else mask.astype(dtype)
    ours = [ag.Tensor(each, requires_grad=True) for each in arrays]
    theirs = [torch.tensor(each, requires_grad=True) for each in arrays]
    masks: tuple[Any, Any] = (None, None)
    if mask is not None:
        floats = mask.dtype != bool
        masks = ag.Tensor(mask, requires_grad=floats), torch.tensor(mask, requires_grad=floats)

    y = ops.scaled_dot_product_attention(*ours, masks[0], **settings)
    z = torch.nn.functional.scaled_dot_product_attention(*theirs, attn_mask=masks[1], **words)
    assert_close(y, z, dtype)
    dy = np.random.default_rng(1).normal(size=y.shape).astype(dtype)
    y.backward(dy)
    z.backward(torch.tensor(dy))
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a.grad, b.grad, dtype)
    if mask is not None and mask.dtype != bool:
        assert_close(masks[0].grad, masks[1].grad, dtype)


def test_a_row_that_sees_nothing_answers_zeros_and_passes_no_gradient() -> None:
    seen = np.array([[True, True], [False, False]])
    q, k, v = (ag.Tensor(normal(2, 3), requires_grad=True) for _ in range(3))

    y = ops.scaled_dot_product_attention(q, k, v, seen)
    y.sum().backward()

    assert y.numpy()[1].tolist() == [0, 0, 0]
    assert q.grad.numpy()[1].tolist() == [0, 0, 0]
    assert np.isfinite(k.grad.numpy()).all()


def test_scores_of_any_size_do_not_overflow() -> None:
    q = np.full((2, 4), 1e4, np.float32)

    y = ops.scaled_dot_product_attention(q, q, np.eye(2, dtype=np.float32))

    np.testing.assert_allclose(y, 0.5)


@pytest.mark.parametrize("block", [256, 2])
def test_blocks_have_the_gradients_of_the_whole(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "ROWS", block)
    monkeypatch.setattr(attention, "COLUMNS", block)

    check_gradient(
        lambda q, k, v: ops.scaled_dot_product_attention(q, k, v, causal=True),
        [normal(2, 5, 3), normal(2, 5, 3), normal(2, 5, 2)],
    )


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_multihead_attention_is_torchs(bias: bool, causal: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    layer = MultiheadAttention.builder(inputs=6, heads=2, bias=bias, causal=causal).build(
        scalar_type="f64"
    )
    module = torch.nn.MultiheadAttention(6, 2, bias=bias, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        weights = [layer.query, layer.key, layer.value]
        module.in_proj_weight.copy_(torch.tensor(np.concatenate([w.numpy().T for w in weights])))
        module.out_proj.weight.copy_(torch.tensor(layer.output.numpy().T))
        if bias:
            for each in layer.named_parameters().values():
                if each.ndim == 1:
                    each[...] = ag.Tensor(normal(6))
            biases = [layer.query_bias, layer.key_bias, layer.value_bias]
            module.in_proj_bias.copy_(torch.tensor(np.concatenate([b.numpy() for b in biases])))
            module.out_proj.bias.copy_(torch.tensor(layer.output_bias.numpy()))
    array = normal(3, 5, 6)
    x, z = ag.Tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
    hidden = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1) if causal else None
    y = layer(x)
    expected, _ = module(z, z, z, attn_mask=hidden, need_weights=False)
    assert_close(y, expected)
    dy = normal(3, 5, 6)
    y.backward(dy)
    expected.backward(torch.tensor(dy))

    assert_close(x.grad, z.grad)
    found = np.concatenate([w.grad.numpy().T for w in weights])
    assert_close(found, module.in_proj_weight.grad)
    assert_close(layer.output.grad.numpy().T, module.out_proj.weight.grad)


def test_attention_to_a_context_of_another_length() -> None:
    layer = MultiheadAttention.builder(inputs=4, heads=2).build()
    x, context = (ag.Tensor(normal(2, n, 4).astype(np.float32)) for n in (3, 5))
    mask = np.ones((2, 1, 3, 5), bool)
    mask[..., 4] = False

    y = layer(x, context, ag.Tensor(mask))

    expected = layer(x, context[:, :4])
    np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-5)


def test_heads_divide_the_features() -> None:
    with pytest.raises(SettingsError, match="the features are not divided by the heads"):
        MultiheadAttention.builder(inputs=7, heads=2).build()


# -- recurrence --------------------------------------------------------------------------

TORCH_NAMES = {"weight_x": "weight_ih", "weight_h": "weight_hh", "bias_x": "bias_ih",
               "bias_h": "bias_hh", "bias": "bias_ih"}  # fmt: skip


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, True), (3, False)])
@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_recurrent_layers_are_torchs(
    kind: Any, layers: int, bidirectional: bool, bias: bool
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    settings = {"bidirectional": bidirectional, "bias": bias}
    layer = kind.builder(inputs=3, outputs=4, layers=layers, **settings).build(scalar_type="f64")
    module = getattr(torch.nn, kind.__name__)(
        3, 4, layers, batch_first=True, dtype=torch.float64, **settings
    )
    pairs = []
    for path, w in layer.named_parameters().items():
        name, i = path.split(".")
        depth, back = divmod(int(i), 2 if bidirectional else 1)
        end = f"_l{depth}" + ("_reverse" if back else "")
        pairs.append((w, getattr(module, TORCH_NAMES[name] + end)))
        if name == "bias":  # the second of theirs adds nothing to it
            torch.nn.init.zeros_(getattr(module, "bias_hh" + end))
    with torch.no_grad():
        for w, other in pairs:
            other.copy_(torch.tensor(w.numpy().T))
    array, count = normal(2, 5, 3), layers * (2 if bidirectional else 1)
    states = [normal(2, 4) for _ in range(count * layer.states)]
    x, z = ag.Tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
    stacked = [torch.tensor(np.stack(states[i : i + count])) for i in range(0, len(states), count)]
    y, last = layer.run(x, [ag.Tensor(each) for each in states])
    expected, ends = module(z, tuple(stacked) if kind is LSTM else stacked[0])
    assert_close(y, expected)
    found = np.stack([each.numpy() for each in last])
    assert_close(found, torch.cat(ends) if kind is LSTM else ends)
    dy = normal(*y.shape)
    loss = (y * ag.Tensor(dy)).sum() + last[-1].sum()
    loss.backward()
    tail = ends[1][-1] if kind is LSTM else ends[-1]
    ((expected * torch.tensor(dy)).sum() + tail.sum()).backward()

    assert_close(x.grad, z.grad)
    for w, other in pairs:
        assert_close(w.grad.numpy().T, other.grad)


def test_a_sequence_read_in_two_parts_is_the_sequence() -> None:
    layer = LSTM.builder(inputs=3, outputs=4, layers=2).build(scalar_type="f64")
    x = ag.Tensor(normal(2, 6, 3))

    first, state = layer.run(x[:, :2])
    second, _ = layer.run(x[:, 2:], state)

    expected = layer(x).numpy()
    np.testing.assert_allclose(np.concatenate([first.numpy(), second.numpy()], axis=1), expected)


def test_features_are_inferred_in_a_chain() -> None:
    @sequential(input=(7, 5))
    class Net(Layer):
        lstm: LSTM = LSTM.builder(outputs=4, bidirectional=True)
        gru: GRU = GRU.builder(outputs=3)
        attention: MultiheadAttention = MultiheadAttention.builder(heads=3)
        dense: Dense = Dense.builder(outputs=2)

    shapes = {path: each.shape for path, each in Net.build().named_parameters().items()}

    assert shapes["gru.weight_x.0"] == (8, 9)
    assert shapes["attention.query"] == (3, 3)


def test_states_that_do_not_fit_are_refused() -> None:
    layer = LSTM.builder(inputs=3, outputs=4).build()
    x = ag.Tensor(normal(2, 6, 3).astype(np.float32))

    with pytest.raises(ShapeError, match="2 states are wanted"):
        layer.run(x, [])
    for misfit in (x[0], x[:, :0]):
        with pytest.raises(ShapeError, match="LSTM: x has 3 axes, and at least one step"):
            layer(misfit)
    with pytest.raises(ShapeError, match="the mask does not broadcast"):
        ops.scaled_dot_product_attention(x, x, x, ag.ones((4, 4)))


# -- dropout of attention weights --------------------------------------------------------


def test_weights_are_dropped_by_the_share_and_the_rest_made_larger() -> None:
    """A value of ones answers the sum of the weights that are kept."""
    key, counter = (1, 2), np.array([0, 0], np.uint64)
    q, k = np.zeros((4, 2, 64, 8)), np.zeros((4, 2, 600, 8))
    values = np.broadcast_to(np.eye(600), (4, 2, 600, 600))

    weights = ops.scaled_dot_product_attention(q, k, values, None, counter, key=key, rate=0.25)

    kept = weights != 0
    assert abs(kept.mean() - 0.75) < 2e-3
    np.testing.assert_allclose(weights[kept], 1 / 600 / 0.75, rtol=1e-12)


def test_throws_do_not_depend_on_the_blocks() -> None:
    """Of a long sequence and of its parts: the same key, counter and place throw the same."""
    rng, settings = np.random.default_rng(0), {"key": (1, 2), "rate": 0.5, "causal": True}
    counter = np.array([0, 5], np.uint64)
    q, k, v = (ag.Tensor(rng.normal(size=(2, 300, 4))) for _ in range(3))

    whole = ops.scaled_dot_product_attention(q, k, v, None, counter, **settings)
    with ag.higher_order():  # there it runs as its parts, all throws at once
        parts = ops.scaled_dot_product_attention(q, k, v, None, counter, **settings)

    np.testing.assert_allclose(whole.numpy(), parts.numpy(), rtol=1e-9, atol=1e-12)


def test_attention_drops_weights_in_training_alone_and_anew_each_time() -> None:
    x = ag.Tensor(np.random.default_rng(0).normal(size=(2, 6, 8)), requires_grad=True)
    settings = {"inputs": 8, "heads": 2}
    layer = MultiheadAttention.builder(**settings, dropout=0.5).build(scalar_type="f64")
    plain = MultiheadAttention.builder(**settings).build(scalar_type="f64")

    with ag.no_grad():
        np.testing.assert_array_equal(layer(x).numpy(), plain(x).numpy())
    assert layer.counter.tolist() == [0, 0]
    first, second = layer(x), layer(x)
    assert (first.numpy() != second.numpy()).any()
    assert layer.counter.tolist() == [0, 2]

    layer.counter[...] = ag.Tensor(np.array([0, 0], np.uint64))
    dy = np.random.default_rng(1).normal(size=first.shape)
    (before,) = ag.grad(first, [x], dy)  # throws as the first forward did, not as the next would
    (after,) = ag.grad(layer(x), [x], dy)
    np.testing.assert_array_equal(before.numpy(), after.numpy())
