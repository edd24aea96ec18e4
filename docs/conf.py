"""Settings of Sphinx: python -m sphinx -W -b html docs build/docs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

project = "autograph"
author = "The autograph authors"
extensions = ["myst_parser", "listed_names"]
html_theme = "furo"
html_title = "autograph"
html_static_path: list[str] = []
myst_heading_anchors = 3
exclude_patterns = ["build"]
