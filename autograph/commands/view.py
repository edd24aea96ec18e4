"""Watch a run while it trains in another process, or look at one that has ended.

RUN is the folder that `train --run FOLDER` was given, or a folder with several of them. Keys: space
pauses the run, s saves now, + and - change its learning rate, x ends it, left and right turn the
tabs, up and down choose another run, q leaves. --once prints all of it as text and ends; --web
serves the view to a browser on this machine.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from ..errors import SettingsError
from ..locate import class_of


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="the folder of a run, or of several")
    add("--layer", action="append", default=[], metavar="MODULE:CLASS", help="own layers of it")
    add("--once", action="store_true", help="print it as text and end")
    add("--web", action="store_true", help="serve it to a browser (extra view)")
    add("--host", default="127.0.0.1", help="where --web listens; this machine alone unless said")
    add("--port", type=int, default=8000, help="of --web; 8000 unless said")


def run(options: argparse.Namespace) -> int:
    from ..view import print_scene, source_of, view_run

    layers = [class_of(each) for each in options.layer]
    if options.once:
        print_scene(source_of(options.run, layers).update())
        return 0
    if not options.web:
        view_run(options.run, layers)
        return 0
    source_of(options.run, layers)  # refuses what is no run before anything is served
    try:
        from ..view.web import ViewServer
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("aiohttp", "textual_serve"):
            raise
        raise SettingsError(
            "view: --web needs textual-serve\n  pip install 'autograph-nn[view]'"
        ) from None
    words = [sys.executable, "-m", "autograph", "view", str(options.run)]
    for each in options.layer:
        words += ["--layer", each]
    server = ViewServer(shlex.join(words), options.host, options.port)
    try:
        server.serve()
    except OSError as error:
        raise SettingsError(
            f"view: {options.host}:{options.port} cannot be listened at ({error.strerror})\n"
            f"  write another  --port"
        ) from None
    return 0
