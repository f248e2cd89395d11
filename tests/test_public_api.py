"""The public API is flat, pinned, and light to import."""

from __future__ import annotations

import subprocess
import sys
import time

import cellsearch

EXPORTED = [
    "BASELINE",
    "CardError",
    "CatalogError",
    "CellDataset",
    "CellsearchError",
    "ConfigError",
    "DataError",
    "FetchError",
    "ManifestError",
    "MismatchError",
    "ModelCard",
    "Provenance",
    "ReadError",
    "Recipe",
    "RunConfig",
    "RunError",
    "SearchResult",
    "SearchSpace",
    "SpaceError",
    "SplitError",
    "Splits",
    "StorageError",
    "TrialError",
    "draw_splits",
    "load_card",
    "load_dataset",
    "resume",
    "search",
]


def test_exported_names() -> None:
    assert cellsearch.__all__ == EXPORTED
    for name in EXPORTED:
        assert getattr(cellsearch, name).__name__ if name != "BASELINE" else True


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
    assert not modules & {"torch", "ray", "optuna", "sklearn", "matplotlib"}


def test_help_is_quick() -> None:
    spans = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "cellsearch", "--help"], capture_output=True, check=True
        )
        spans.append(time.monotonic() - began)
    assert min(spans) < 2.0
