"""Each package imports only those to its left; ray and torch stay in their rooms."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import cellsearch

PACKAGE = Path(cellsearch.__file__).parent
FLOORS = ["data", "space", "learn", "tune", "card"]
COMMON = {"errors", "util", "catalog", "located", "markup", "lettering"}
TORCH = {"learn", "card/export.py", "card/explain.py"}
RAY = {"tune/ray_tune.py"}
FILES = sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[0] in FLOORS], ids=str)
def test_a_floor_looks_only_to_its_left(path: Path) -> None:
    allowed = COMMON | set(FLOORS[: FLOORS.index(path.parts[0]) + 1])
    own = {name.split(".")[1] for name in imported(path) if name.startswith("cellsearch.")}
    assert own <= allowed


@pytest.mark.parametrize("path", FILES, ids=str)
def test_torch_and_ray_stay_in_their_rooms(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported(path)}
    if "torch" in roots:
        assert path.parts[0] in TORCH or path.as_posix() in TORCH
    if "ray" in roots:
        assert path.as_posix() in RAY


def test_files_hold_one_idea() -> None:
    lengths = {p.as_posix(): len((PACKAGE / p).read_text().splitlines()) for p in FILES}
    assert not {name: lines for name, lines in lengths.items() if lines > 330}
