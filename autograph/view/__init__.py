"""The live view of a run: in the terminal with Textual (extra `view`), or once as text."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from ..layers import Layer
from .scene import Scene


def app_of(source: Any, *, ends_run: bool = False, tab: str = "curves") -> Any:
    """The app over a source of scenes; refused with the remedy where Textual is missing."""
    try:
        from .app import ViewApp
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("textual"):
            raise
        raise SettingsError(
            "view: Textual is not installed\n  pip install 'autograph-nn[view]'"
            "\n  or  view RUN --once  for a picture in text"
        ) from None
    return ViewApp(source, ends_run=ends_run, tab=tab)


def source_of(
    folder: str | Path, layers: Iterable[type[Layer]] = (), *, background: bool = False
) -> Any:
    """The scenes of a run's folder, or of a folder with runs."""
    from .follow import Follower, Runs, is_run

    place = Path(folder)
    if is_run(place) or not place.is_dir():
        return Follower(place, layers, background=background)
    return Runs(place, layers, background=background)


def view_run(folder: str | Path, layers: Iterable[type[Layer]] = ()) -> None:
    """View the run of a folder, or all those in it, until the user leaves."""
    source = source_of(folder, layers, background=True)
    app_of(source, tab="runs" if hasattr(source, "choose") else "curves").run()


def watch_live(live: Any, tab: str = "curves") -> None:
    """Start a training and view it; leaving ends it."""
    app = app_of(live, ends_run=True, tab=tab)
    live.start()
    app.run()
    live.control.ask(stopped=True, paused=False)
    live.join()
    if live.error is not None:
        raise live.error
    if live.reports:
        print(live.reports[-1])


def watch_training(training: Any) -> int:
    """View a training of the command line while it runs."""
    from .live import LiveTraining

    watch_live(LiveTraining(training))
    return 0


def as_text(scene: Scene, width: int = 100, *, colours: bool = True) -> Any:
    """The whole scene, one part below the other, as rich draws it; without colours no pictures."""
    from rich.console import Group
    from rich.text import Text

    from . import parts

    shown: list[Any] = []
    if scene.runs:
        shown += [parts.runs(scene, width, 20), Text()]
    shown += [Text(scene.name, "bold"), parts.gauge(scene, width)]
    shown.append(parts.curves(scene, width, 24))
    if scene.confusion is not None:
        shown += [Text(), parts.confusion(scene)]
    if scene.pictures and colours:
        shown += [Text(), parts.pictures(scene, width, 18)]
    if scene.regions is not None:
        draw = parts.regions if colours else parts.regions_in_letters
        shown += [Text(), draw(scene, width)]
    if scene.weight_norms:
        shown += [Text(), parts.layers(scene)]
    return Group(*shown)


def print_scene(scene: Scene) -> None:
    """Print the whole scene."""
    from rich.console import Console

    console = Console(file=sys.stdout)
    colours = console.color_system is not None
    console.print(as_text(scene, min(console.width, 120), colours=colours))
