"""Promises: each is held by tests, and every test that is named is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = {"promises": ROOT / "docs" / "promises.md", "security": ROOT / "SECURITY.md"}


def rows(page: str) -> list[list[str]]:
    """The cells of the rows of all tables."""
    lines = PAGES[page].read_text(encoding="utf-8").splitlines()
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")]
    return [
        row for row in cells if "---" not in row[0] and "promise" not in "".join(row[:2]).split()
    ]


@pytest.mark.parametrize("page", PAGES)
def test_every_promise_names_tests_that_are_there(page: str) -> None:
    found = rows(page)
    missing = []
    for row in found:
        file, named = None, 0
        for name in re.findall(r"`([\w/]+\.py|test_\w+)`", row[-1]):
            if name.endswith(".py"):
                file, text = name, ""
                if (ROOT / "tests" / name).exists():
                    text = (ROOT / "tests" / name).read_text(encoding="utf-8")
                named += bool(text)
            if not text or (
                name.startswith("test_") and name != file and f"def {name}(" not in text
            ):
                missing.append(f"{file}: {name}")
        assert named, row

    assert [] == missing
    assert len(found) > 10


def test_every_promise_has_a_row() -> None:
    numbers = [int(row[0]) for row in rows("promises") if row[0].strip()]

    assert list(range(1, 21)) == sorted(numbers)
