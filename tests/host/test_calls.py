"""What Python calls of the engine: launches that make what they fill, and choices of kernels."""

import sys
from functools import partial

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import autograph as ag
from autograph.backends import NUMPY
from autograph.backends.choice import chosen, settle
from autograph.backends.host import pool
from autograph.backends.host.jit import kernel
from autograph.backends.host.scalars import f32
from autograph.errors import ShapeError
from autograph.op import signature_of


@kernel
def sum_of(task, size: int, x: f32, y: f32, out: f32):
    for i in range(size):
        out[i] = x[i] + y[i]


def filling(shape, make=None):
    """A fill of arrays of a shape with the sum of two."""
    like = np.broadcast_to(np.empty((), np.float32), shape)
    words = sum_of.compile(), 1, like.size
    return partial(pool.start().fill, make or (lambda: np.zeros(shape, np.float32)), like, *words)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3, 4), (0, 2)])
def test_a_fill_answers_a_new_array_like_another(shape):
    x = np.full(shape, 2.0, np.float32)
    first, second = filling(shape)(x, x), filling(shape)(x, np.asarray(-x))

    assert (first.shape, first.dtype, first.base) == (shape, np.float32, None)
    assert first.flags.c_contiguous
    assert first.flags.owndata
    assert (first == 4).all()
    assert (second == 0).all()
    assert sys.getrefcount(first) == 2


def test_a_fill_that_is_listened_to_takes_the_array_that_is_made_for_it():
    x, made, heard = np.ones(3, np.float32), np.zeros(3, np.float32), []
    pool.listen(lambda address, tasks, *words: heard.append(words))
    try:
        y = filling((3,), lambda: made)(x, x)
    finally:
        pool.listen(None)

    assert y is made
    assert (made == 2).all()
    assert [words[-1] is made for words in heard] == [True]


def test_a_fill_refuses_what_no_kernel_takes_and_says_what_failed():
    x = np.ones(3, np.float32)
    with pytest.raises(TypeError, match="words are integers, floats, NumPy arrays and None"):
        filling((3,))("x", x)
    with pytest.raises(TypeError, match="words are integers, floats, NumPy arrays and None"):
        pool.start().fill(None, x)
    with pytest.raises(OverflowError):
        filling((3,))(2**70, x)
    with pytest.raises(MemoryError):
        filling((2**45,))(x, x)


@pytest.fixture(params=["native", "python"])
def choices(request):
    """What was asked for, and a choice that is settled for an array and says who answered."""

    def made(like, kernel):
        def other(choice, *arrays):
            return "other", choice[5] is kernel, len(arrays)

        def first(choice, *arrays):
            settle(choice, arrays[1], kernel)
            choice[6] = other
            return "first"

        if request.param == "native":
            choose = chosen(first, 1, True, signature_of)
        else:
            with ag.using(NUMPY):
                choose = chosen(first, 1, True, signature_of)
            choose.args[0][2] = None  # the key of a thread that limits nothing
        assert choose(1, like) == "first"
        return choose

    return made


def test_a_choice_is_the_kernel_for_arrays_that_lie_as_its_own(choices):
    like = np.ones((4, 6), np.float32)
    choose = choices(like, lambda *arrays: ("kernel", *map(np.ndim, arrays)))

    assert choose(1, like + 1) == ("kernel", 0, 2)
    for array in (like.T, like[:, ::2], like[0], like.reshape(6, 4), like.astype("f8")):
        assert choose(1, array) == ("other", True, 2)
    with ag.using(NUMPY):
        assert choose(1, like) == ("other", True, 2)


def test_a_choice_of_strided_arrays(choices):
    like = np.ones((4, 6), np.float32)[:, ::2]
    choose = choices(like, lambda *arrays: "kernel")

    assert choose(1, like) == "kernel"
    assert choose(1, like.copy()) == ("other", True, 2)


def test_where_the_kernel_finds_no_memory_the_other_one_says_so(choices):
    def no_memory(*arrays):
        raise MemoryError

    choose = choices(np.ones(3), no_memory)

    assert choose(1, np.ones(3)) == ("other", True, 2)


def test_what_a_kernel_refuses_is_raised(choices):
    def refuse(*arrays):
        raise ShapeError("no")

    choose = choices(np.ones(3), refuse)
    with pytest.raises(ShapeError, match="no"):
        choose(1, np.ones(3))
