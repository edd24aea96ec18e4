"""The networks of the examples learn in a few steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from examples import char_transformer, lstm, resnet_small

Main = Callable[[Sequence[str]], list[float]]


@pytest.mark.parametrize(("main", "steps", "batch", "share"), [
    pytest.param(resnet_small.main, 24, 16, 0.9, id="resnet_small"),
    pytest.param(char_transformer.main, 12, 4, 0.9, id="char_transformer"),
    pytest.param(lstm.main, 40, 16, 0.95, id="lstm"),
])  # fmt: skip
def test_the_loss_falls(
    main: Main, steps: int, batch: int, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = main(["--steps", str(steps), "--batch-size", str(batch)])

    assert steps == len(losses)
    assert np.mean(losses[-5:]) < share * np.mean(losses[:3])
    assert "parameters on host" in capsys.readouterr().out


def test_the_text_is_ascii() -> None:
    letters = char_transformer.text()

    assert letters.max() < 128
    assert len(letters) > 10_000
