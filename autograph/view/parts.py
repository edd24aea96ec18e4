"""The parts of a view as rich text, each from the scene and a size in characters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from .canvas import brief, chart
from .scene import Array, Picture, Points, RunLine, Scene

TRAIN, TEST = "#4c9be8", "#f2a65a"
RIGHT, WRONG = "#5fd068", "#ff5d5d"
PALETTE = (
    "#4c9be8", "#f2a65a", "#5fd068", "#ff5d5d", "#b58be6",
    "#e6cf5a", "#5fd0c8", "#e67fb8", "#9aa5b1", "#a07855",
)  # fmt: skip
HALF = "▀"  # the upper pixel in front, the lower behind
SHADES = " ░▒▓"  # of regions where there are no colours
GAUGE = " ▏▎▍▌▋▊▉█"


def curves(scene: Scene, width: int, height: int) -> Text:
    """Loss above accuracy, in training and in test."""
    pieces = []
    known = [k for k in ("loss", "accuracy") if any(n.endswith(k) for n in scene.curves)]
    kinds = known or ["loss"]
    colours = {"train": TRAIN, "test": TEST}
    for kind in kinds:
        series = {part: scene.curves.get(f"{part}_{kind}", ()) for part in colours}
        room = height // len(kinds)
        pieces.append(chart(series, colours, width, room, log=kind == "loss", title=kind))
    return Text("\n").join(pieces)


def gauge(scene: Scene, width: int) -> Text:
    """How far the run is: a bar, the epoch, the rate and the time left."""
    told = [scene.state]
    if scene.epochs:
        told.append(f"epoch {min(scene.epoch + 1, scene.epochs)} of {scene.epochs}")
    if scene.rate:
        told.append(f"{scene.rate:,.0f} samples/s")
    if scene.left is not None and scene.state in ("training", "testing", "paused"):
        told.append(f"{clock(scene.left)} left")
    if scene.learning_rate is not None:
        told.append(f"learning rate {scene.learning_rate:.4g}")
    room = max(width - 6, 4)
    eighths = round(scene.share * room * 8)
    bar = GAUGE[8] * (eighths // 8) + (GAUGE[eighths % 8] if eighths % 8 else "")
    line = Text.assemble((f"{bar:<{room}}", f"{TRAIN} on #2a2f38"), f"{scene.share:5.0%} ")
    below = Text("  ".join(told))
    below.truncate(width, overflow="ellipsis")
    return Text("\n").join([line, below])


def clock(seconds: float) -> str:
    """1:05 or 2:03:04."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def confusion(scene: Scene) -> Table | Text:
    """A table: the right class down, the found class across; right ones green, wrong ones red."""
    if scene.confusion is None:
        return Text("no confusion table yet: it needs a model of classes and test data", "dim")
    counts = scene.confusion
    names = list(scene.classes) or [str(i) for i in range(len(counts))]
    short = [name[:7] for name in names]
    table = Table(title="right ↓   found →", box=None, pad_edge=False, title_style="dim")
    table.add_column("", style="bold")
    for name in short:
        table.add_column(name, justify="right", min_width=4)
    table.add_column("recall", justify="right", style="dim")
    for i, row in enumerate(counts):
        total = max(int(row.sum()), 1)
        cells = [
            Text(str(n) if n else "·", _heat(n / total, RIGHT if i == j else WRONG, i == j))
            for j, n in enumerate(row)
        ]
        table.add_row(names[i][:10], *cells, f"{row[i] / total:.1%}")
    return table


def _heat(share: float, colour: str, diagonal: bool) -> str:
    if share == 0:
        return "#4a505a"
    strength = 0.35 + 0.65 * min(1.0, share if diagonal else share * 12)
    dark, bright = np.array(_numbers("#20242b")), np.array(_numbers(colour))
    return _rgb(dark + (bright - dark) * strength)


def pictures(scene: Scene, width: int, height: int) -> Text:
    """Test images in rows, below each what was found: right green, wrong red with what it is."""
    if not scene.pictures:
        return Text("no pictures: the test data are not images, or no model is saved yet", "dim")
    drawn = [_picture(each, 16) for each in scene.pictures]
    tall, wide = len(drawn[0]), len(drawn[0][0]) + 2
    columns, rows = max(width // wide, 1), max(height // tall, 1)
    lines = []
    for row in range(rows):
        part = drawn[row * columns : (row + 1) * columns]
        if part:
            lines += [Text("  ").join([each[i] for each in part]) for i in range(tall)]
    return Text("\n").join(lines)


def _picture(picture: Picture, columns: int) -> list[Text]:
    """An image in half blocks, `columns` wide, and its caption."""
    pixels = resized(picture.pixels, columns)
    lines = []
    for top, bottom in zip(pixels[::2], pixels[1::2], strict=True):
        line = Text()
        for a, b in zip(top, bottom, strict=True):
            line.append(HALF, f"{_rgb(a)} on {_rgb(b)}")
        lines.append(line)
    good = picture.found == picture.right
    words = picture.found if good else f"{picture.found}, is {picture.right}"
    lines.append(Text(f"{words[:columns]:^{columns}}", f"bold {RIGHT if good else WRONG}"))
    return lines


def resized(pixels: Array, columns: int) -> Array:
    """Pixels (H, W, 3) with W = columns and H even, by means of areas, from an image (H, W) or
    (H, W, 3)."""
    image = pixels[..., None].repeat(3, axis=-1) if pixels.ndim == 2 else pixels
    height = max(2 * round(columns * image.shape[0] / image.shape[1] / 2), 2)
    for axis, size in ((0, height), (1, columns)):
        edges = np.linspace(0, image.shape[axis], size + 1)
        starts = np.minimum(edges[:-1].astype(int), image.shape[axis] - 1)
        ends = np.maximum(np.ceil(edges[1:]).astype(int), starts + 1)
        spans = zip(starts, ends, strict=True)
        image = np.stack([image.take(range(a, b), axis).mean(axis) for a, b in spans], axis)
    return np.clip(image, 0, 1)


def regions(scene: Scene, width: int) -> Text:
    """The plane, coloured by what the model says of it, with the points of the training data."""
    if scene.regions is None:
        return Text("no regions: they need points in the plane and a model of classes", "dim")
    seen = scene.regions
    if seen.shape[1] > max(width, 1):  # a narrow terminal: every so many of both
        share = max(width, 1) / seen.shape[1]
        places = [
            np.linspace(0, size - 1, max(round(size * share) // 2 * 2, 2)).round().astype(int)
            for size in seen.shape[:2]
        ]
        seen = seen[np.ix_(*places)]
    count = seen.shape[-1]
    colours = np.array([_numbers(PALETTE[i % len(PALETTE)]) for i in range(count)])
    shades = 0.12 + 0.5 * (seen @ colours)
    height, width = seen.shape[:2]
    marks = {(row // 2, column): target for row, column, target in _points(scene, height, width)}
    lines = []
    for row in range(height // 2):
        line = Text()
        for column in range(width):
            top, bottom = shades[2 * row, column], shades[2 * row + 1, column]
            mark = marks.get((row, column))
            if mark is None:
                line.append(HALF, f"{_rgb(top)} on {_rgb(bottom)}")
            else:
                behind = _rgb((top + bottom) / 2)
                line.append("●", f"{PALETTE[mark % len(PALETTE)]} on {behind}")
        lines.append(line)
    return Text("\n").join(lines)


def _points(scene: Scene, height: int, width: int) -> Iterator[tuple[int, int, int]]:
    """Row, column and class of the points of the training data that lie in the plane."""
    if scene.points is not None and scene.targets is not None:
        share = (scene.points / scene.extent + 1) / 2
        for (x, y), target in zip(share, scene.targets, strict=True):
            if 0 <= x < 1 and 0 <= y < 1:
                yield int((1 - y) * height), int(x * width), int(target)


def runs(scene: Scene, width: int, height: int) -> Group:
    """The loss of each run of the folder, and a row of what it has come to; the best in green."""
    colours = {each.name: PALETTE[i % len(PALETTE)] for i, each in enumerate(scene.runs)}
    series = {each.name: _measured(each, "loss") for each in scene.runs}
    kind = "test" if any("test_loss" in each.curves for each in scene.runs) else "train"
    room = max(height - len(scene.runs) - 3, 6)
    table = Table(box=None, pad_edge=False)
    for name in ("", "run", "state"):
        table.add_column(name)
    for name in ("epoch", "loss", "best", "accuracy", "best"):
        table.add_column(name, justify="right")
    found = {(each.name, k): [y for _, y in _measured(each, k)] for each in scene.runs
             for k in ("loss", "accuracy")}  # fmt: skip
    lowest = min((min(v) for (_, k), v in found.items() if k == "loss" and v), default=None)
    highest = max((max(v) for (_, k), v in found.items() if k == "accuracy" and v), default=None)
    for each in scene.runs:
        losses, rates = found[each.name, "loss"], found[each.name, "accuracy"]
        table.add_row(
            Text("▶" if each.name == scene.name else "", "bold"),
            Text(each.name, colours[each.name]),
            each.state,
            f"{each.epoch}/{each.epochs}",
            brief(losses[-1]) if losses else "",
            Text(brief(min(losses)), RIGHT if min(losses) == lowest else "") if losses else "",
            f"{rates[-1]:.2%}" if rates else "",
            Text(f"{max(rates):.2%}", RIGHT if max(rates) == highest else "") if rates else "",
        )
    drawn = chart(series, colours, width, room, log=True, title=f"{kind} loss")
    return Group(drawn, Text(), table)


def _measured(line: RunLine, kind: str) -> Points:
    """A curve of a run, of the test data where it has some."""
    curves = line.curves
    return curves.get(f"test_{kind}") or curves.get(f"train_{kind}") or []


def regions_in_letters(scene: Scene, width: int) -> Text:
    """The plane without colours: shaded by class, the points by the numbers of theirs."""
    plain = regions(scene, width)
    if scene.regions is None:
        return plain
    lines = plain.plain.splitlines()
    height, width = len(lines), len(lines[0])
    rows = np.linspace(0, scene.regions.shape[0] - 1, height).round().astype(int)
    columns = np.linspace(0, scene.regions.shape[1] - 1, width).round().astype(int)
    found = scene.regions[np.ix_(rows, columns)].argmax(axis=-1)
    cells = [[SHADES[each % len(SHADES)] for each in row] for row in found]
    for row, column, target in _points(scene, height, width):
        cells[row][column] = str(target % 10)
    return Text("\n".join("".join(line) for line in cells))


def layers(scene: Scene) -> Table | Text:
    """Norms of weights and gradients by path, the gradients with bars on a scale of logarithms."""
    if not scene.weight_norms:
        return Text("no norms yet: they come with the first epoch", "dim")
    table = Table(box=None, pad_edge=False)
    table.add_column("parameter")
    for name in ("weight norm", "gradient norm", "ratio"):
        table.add_column(name, justify="right")
    table.add_column("gradient, 1e-6 to 1e2")
    for path, weight in scene.weight_norms.items():
        gradient = scene.gradient_norms.get(path)
        if gradient is None:
            table.add_row(path, brief(weight), "", "", Text("frozen", "dim"))
            continue
        share = (np.log10(max(gradient, 1e-12)) + 6) / 8
        colour = RIGHT if 0.1 < share < 0.9 else WRONG
        bar = Text("━" * round(24 * min(max(share, 0.0), 1.0)), colour)
        ratio = brief(gradient / weight) if weight else ""
        table.add_row(path, brief(weight), brief(gradient), ratio, bar)
    return table


def _numbers(colour: str) -> tuple[float, float, float]:
    return (int(colour[1:3], 16) / 255, int(colour[3:5], 16) / 255, int(colour[5:7], 16) / 255)


def _rgb(pixel: Array) -> str:
    red, green, blue = (int(255 * min(max(float(each), 0.0), 1.0) + 0.5) for each in pixel)
    return f"#{red:02x}{green:02x}{blue:02x}"
