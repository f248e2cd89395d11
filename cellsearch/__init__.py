"""Hyper-parameter search for imbalanced single-cell images, with a number that holds.

The public API is flat and loaded on first use: neither torch nor ray is imported here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cellsearch.util.version import __version__ as __version__

if TYPE_CHECKING:
    from cellsearch.card.card import ModelCard, load_card
    from cellsearch.card.replay import VerifyReport
    from cellsearch.data.cropping.crop import Cropped, crop_cells
    from cellsearch.data.dataset import CellDataset, Provenance
    from cellsearch.data.source import load_dataset
    from cellsearch.data.splits import Splits, draw_splits
    from cellsearch.errors import (
        CardError,
        CatalogError,
        CellsearchError,
        ConfigError,
        DataError,
        FetchError,
        InputError,
        ManifestError,
        MismatchError,
        ReadError,
        RunError,
        SpaceError,
        SplitError,
        StorageError,
        TrialError,
    )
    from cellsearch.label.issues import LabelIssues, label_issues
    from cellsearch.label.suggest import Suggestions, suggest
    from cellsearch.run.config import RunConfig
    from cellsearch.run.observer import RunObserver, Silent
    from cellsearch.run.search import SearchResult, resume, search
    from cellsearch.sklearn.classifier import CellClassifier
    from cellsearch.sklearn.frames import (
        cells_frame,
        confusion_frame,
        figures_frame,
        fold_scores_frame,
        predictions_frame,
        trials_frame,
    )
    from cellsearch.space.recipe import BASELINE, Recipe
    from cellsearch.space.search_space import SearchSpace
    from cellsearch.terminal.progress import Terminal
    from cellsearch.tune.study import TrialRow

import_module("cellsearch.util.telemetry").keep_silent()

_HOMES = {
    "cellsearch.card.card": ("ModelCard", "load_card"),
    "cellsearch.card.replay": ("VerifyReport",),
    "cellsearch.sklearn.classifier": ("CellClassifier",),
    "cellsearch.data.cropping.crop": ("Cropped", "crop_cells"),
    "cellsearch.data.dataset": ("CellDataset", "Provenance"),
    "cellsearch.data.source": ("load_dataset",),
    "cellsearch.data.splits": ("Splits", "draw_splits"),
    "cellsearch.errors": (
        "CardError",
        "CatalogError",
        "CellsearchError",
        "ConfigError",
        "DataError",
        "FetchError",
        "InputError",
        "ManifestError",
        "MismatchError",
        "ReadError",
        "RunError",
        "SpaceError",
        "SplitError",
        "StorageError",
        "TrialError",
    ),
    "cellsearch.sklearn.frames": (
        "cells_frame",
        "confusion_frame",
        "figures_frame",
        "fold_scores_frame",
        "predictions_frame",
        "trials_frame",
    ),
    "cellsearch.label.issues": ("LabelIssues", "label_issues"),
    "cellsearch.label.suggest": ("Suggestions", "suggest"),
    "cellsearch.run.config": ("RunConfig",),
    "cellsearch.run.observer": ("RunObserver", "Silent"),
    "cellsearch.run.search": ("SearchResult", "resume", "search"),
    "cellsearch.terminal.progress": ("Terminal",),
    "cellsearch.space.recipe": ("BASELINE", "Recipe"),
    "cellsearch.space.search_space": ("SearchSpace",),
    "cellsearch.tune.study": ("TrialRow",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
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


if not TYPE_CHECKING:
    # Hidden from type checkers, which would take any misspelt name for one of these.
    def __getattr__(name: str) -> Any:
        if name in _HOME:
            return getattr(import_module(_HOME[name]), name)
        raise AttributeError(f"module 'cellsearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
