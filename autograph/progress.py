"""A progress bar with rate and time left on a terminal; plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Plain:
    """Prints lines and shows nothing between them."""

    watch = None

    def print(self, line: str) -> None:
        """Print a line."""
        print(line, flush=True)


class Bar:
    """A bar that follows `fit(..., watch=bar.watch)`."""

    def __init__(self, display: Any) -> None:
        self._display = display
        self._task = display.add_task("", total=None)
        self._name = ""

    def watch(self, name: str, done: int, count: int) -> None:
        """Show that `done` of `count` batches are done."""
        if done == 1 or name != self._name:
            self._name = name
            self._display.reset(self._task, total=count, description=name)
        self._display.update(self._task, completed=done)

    def print(self, line: str) -> None:
        """Print a line above the bar."""
        self._display.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar() -> Iterator[Bar | Plain]:
    """Within the block, what to give `fit` to watch: a bar on a terminal, else plain lines."""
    if not sys.stdout.isatty():
        yield Plain()
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Speed(ProgressColumn):
        """Batches a second."""

        def render(self, task: Any) -> Text:
            return Text("" if task.speed is None else f"{task.speed:,.0f} batches/s")

    columns = (
        TextColumn("{task.description:>5}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        Speed(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as display:
        yield Bar(display)
