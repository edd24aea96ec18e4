"""The documentation: Python blocks run, links lead somewhere, Sphinx has nothing to say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
NAMES = [str(page.relative_to(DOCS)) for page in PAGES]


def program(page: Path) -> str:
    """The Python blocks of a page as one program, every line at the number it has there."""
    return "\n".join(blocks(page, "```python")).rstrip("\n")


def blocks(page: Path, begin: str) -> list[str]:
    """The blocks of a kind, each under as many empty lines as stand above it."""
    found: list[str] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    start = None
    for number, line in enumerate(lines):
        if line == begin:
            start = number + 1
        elif line == "```" and start is not None:
            above = sum(each.count("\n") + 1 for each in found)
            found.append("\n" * (start - above) + "\n".join(lines[start:number]))
            start = None
    return found


def packages(code: str) -> set[str]:
    """The packages that a program imports."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = program(page)
    if not code.strip():
        pytest.skip("no Python on this page")
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    exec(compile(code, str(page), "exec", dont_inherit=True), module.__dict__)
    for block in blocks(page, "```py"):  # of packages that may not be here
        if all(find_spec(name) for name in packages(block)):
            names = dict(module.__dict__)
            exec(compile(block, str(page), "exec", dont_inherit=True), names)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=[*NAMES, "CONTRIBUTING"])
def test_links_and_pictures_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"```\w.*?```", "", text, flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose) + re.findall(r"{image} (\S+)", text)
    trees = re.findall(r"```{toctree}.*?```", text, re.DOTALL)
    entries = [
        f"{line}.md"
        for tree in trees
        for line in tree.splitlines()[1:-1]
        if line and not line.startswith(":")
    ]

    missing = [each for each in [*links, *entries] if not (page.parent / each).exists()]

    assert [] == missing


def test_sphinx_builds_the_pages_without_a_warning(tmp_path: Path) -> None:
    if not all(find_spec(name) for name in ("sphinx", "furo", "myst_parser")):
        pytest.skip("the extra docs is not installed")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", "-d", str(tmp_path / "t")]

    found = subprocess.run([*command, DOCS, tmp_path / "html"], capture_output=True, text=True)

    assert 0 == found.returncode, found.stderr
    assert "LeNet5" in (tmp_path / "html" / "tutorial.html").read_text("utf-8")
