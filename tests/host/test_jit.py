"""Kernels as they are written, kept and found again."""

# ruff: noqa: F821 - kernels have names that `Kernel.of` binds, such as T

import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("llvmlite")

from autograph.backends.host import jit
from autograph.backends.host.intrinsics import array
from autograph.backends.host.jit import kernel
from autograph.backends.host.scalars import KernelError, f32, i64

from ..fresh import printed

PROGRAM = """
import sys
import numpy as np
from autograph.backends.host import jit
from tests.host.test_pool import count_up, double
x, counts = np.ones((2, 3), np.float32), np.zeros(4, np.int64)
double(3, x[0], x[1]), count_up(4, counts)
assert (x[1].tolist(), counts.tolist()) == ([2.0] * 3, [1] * 4)
print(jit._notice.count, jit.folder(), "numba" in sys.modules)
"""


def compiled(**environment):
    """How many objects a fresh process compiled, and where it keeps them."""
    count, folder, numba = printed(PROGRAM, **environment).split()
    assert numba == "False"
    return int(count), folder


def test_objects_are_compiled_once_and_a_damaged_one_again(tmp_path):
    folder = tmp_path / "cache"
    first, where = compiled(AUTOGRAPH_CACHE=str(folder))
    assert first > 0
    assert where == str(folder)
    assert compiled(AUTOGRAPH_CACHE=str(folder))[0] == 0

    objects = sorted(folder.iterdir())
    whole = objects[0].read_bytes()
    objects[0].write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    objects[1].write_bytes(b"")
    assert compiled(AUTOGRAPH_CACHE=str(folder))[0] == 2
    assert compiled(AUTOGRAPH_CACHE=str(folder))[0] == 0


def test_without_a_home_folder_objects_are_kept_in_a_temporary_one(tmp_path):
    file = tmp_path / "file"
    file.write_text("no folder can be made in here")
    count, where = compiled(AUTOGRAPH_CACHE=str(file / "a"), HOME=str(file), TMPDIR=str(tmp_path))

    assert count > 0
    assert Path(where).parent == tmp_path


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners here")
def test_a_folder_that_others_may_write_to_is_not_used(tmp_path):
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    _, where = compiled(AUTOGRAPH_CACHE=str(open_to_all), HOME=str(tmp_path))

    assert where == str(tmp_path / ".cache" / "autograph")


@kernel
def words(task, number: int, real: float, absent: int, x: "T", y: "T"):
    room = array(f32, 4)
    for i in range(4):
        room[i] = x[i] * real + number if absent == 0 else -1.0
    i = 3
    while i >= 0:
        y[i] = room[i]
        i -= 1


@pytest.mark.parametrize("scalar", ["f32", "bf16"])
def test_words_of_every_kind_arrive(scalar):
    dtype = np.float32 if scalar == "f32" else ml_dtypes.bfloat16
    x, y = np.arange(4).astype(dtype), np.empty(4, dtype)
    from autograph.backends.host.scalars import SCALARS

    words.of(T=SCALARS[scalar])(1, 3, 0.5, None, x, y)

    assert y.astype(np.float32).tolist() == [3.0, 3.5, 4.0, 4.5]


@kernel
def copy(task, count: int, x: "T", y: "U"):
    for i in range(count):
        y[i] = x[i]


def test_bfloat16_is_rounded_to_nearest_even_and_keeps_nan_and_infinity():
    from autograph.backends.host.scalars import bf16

    values = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    x = np.concatenate([values, np.array([np.inf, -np.inf, np.nan, 0.0, -0.0], np.float32)])
    y = np.empty(x.size, ml_dtypes.bfloat16)
    copy.of(T=f32, U=bf16)(1, x.size, x, y)
    with np.errstate(invalid="ignore"):
        right = x.astype(ml_dtypes.bfloat16)

    np.testing.assert_array_equal(y.astype(np.float32), right.astype(np.float32))


@kernel
def bounds(task, out: i64):
    total = 0
    for i in range(2, 20, 3):
        if i == 8:
            continue
        if i > 14:
            break
        total += i
    out[0] = total
    out[1] = 7 // 2 + 7 % 2 + (1 << 4) + (5 & 6) + min(3, 2) + max(3, 2)
    out[2] = 1 if (total > 3) & (total < 100) and not total < 0 else 0


def test_control_flow_is_pythons():
    out = np.zeros(3, np.int64)
    bounds(1, out)

    assert out.tolist() == [sum(i for i in range(2, 20, 3) if i != 8 and i <= 14), 29, 1]


@kernel
def unsayable(task, x: f32):
    with x:
        pass


def test_what_the_language_lacks_is_named_with_its_line():
    with pytest.raises(KernelError, match=r"test_jit.py:\d+: kernels have no With"):
        unsayable(1, np.zeros(1, np.float32))


def test_a_kernel_is_one_object_for_the_same_names():
    assert copy.of(T=f32, U=f32) is copy.of(T=f32, U=f32)
    assert jit.processor()[0]
