"""Small searches in this process, and one finished run that tests may read."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import cellsearch
from cellsearch import CellDataset, SearchResult, SearchSpace
from cellsearch.run.observer import Silent

from conftest import squares
from shared_cases import once

TINY = {
    "name": "tiny",
    "parameters": {
        "model.depth": 1,
        "model.width": 8,
        "model.head_layers": 0,
        "model.reduce": "average",
        "model.batch_norm": True,
        "loss.weighting": {"choice": ["none", "sqrt", "inv"]},
        "optim.lr": {"float": [3e-3, 3e-2], "log": True},
        "train.epochs": {"int": [8, 12]},
        "train.batch_size": 16,
    },
}


def tiny_search(out: Path, cells: CellDataset | None = None, **settings: object) -> SearchResult:
    values = {"budget": 3, "folds": 2, "backend": "local", "threads": 1} | settings
    return cellsearch.search(
        cells if cells is not None else squares(),
        SearchSpace.from_dict(TINY),
        out=out,
        **values,
    )


class Stopper(Silent):
    """Presses Ctrl-C after some folds."""

    def __init__(self, folds: int) -> None:
        self.left = folds

    def fold_done(self, task: object, fold: int, score: float) -> None:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


def finished_search(factory: pytest.TempPathFactory) -> SearchResult:
    """One ended ``tiny_search``, made once in a test run; tests only read it."""
    return once(factory, "search", lambda folder: tiny_search(folder / "one"))
