"""The house: rooms in order, no import upward, public names listed, documentation that runs."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

import autograph

from .fresh import printed
from .readme_code import readme_code

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "autograph"

# Each room may import those above it in this list: lower in the house.
ROOMS = [
    "errors",
    "imports",
    "words",
    "settings",
    "scalar_type",
    "platforms",
    "device",
    "outline",
    "later",
    "promised",
    "graph",
    "expression",
    "philox",
    "backends",
    "plan",
    "op",
    "ops",
    "tensor",
    "namespace",
    "attending",
    "differentiate",
    "recomputing",
    "atomic",
    "header",
    "files",
    "layers",
    "anomalies",
    "optim",
    "data",
    "metrics",
    "progress",
    "watching",
    "tape",
    "recording",
    "capturing",
    "fingerprint",
    "checkpoint",
    "control",
    "parallel",
    "runs",
    "train",
    "testing",
    # what people meet; nothing above needs it
    "html",
    "drawing",
    "locate",
    "profiler",
    "interop",
    "logs",
    "tensorboard",
    "plots",
    "probe",
    "view",
    "commands",
    "__main__",
    "__init__",
]

# Imports inside of functions that point upward, (from, to), and why.
UPWARD: dict[tuple[str, str], str] = {
    ("tensor.exchange", "namespace"): "a tensor names its namespace, which is made of tensors",
    ("__main__", "__init__"): "the version, which is said once",
    ("commands.doctor", "__init__"): "the version, which is said once",
    ("files", "__init__"): "the version, which is said once",
    ("fingerprint", "__init__"): "the version, which is said once",
    ("layers.base", "html"): "notebooks ask for it",
    ("layers.base", "parallel.placing"): "a model is asked to spread over devices",
    ("layers.summarize", "html"): "notebooks ask for it",
    ("tensor.tensor", "html"): "notebooks ask for it",
}

FOREIGN = {
    "cupy", "mpi4py", "numba", "llvmlite", "torch", "jax", "rich", "matplotlib", "cudnn", "IPython"
}  # fmt: skip
LARGE = 300  # lines


class Import(NamedTuple):
    """One import of a module of the package."""

    source: str  # "ops.conv2.numpy_kernels"
    target: str
    inside: str  # "module", "function" or "types": where the import stands
    line: int


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name without `autograph.`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


@cache
def imports() -> list[Import]:
    """Every import inside of the package."""
    found = []
    for name, path in modules().items():
        tree = ast.parse(path.read_text("utf-8"))
        package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        package = [] if name == "__init__" else package
        for node, inside in walk(tree, "module"):
            found += [Import(name, each, inside, node.lineno) for each in targets(node, package)]
    return found


def walk(node: ast.AST, inside: str) -> Iterator[tuple[ast.stmt, str]]:
    for child in ast.iter_child_nodes(node):
        here = inside
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            here = "function"
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            here = "types"
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, here
        yield from walk(child, here)


def targets(node: ast.stmt, package: list[str]) -> Iterator[str]:
    """The modules that an import statement names."""
    if isinstance(node, ast.Import):
        for each in node.names:
            if each.name.split(".")[0] == "autograph":
                yield each.name.partition(".")[2] or "__init__"
        return
    assert isinstance(node, ast.ImportFrom)
    if node.level:
        base = package[: len(package) - node.level + 1] + (node.module or "").split(".")
    elif (node.module or "").split(".")[0] == "autograph":
        base = (node.module or "").split(".")[1:]
    else:
        return
    base = [part for part in base if part]
    for each in node.names:
        whole = ".".join([*base, each.name])
        yield whole if whole in modules() else ".".join(base) or "__init__"


def room(name: str) -> int:
    return ROOMS.index(name.split(".")[0])


def test_every_module_is_in_a_room() -> None:
    assert {name.split(".")[0] for name in modules()} <= set(ROOMS)


def test_no_import_points_upward() -> None:
    upward = [
        f"{each.source}:{each.line} imports {each.target}"
        for each in imports()
        if each.inside == "module" and room(each.target) > room(each.source)
    ]

    assert upward == []


def test_imports_inside_of_functions_point_upward_only_where_a_reason_is_given() -> None:
    upward = {
        (each.source, each.target)
        for each in imports()
        if each.inside == "function" and room(each.target) > room(each.source)
    }

    assert upward == UPWARD.keys()


def test_no_modules_import_each_other_in_a_circle() -> None:
    edges: dict[str, set[str]] = {}
    for each in imports():
        if each.inside == "module" and each.source != each.target:
            edges.setdefault(each.source, set()).add(each.target)
    done: set[str] = set()
    circles: list[str] = []

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            circles.append(" -> ".join((*way[way.index(name) :], name)))
        elif name not in done:
            for target in sorted(edges.get(name, ())):
                visit(target, (*way, name))
            done.add(name)

    for name in sorted(edges):
        visit(name, ())

    assert circles == []


def test_inside_of_the_package_imports_are_relative() -> None:
    absolute = [
        f"{name}: {ast.unparse(node)}"
        for name, path in modules().items()
        for node, _ in walk(ast.parse(path.read_text("utf-8")), "module")
        if isinstance(node, ast.ImportFrom)
        and not node.level
        and (node.module or "").split(".")[0] == "autograph"
    ]

    assert absolute == []


def test_the_package_imports_no_engine_and_nothing_that_takes_long() -> None:
    code = "import sys, autograph; print(*sorted({name.split('.')[0] for name in sys.modules}))"

    assert FOREIGN & set(printed(code).split()) == set()


def test_a_step_of_training_on_the_host_needs_no_device_engine() -> None:
    code = (
        "import sys; from autograph import Tensor\n"
        "x = Tensor([[1.0, 2.0]], requires_grad=True)\n"
        "(x.relu() @ x.T).sum().backward()\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )

    assert FOREIGN & set(printed(code).split()) <= {"numba", "llvmlite"}


def test_public_names_are_listed_sorted_and_there() -> None:
    public = autograph.__all__
    defined = {
        name
        for name, value in vars(autograph).items()
        if not name.startswith("_") and not is_module(value)
    }

    assert public == sorted(public, key=by_kind)
    assert defined - {"annotations", "import_module", "TYPE_CHECKING", "Any"} <= set(public)
    for name in public:
        assert getattr(autograph, name) is not None


def by_kind(name: str) -> tuple[int, str]:
    """Constants, classes, functions, as ruff sorts them."""
    return 0 if name.isupper() else 1 if name[0].isupper() else 2, name


def is_module(value: object) -> bool:
    return isinstance(value, ModuleType)


def test_public_names_have_documentation() -> None:
    missing = [
        name
        for name in autograph.__all__
        if not (getattr(getattr(autograph, name), "__doc__", None) or "").strip()
    ]

    assert missing == []


def test_every_file_begins_by_saying_what_it_is() -> None:
    silent = [
        name
        for name, path in modules().items()
        if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]

    assert silent == []


def test_nothing_is_left_for_later() -> None:
    words = "TO" + "DO", "FIX" + "ME"
    sources = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.cu*"), *(ROOT / "tests").rglob("*.py")]
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in sources
        for word in words
        if word in path.read_text("utf-8")
    ]

    assert found == []


def test_the_code_of_the_readme_runs(tmp_path: Path) -> None:
    program = tmp_path / "readme_code.py"
    program.write_text(readme_code(), "utf-8")
    found = subprocess.run(
        [sys.executable, program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert found.returncode == 0, found.stderr


def test_doctests_are_collected_from_the_whole_package() -> None:
    """They run with the tests: `testpaths` names the package, `addopts` the doctests."""
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]

    assert "--doctest-modules" in settings["addopts"]
    assert {"tests", "autograph"} <= set(settings["testpaths"])


def test_figures_to_look_at(record_property: pytest.FixtureRequest) -> None:
    """Files of more than 300 lines are a question, not an error: `pytest -rP` shows them."""
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in modules().items()}
    large = {name: count for name, count in sorted(lines.items()) if count > LARGE}
    record_property("lines", sum(lines.values()))
    record_property("large files", large)
    print(f"{sum(lines.values())} lines in {len(lines)} files; above {LARGE}: {large}")
    if any(count > 4 * LARGE for count in lines.values()):
        warnings.warn(f"a file has more than {4 * LARGE} lines: {large}", stacklevel=1)
