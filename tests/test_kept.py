"""What the backward graph keeps of the forward: writing it is found out, and no more is kept than
rules need."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import numpy as np
import pytest

from autograph import Tensor, no_grad, ops
from autograph.errors import GraphError
from autograph.tensor.state import long_way

from .test_graph import leaf

# -- versions ----------------------------------------------------------------------------


def test_writing_what_a_rule_kept_is_found_out() -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = (x * w).sum()
    with no_grad():
        w[...] = 0.0

    with pytest.raises(GraphError, match="b of multiply was written after the forward"):
        y.backward()
    assert x.grad is w.grad is None


def test_writing_what_no_rule_kept_is_free() -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = (x + w).sum()
    with no_grad():
        w[...] = 0.0
    y.backward()

    assert w.grad.tolist() == [1.0, 1.0]


def test_writing_an_output_that_its_rule_kept_is_found_out() -> None:
    x = leaf(1.0, 2.0)
    y = x.exp()
    z = y.sum()
    with no_grad():
        y[0] = 0.0

    with pytest.raises(GraphError, match="y of exp was written"):
        z.backward()


def test_writing_through_a_view_is_found_out() -> None:
    x = leaf(1.0, 2.0)
    view = x.detach()[1:]
    y = (x * x).sum()
    view[...] = 5.0

    with pytest.raises(GraphError, match="of multiply was written"):
        y.backward()


def test_writing_before_recording_is_free() -> None:
    x = leaf(1.0, 2.0)
    with no_grad():
        x[...] = 3.0
    (x * x).sum().backward()

    assert x.grad.tolist() == [6.0, 6.0]


def test_a_step_of_an_optimizer_is_a_write() -> None:
    w = leaf(1.0, 2.0)
    y = (w * w).sum()
    step, rate = Tensor(np.array(0)), Tensor(np.array(0.1))
    with no_grad():
        ops.sgd_update(w, Tensor(np.ones(2)), step, rate, None, None)

    with pytest.raises(GraphError, match="was written"):
        y.backward()


@pytest.mark.parametrize("scalar_type", ["f64", "f32", "bf16"])
def test_gradients_of_a_leaf_in_any_layout_add_up(scalar_type: str) -> None:
    """Three of them: the second sum is made in the memory of the first, which lies as x does."""
    values = np.arange(6.0).reshape(2, 3)
    x = Tensor.borrow(Tensor(values, scalar_type=scalar_type).numpy().T)
    x.requires_grad = True

    (x * x + x * 2).sum().backward()
    np.testing.assert_array_equal(x.grad.cast("f64").numpy(), 2 * values.T + 2)


# -- the short way -----------------------------------------------------------------------


@pytest.mark.parametrize("scalar_type", ["f64", "f32", "bf16"])
@pytest.mark.parametrize(
    "compute",
    [
        lambda x, w, row: x * w - x / w,
        lambda x, w, row: x * row + row - x,
        lambda x, w, row: row / (x * x + 1.0),
        lambda x, w, row: (2 * x).tanh() * w.relu(),
        lambda x, w, row: x @ w.T @ x,
        lambda x, w, row: -(x.exp() ** 2.0) * (row > 0.0).cast(x.scalar_type),
    ],
    ids=["whole", "broadcast", "numbers", "unary", "products", "constants"],
)
def test_the_short_way_gives_the_bits_of_the_long_one(
    compute: Callable[..., Tensor], scalar_type: str
) -> None:
    def gradients() -> list[bytes]:
        rng, found = np.random.default_rng(0), []
        shapes = (3, 4), (3, 4), (4,)
        leaves = [Tensor(rng.normal(size=shape), scalar_type=scalar_type) for shape in shapes]
        for each in leaves:
            each.requires_grad = True
        for _ in range(3):
            y = compute(*leaves)
            y.backward(Tensor(rng.normal(size=y.shape), scalar_type=scalar_type))
            arrays = [y.array, *[each.grad.array for each in leaves if each.grad is not None]]
            found += [each.tobytes() for each in arrays]
        return found

    with long_way():
        expected = gradients()

    assert gradients() == expected


def test_the_short_way_keeps_no_more_than_its_rules_need() -> None:
    x, w = leaf(1.0, 2.0), Tensor(np.array([3.0, 4.0]))
    for _ in range(3):
        a, b = x * w, x + w
        y = a + b
        sums, factors = weakref.ref(b.array), weakref.ref(w.array)
        del a, b
        w = w.copy()

        assert sums() is None
        assert factors() is not None
        del y
        assert factors() is None
