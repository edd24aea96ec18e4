"""The Python of README.md as one program: every line at the number it has there, the rest blank."""

from __future__ import annotations

from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def readme_code() -> str:
    """What a reader who copies every Python block would run."""
    lines, inside = [], False
    for line in README.read_text("utf-8").splitlines():
        fence = line.startswith("```")
        inside = line == "```python" if fence else inside
        lines.append(line if inside and not fence else "")
    return "\n".join(lines)


if __name__ == "__main__":
    print(readme_code())
