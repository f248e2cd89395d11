"""What the tests share: small data sets, and where real cells lie on this machine."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

# Several processes test side by side; torch reads this when it is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

from cellsearch.data.dataset import CellDataset

if TYPE_CHECKING:
    from cellsearch import SearchResult

REPOSITORY = Path(__file__).resolve().parents[1]


def real_data(folder: str) -> Path:
    """The folder of real cells, or a skip that says what is missing."""
    root = Path(os.environ.get("CELLSEARCH_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (root / folder).is_dir():
        pytest.skip(f"no real cells at {root / folder}; CELLSEARCH_TEST_DATA names their folder")
    return root / folder


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command as a user types it: its exit code, standard output and standard error."""
    from command_cases import cellsearch

    return lambda *words: cellsearch(capsys, monkeypatch, *words)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    """A run that ended, with its card; made once in a test run: tests only read it."""
    from run_cases import finished_search

    return finished_search(tmp_path_factory)


@pytest.fixture(scope="session")
def finished_card(finished_run: SearchResult) -> Path:
    """The card of ``finished_run``: tests only read it."""
    assert finished_run.card is not None
    return finished_run.card.folder


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were asked to be waited: none of them pass, on a slow machine no more."""
    asked: list[float] = []
    monkeypatch.setattr(time, "sleep", asked.append)
    return asked


@pytest.fixture(scope="session")
def mlcp_root() -> Path:
    """Jurkat montages of imaging flow cytometry."""
    return real_data("mlcp")


@pytest.fixture(scope="session")
def wbc_root() -> Path:
    """White blood cells with a table of labels."""
    return real_data("wbc")


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's own cache and ledger out of the tests."""
    os.environ["CELLSEARCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["CELLSEARCH_LEDGER"] = str(tmp_path_factory.mktemp("ledger"))


@pytest.fixture(autouse=True)
def _ledger(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger for each test: the same few cells are scored by many of them."""
    folder = tmp_path_factory.getbasetemp() / "ledgers" / uuid4().hex
    monkeypatch.setenv("CELLSEARCH_LEDGER", str(folder))


# What takes longest is begun first, so that no worker is left with it when the others have ended.
LONGEST = (
    "documents",
    "notebooks",
    "whole_search",
    "names_everywhere",
    "run_report",
    "nested",
    "planted_leaks",
    "examples",
    "serve_page_races",
    "driver",
    "backends",
    "wheel",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, the rest in their order."""
    place = {f"test_{name}": at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


def pytest_sessionfinish() -> None:
    """Give back what ``_young_heap`` set aside, so that an interpreter ends as ever."""
    gc.unfreeze()


@pytest.fixture(scope="module", autouse=True)
def _young_heap() -> None:
    """Keep what lives as long as the process out of every collection of garbage.

    torch and what comes with it are a million objects; a fit collects garbage when it ends.
    """
    gc.collect()
    gc.freeze()


def squares(counts: tuple[int, ...] = (50, 30, 10), seed: int = 0) -> CellDataset:
    """Noisy crops whose bright square grows with the class: 2 x 16 x 16, uint8."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    images = rng.normal(60, 12, (len(labels), 2, 16, 16))
    for cell, label in enumerate(labels):
        side = 4 + 4 * label
        top, left = rng.integers(0, 16 - side + 1, 2)
        images[cell, :, top : top + side, left : left + side] += 90
    names = tuple(f"class-{k}" for k in range(len(counts)))
    return CellDataset.from_arrays(
        images.clip(0, 255).astype(np.uint8),
        labels,
        classes=names,
        channels=("brightfield", "darkfield"),
        name="squares",
    )


@pytest.fixture(scope="session")
def tiny_dataset() -> CellDataset:
    return squares()


@pytest.fixture
def tiny_saved(tiny_dataset: CellDataset, tmp_path: Path) -> CellDataset:
    """The same cells, saved and memory-mapped as a worker meets them."""
    return tiny_dataset.save(tmp_path / "dataset")
