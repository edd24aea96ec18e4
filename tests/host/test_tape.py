"""Recordings of the host: every op replayed on other values gives what the op gives for them."""

from __future__ import annotations

import gc

import ml_dtypes
import numpy as np
import pytest

from autograph.errors import AutographError, CaptureError
from autograph.op import signature_of
from autograph.tape import HostTape
from autograph.testing import all_ops, samples_of

OPS = [op for op in all_ops() if op.samples is not None and not op.dynamic]
TYPES = {"f32": np.dtype(np.float32), "bf16": np.dtype(ml_dtypes.bfloat16)}


def cast(op, value, dtype):
    """A sample's array in a scalar type of the host engine, where the op promotes it."""
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or op.promotes == frozenset():
        return value
    return value.astype(dtype)


def answers(op, arrays, settings):
    """All that the kernel of an op returns."""
    found = op.run(op.plan([signature_of(each) for each in arrays], settings), arrays)[1]
    return found if isinstance(found, tuple) else (found,)


def copied(arrays):
    return [each.copy() if isinstance(each, np.ndarray) else each for each in arrays]


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("op", OPS, ids=[op.name for op in OPS])
def test_a_replay_on_other_values_gives_what_the_op_gives_for_them(op, name):
    dtype = TYPES[name]
    pairs = zip(samples_of(op, seed=0), samples_of(op, seed=1), strict=True)
    for (first, settings), (other, others_settings) in pairs:
        given = copied([cast(op, each, dtype) for each in first])
        new = [cast(op, each, dtype) for each in other]
        alike = all(
            np.shape(a) == np.shape(b) and (isinstance(a, np.ndarray) or a == b)
            for a, b in zip(given, new, strict=True)
        )
        if not alike or repr(settings) != repr(others_settings):
            continue  # the sample is of another kind
        try:
            expected_inputs = copied(new)
            expected = answers(op, expected_inputs, settings)
            tape = HostTape()
            with tape.memory(), tape.writing():
                found = answers(op, given, settings)
        except AutographError as error:
            if isinstance(error, CaptureError):
                raise
            continue  # the op does not take this scalar type
        for to, each in zip(given, new, strict=True):
            if isinstance(to, np.ndarray):
                np.copyto(to, each)
        gc.collect(1)
        tape.replay()

        for a, b in zip((*found, *given), (*expected, *expected_inputs), strict=True):
            if isinstance(a, np.ndarray):
                assert a.tobytes() == b.tobytes(), settings
