"""Watch a run while it trains in another process, or look at one that has ended.

RUN is the folder that `train --run FOLDER` was given. Keys: space pauses the run, s saves now,
+ and - change its learning rate, x ends it, the arrows turn the tabs, q leaves. --once prints all
of it as text and ends; --web serves the view to a browser on this machine.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from ..errors import SettingsError
from ..locate import class_of


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="the folder of a run")
    add("--layer", action="append", default=[], metavar="MODULE:CLASS", help="own layers of it")
    add("--once", action="store_true", help="print it as text and end")
    add("--web", action="store_true", help="serve it to a browser (pip install textual-serve)")
    add("--host", default="127.0.0.1", help="where --web listens; this machine alone unless said")
    add("--port", type=int, default=8000, help="of --web; 8000 unless said")


def run(options: argparse.Namespace) -> int:
    """View."""
    from ..view import print_scene, view_run
    from ..view.follow import Follower

    layers = [class_of(each) for each in options.layer]
    if options.once:
        print_scene(Follower(options.run, layers).update())
        return 0
    if not options.web:
        view_run(options.run, layers)
        return 0
    Follower(options.run, layers)  # refuses what is no run before anything is served
    try:
        from textual_serve.server import Server
    except ImportError:
        raise SettingsError(
            "view: --web needs textual-serve\n  pip install textual-serve"
        ) from None
    words = [sys.executable, "-m", "autograph", "view", str(options.run)]
    for each in options.layer:
        words += ["--layer", each]
    Server(shlex.join(words), host=options.host, port=options.port, title="autograph").serve()
    return 0
