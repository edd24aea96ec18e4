"""What mypy, pyright and ty say of the files in tests/typing, line by line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
FOLDER = Path("tests") / "typing"

Place = tuple[str, int]  # a file's name and a line

PATTERN = re.compile(
    r"\s*# error: mypy (?P<mypy>[\w-]+), pyright (?P<pyright>\w+), ty (?P<ty>[\w-]+)"
)


def expected(checker: str) -> dict[Place, str]:
    """The error that a comment foretells of the line below it."""
    return {
        (path.name, number + 1): match[checker]
        for path in sorted((REPOSITORY / FOLDER).glob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if (match := PATTERN.fullmatch(line))
    }


def run(*arguments: str) -> str:
    """The output of a checker that runs over the whole folder."""
    command = [sys.executable, "-m", *arguments, str(FOLDER)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, encoding="utf-8")
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 1: errors found
    return done.stdout


def mypy() -> Iterator[tuple[Place, str]]:
    for line in run("mypy", "--strict", "--output=json").splitlines():
        found = json.loads(line)
        if found["severity"] == "error" and Path(found["file"]).parent == FOLDER:
            yield (Path(found["file"]).name, found["line"]), found["code"]


def pyright() -> Iterator[tuple[Place, str]]:
    report = json.loads(run("pyright", "--outputjson", "--pythonpath", sys.executable))
    for found in report["generalDiagnostics"]:
        place = Path(found["file"]).name, found["range"]["start"]["line"] + 1
        yield place, found.get("rule", found["message"])


def ty() -> Iterator[tuple[Place, str]]:
    output = run("ty", "check", "--output-format=concise", "--python", sys.executable)
    for line in output.splitlines():
        if match := re.match(r"(.+?):(\d+):\d+: error\[([\w-]+)\]", line):
            yield (Path(match[1]).name, int(match[2])), match[3]


@pytest.mark.parametrize("checker", [mypy, pyright, ty], ids=["mypy", "pyright", "ty"])
def test_each_checker_reports_the_marked_lines_and_no_others(
    checker: Callable[[], Iterator[tuple[Place, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = checker.__name__
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed; the extra test has it")
    monkeypatch.setenv("PYRIGHT_PYTHON_IGNORE_WARNINGS", "1")  # it asks for news otherwise
    wanted = expected(name)

    found: dict[Place, set[str]] = {}
    for place, rule in checker():
        found.setdefault(place, set()).add(rule)

    assert len(wanted) > 20
    assert wanted == {
        place: wanted[place] if wanted.get(place) in rules else sorted(rules)
        for place, rules in found.items()
    }
