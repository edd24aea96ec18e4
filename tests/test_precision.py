"""The scope that says how float32 is multiplied on devices."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import autograph as ag
from autograph.backends.precision import current_precision
from autograph.errors import SettingsError


def test_precision_is_strict_but_in_its_scope():
    assert current_precision() == "strict"
    with ag.precision("tf32"):
        with ag.precision("high"):
            assert current_precision() == "high"
        assert current_precision() == "tf32"
    assert current_precision() == "strict"


def test_precision_is_left_on_an_error():
    with pytest.raises(ZeroDivisionError), ag.precision("high"):
        1 / 0  # noqa: B018
    assert current_precision() == "strict"


def test_precision_belongs_to_a_thread():
    with ag.precision("tf32"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(current_precision).result() == "strict"


def test_an_unknown_precision_is_refused():
    with pytest.raises(SettingsError, match="write one of  strict, high, tf32"), ag.precision("f8"):
        pass


def test_on_the_host_products_are_the_same_bits():
    x = ag.Tensor(np.random.default_rng(0).standard_normal((40, 50)).astype(np.float32))
    expected = (x @ x.permute_dims(1, 0)).numpy().tobytes()
    with ag.precision("high"):
        assert (x @ x.permute_dims(1, 0)).numpy().tobytes() == expected
