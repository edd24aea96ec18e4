"""Keys of tensors: they are read and written as NumPy's arrays are, and views are views."""

from __future__ import annotations

import numpy as np
import pytest

from autograph import Tensor, ones, zeros
from autograph.errors import GraphError, IndexRangeError, ShapeError
from autograph.testing import check_gradient

# -- indexing, as NumPy does -----------------------------------------------------------------

ARRAY = np.arange(60.0).reshape(3, 4, 5)
KEYS = [
    0, -1, (0, 1), (0, 1, 2), slice(None), slice(1, None), slice(None, None, -1), slice(5, 9),
    (slice(None), 1), (..., 0), (0, ...), (None, 0), (..., None),
    (slice(0, 2), None, 1, slice(4, 0, -2)),
    np.int64(1), (np.int32(2), slice(None)), (),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_basic_key_is_a_view(key: object) -> None:
    x = Tensor(ARRAY)
    y = x[key]

    np.testing.assert_array_equal(y.numpy(), ARRAY[key])
    assert np.shares_memory(y.numpy(), x.numpy()) or y.size == 0


INDICES = [
    [0, 2], np.array([2, 0, -1]), (slice(None), np.array([1, 1])), (0, np.array([[0, 1], [2, 3]])),
    (..., [4, 0]), (slice(0, 2), [1]), (None, [1]),
]  # fmt: skip


@pytest.mark.parametrize("key", INDICES, ids=str)
def test_an_index_array_gathers(key: object) -> None:
    np.testing.assert_array_equal(Tensor(ARRAY)[key].numpy(), ARRAY[key])


def test_an_index_array_stays_on_its_axis_as_in_torch() -> None:
    """NumPy moves the new axis to the front where an int stands apart from the array."""
    found = Tensor(ARRAY)[1, :, [0, 3]]

    np.testing.assert_array_equal(found.numpy(), ARRAY[1][:, [0, 3]])


@pytest.mark.parametrize("key", [*KEYS, *INDICES], ids=str)
def test_indexing_has_gradients(key: object) -> None:
    check_gradient(lambda x: x[key] * 2.0, [ARRAY])


@pytest.mark.parametrize("key", [3, (0, 4), (0, 0, 0, 0), [3], (0, [-5])], ids=str)
def test_an_index_out_of_range_is_refused(key: object) -> None:
    with pytest.raises(IndexRangeError):
        Tensor(ARRAY)[key]


# -- writing -----------------------------------------------------------------------------


def test_augmented_assignment_rebinds() -> None:
    x = y = Tensor([1.0])
    y += 1.0

    assert (x.tolist(), y.tolist()) == ([1.0], [2.0])


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_assignment_by_a_basic_key(key: object) -> None:
    x, array = Tensor(ARRAY), ARRAY.copy()
    x[key] = -1.0
    array[key] = -1.0

    np.testing.assert_array_equal(x.numpy(), array)


def test_assignment_broadcasts_and_casts() -> None:
    x = zeros((2, 3))
    x[...] = Tensor(np.array([1.0, 2.0, 3.0]))
    x[1] = [4, 5, 6]

    assert x.scalar_type.value == "f32"
    assert x.tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    with pytest.raises(ShapeError):
        x[0] = [1.0, 2.0]
    assert x.tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


def test_a_negative_zero_is_not_taken_for_zero() -> None:
    x = ones(2)
    x[...] = 0.0
    x[...] = -0.0

    assert np.signbit(x.numpy()).all()


def test_writing_in_a_graph_is_refused_while_recording() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x * 2.0

    for target, value in ((y, 0.0), (zeros(2), y)):
        with pytest.raises(GraphError, match="writing into a tensor is not recorded"):
            target[...] = value
    x[0] = 5.0  # a leaf holds no history
    assert x.tolist() == [5.0, 2.0]
