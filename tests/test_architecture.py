"""Who may import whom; no circles; what lies in the root; where torch and ray stay.

Imports inside functions and under ``TYPE_CHECKING`` count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import cellsearch

PACKAGE = Path(cellsearch.__file__).parent

EVERYWHERE = frozenset({"errors", "util"})
LOWER = frozenset({"stats", "data", "space"})
ALLOWED: Mapping[str, frozenset[str]] = {
    "errors": frozenset({"util"}),
    "util": frozenset({"errors"}),
    "stats": EVERYWHERE,
    "data": EVERYWHERE | {"stats"},
    "space": EVERYWHERE,
    "learn": EVERYWHERE | LOWER,
    "tune": EVERYWHERE | LOWER | {"learn"},
    "card": EVERYWHERE | LOWER | {"tune"},
    "run": EVERYWHERE | LOWER | {"learn", "tune", "card"},
    "label": EVERYWHERE | {"stats", "data", "card", "run"},
    "interop": EVERYWHERE | {"data", "card"},
    "scan": EVERYWHERE | LOWER | {"learn", "tune"},
    "doctor": EVERYWHERE | {"data", "learn", "tune"},
    "compare": EVERYWHERE | {"stats", "data", "card", "run"},
    "audit": EVERYWHERE | LOWER | {"learn", "tune", "card", "run"},
    "terminal": EVERYWHERE | LOWER | {"tune", "card", "run", "label", "compare"},
    "sklearn": EVERYWHERE | LOWER | {"learn", "tune", "card", "run", "terminal"},
    "report": EVERYWHERE | LOWER | {"tune", "card", "run", "label", "audit"},
    "serve": EVERYWHERE | {"data", "card", "terminal"},
    "cli": EVERYWHERE
    | LOWER
    | {"tune", "card", "run", "label", "interop", "scan", "doctor", "compare", "audit", "terminal"}
    | {"report", "serve"},
}
"""Package to the packages that it may import; ``docs/design.md`` says what each holds."""

ROOT = {"__init__.py", "__main__.py", "errors.py", "py.typed"}
TORCH = {"learn", "card/export.py", "card/explain.py", "card/graph.py"}
USES_TORCH = {"torch", "timm", "captum", "safetensors.torch"}
RAY = {"tune/ray_tune.py"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(path: Path) -> set[str]:
    """Dotted names of all that a file imports; of ``from a import b`` both ``a`` and ``a.b``."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {f"{node.module}"}
    return names


def own(path: Path) -> set[str]:
    """Modules of the package that a file imports: of ``from a import b`` ``a.b`` if it is one."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (
                inner & MODULES.keys() if inner <= MODULES.keys() else inner | {f"{node.module}"}
            )
    return found & MODULES.keys()


def package_of(module: str) -> str:
    return [*module.split("."), "__init__"][1]


def circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_the_root_holds_packages_and_three_modules() -> None:
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    packages = {
        path.name
        for path in PACKAGE.iterdir()
        if path.is_dir() and (path / "__init__.py").is_file()
    }
    assert files == ROOT
    assert packages | {"errors"} == set(ALLOWED)


@pytest.mark.parametrize("module", [m for m in MODULES if package_of(m) in ALLOWED])
def test_a_package_imports_only_what_its_row_allows(module: str) -> None:
    package = package_of(module)
    used = {package_of(name) for name in own(MODULES[module])} - {package}
    assert used <= ALLOWED[package]


def test_no_two_modules_import_each_other_in_a_circle() -> None:
    assert circle({module: own(path) - {module} for module, path in MODULES.items()}) == []


def test_the_table_itself_has_no_circle() -> None:
    assert circle({name: row - EVERYWHERE for name, row in ALLOWED.items()}) == []


@pytest.mark.parametrize("module", MODULES)
def test_torch_and_ray_stay_in_their_rooms(module: str) -> None:
    path = MODULES[module]
    names = imported(path)
    within = path.relative_to(PACKAGE)
    roots = names | {name.split(".")[0] for name in names}
    if roots & USES_TORCH:
        assert within.parts[0] in TORCH or within.as_posix() in TORCH
    if "ray" in roots:
        assert within.as_posix() in RAY


def test_a_lazy_import_and_one_for_types_are_seen(tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from cellsearch.run.search import search\n"
        "def f():\n    from cellsearch import resume\n    import cellsearch.tune.study\n"
    )
    assert own(file) == {"cellsearch.run.search", "cellsearch", "cellsearch.tune.study"}


def test_a_circle_is_found() -> None:
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}
