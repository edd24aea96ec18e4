"""Plots, drawings and HTML: what is in them, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import autograph as ag
from autograph.drawing import drawing
from autograph.errors import SettingsError
from autograph.html import layer_html, load_ipython_extension, summary_html, tensor_html
from autograph.layers import Dense, Layer, summary
from autograph.logs import JsonLines
from examples.mnist.lenet5 import LeNet5


def xml(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def test_a_drawing_has_a_box_for_every_layer() -> None:
    found = xml(drawing(LeNet5))

    words = [each.text for each in found.iter() if each.tag.endswith("text")]
    boxes = [each for each in found.iter() if each.tag.endswith("rect")]

    assert 1 + 13 == len(boxes)  # the background, the input and 12 layers
    assert {"LeNet5: 46,920 parameters", "conv1", "Conv2", "6 x 24 x 24"} <= set(words)


def test_a_drawing_of_a_layer_without_input_asks_for_it() -> None:
    with pytest.raises(ag.errors.DeclarationError, match="not known"):
        drawing(Dense.builder(inputs=3, outputs=2).build())

    assert "3" in drawing(Dense.builder(inputs=3, outputs=2).build(), (3,))


def test_a_tensor_is_a_table_or_a_picture() -> None:
    table = tensor_html(ag.Tensor(np.arange(40.0).reshape(2, 20)))
    picture = tensor_html(ag.Tensor(np.zeros((1, 28, 28), np.float32)))

    assert 2 * 9 == table.count("<td>")
    assert "mean 19.5, from 0 to 39" in table
    assert 28 * 28 == picture.count("<rect")
    assert "0.5" in tensor_html(ag.Tensor(0.5))
    assert "(0, 3)" in tensor_html(ag.zeros((0, 3)))


def test_layers_and_summaries_are_tables() -> None:
    model = LeNet5.build()

    assert "<td>conv1</td><td>Conv2</td>" in layer_html(model)
    assert "46,920" in layer_html(model)
    assert "<td>284,360</td>" in summary_html(summary(LeNet5))


def test_a_notebook_is_told_of_all_three() -> None:
    class Shell:
        def __init__(self) -> None:
            self.display_formatter = self
            self.formatters = {"text/html": self}
            self.kinds: list[Any] = []

        def for_type(self, kind: Any, show: Any) -> None:
            self.kinds.append(kind)

    shell = Shell()
    load_ipython_extension(shell)

    assert [ag.Tensor, Layer, ag.layers.Summary] == shell.kinds


@pytest.fixture
def plots() -> Any:
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    from autograph import plots

    return plots


def test_the_curves_of_a_run(plots: Any, tmp_path: Path) -> None:
    for epoch in range(3):
        record = {"epoch": epoch, "train_loss": 1 / (epoch + 1), "test_accuracy": 0.5}
        JsonLines(tmp_path / "log.jsonl").write(record)

    figure = plots.curves(tmp_path)

    assert ["loss", "accuracy"] == [ax.get_title() for ax in figure.axes]
    assert [1, 0.5, 1 / 3] == list(figure.axes[0].lines[0].get_ydata())
    figure.savefig(tmp_path / "curves.png")
    with pytest.raises(SettingsError, match="there is no epoch in this log"):
        plots.curves([])


def test_a_confusion_table_and_filters_are_drawn(plots: Any) -> None:
    figure = plots.confusion_table([[5, 1], [0, 4]], ["cat", "dog"])

    assert {"5", "1", "4"} == {each.get_text() for each in figure.axes[0].texts}
    assert 1 == len(plots.filters(LeNet5.build()).axes[0].images)
    assert 1 == len(plots.filters(np.zeros((9, 3, 3, 3))).axes[0].images)
    with pytest.raises(SettingsError, match="counts are square"):
        plots.confusion_table([[1, 2]])
    with pytest.raises(SettingsError, match="no 2-d convolution"):
        plots.filters(Dense.builder(inputs=2, outputs=2).build())
