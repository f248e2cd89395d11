"""The public API is flat, pinned, and light to import."""

from __future__ import annotations

import ast
import inspect
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import cellsearch

EXPORTED = [
    "BASELINE",
    "CardError",
    "CatalogError",
    "CellClassifier",
    "CellDataset",
    "CellsearchError",
    "ConfigError",
    "Cropped",
    "DataError",
    "FetchError",
    "InputError",
    "LabelIssues",
    "ManifestError",
    "MismatchError",
    "ModelCard",
    "Provenance",
    "ReadError",
    "Recipe",
    "RunConfig",
    "RunError",
    "RunObserver",
    "SearchResult",
    "SearchSpace",
    "Silent",
    "SpaceError",
    "SplitError",
    "Splits",
    "StorageError",
    "Suggestions",
    "Terminal",
    "TrialError",
    "TrialRow",
    "VerifyReport",
    "cells_frame",
    "confusion_frame",
    "crop_cells",
    "draw_splits",
    "figures_frame",
    "fold_scores_frame",
    "label_issues",
    "load_card",
    "load_dataset",
    "predictions_frame",
    "resume",
    "search",
    "suggest",
    "trials_frame",
]


def test_exported_names() -> None:
    assert cellsearch.__all__ == EXPORTED
    for name in EXPORTED:
        assert getattr(cellsearch, name).__name__ if name != "BASELINE" else True


@pytest.mark.parametrize("name", [name for name in EXPORTED if name != "BASELINE"])
def test_everything_public_has_a_docstring(name: str) -> None:
    thing = getattr(cellsearch, name)
    bare = [] if own_docstring(thing) else [name]
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            value = getattr(value, "func", getattr(value, "__func__", value))
            if isinstance(value, property):
                value = value.fget
            public = not member.startswith("_") and inspect.isfunction(value)
            if public and value.__module__.startswith("cellsearch.") and not own_docstring(value):
                bare.append(f"{name}.{member}")
    assert bare == []


def own_docstring(thing: object) -> bool:
    """Whether somebody wrote one; a dataclass makes its own, its signature."""
    text = inspect.getdoc(thing) or ""
    return len(text) > 10 and not text.startswith(f"{getattr(thing, '__name__', '')}(")


def test_type_checkers_are_told_the_same_names() -> None:
    """The imports that only a type checker sees name all that is loaded on first use."""
    tree = ast.parse(Path(cellsearch.__file__).read_text())
    told = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cellsearch.")
        for alias in node.names
    } - {"__version__"}
    assert told == set(EXPORTED) == set(cellsearch._HOME)


def test_search_stays_a_function_when_its_parts_are_loaded() -> None:
    import cellsearch.card.card
    import cellsearch.tune.study

    assert callable(cellsearch.search)


def loaded_after(code: str) -> set[str]:
    script = f"import sys; {code}; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_import_loads_neither_torch_nor_ray() -> None:
    modules = loaded_after("import cellsearch, cellsearch.cli; cellsearch.CellDataset")
    assert not modules & {"torch", "ray", "optuna", "sklearn", "matplotlib", "pandas"}


def test_help_is_quick() -> None:
    spans = []
    for _ in range(3):
        # Processor time: the wall clock says more of what else the machine does.
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "cellsearch", "--help"], capture_output=True, check=True
        )
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        spans.append(ended.ru_utime - began.ru_utime + ended.ru_stime - began.ru_stime)
    assert min(spans) < 1.0
