"""A small real card, made once for all tests of cards."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from cellsearch.card.card import ModelCard
from cellsearch.card.write import write_card
from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits, draw_splits
from cellsearch.learn.fit import fit
from cellsearch.learn.predictor import Predictor
from cellsearch.space.recipe import Recipe
from cellsearch.stats.calibration import scaled
from cellsearch.stats.evaluation import BaselineFigures, OofFigures

from shared_cases import once

RECIPE = Recipe.from_params(
    {
        "model.depth": 2,
        "model.width": 8,
        "model.batch_norm": True,
        "model.kernel": 3,
        "train.epochs": 4,
        "train.batch_size": 8,
        "input.test_flips": True,
        "optim.lr": 0.00001 * 300,
        "optim.weight_decay": 1e-05,
    }
)
FACTS: dict[str, Any] = {
    "metric": "balanced_accuracy",
    "seed": 3,
    "budget": 5,
    "trials": {"complete": 3, "pruned": 1, "failed": 1},
    "seconds": 90.0,
    "space": "quick",
    "winner": 2,
}
COMMAND = "cellsearch run --dataset squares --budget 5 --seed 3"


class Made(NamedTuple):
    """A card and what it was made of."""

    card: ModelCard
    dataset: CellDataset
    splits: Splits
    predictor: Predictor
    probabilities: NDArray[np.float32]
    oof: OofFigures
    baseline: BaselineFigures

    def ingredients(self, **changes: Any) -> dict[str, Any]:
        """Arguments of ``write_card``."""
        return {
            "predictors": [self.predictor],
            "recipe": RECIPE,
            "dataset": self.dataset,
            "splits": self.splits,
            "holdout_probabilities": self.probabilities,
            "oof": self.oof,
            "baseline": self.baseline,
            "search_facts": FACTS,
            "command": COMMAND,
        } | changes

    def served(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the card gives where the network gives these (n, K) probabilities."""
        return scaled(probabilities, self.card.config.temperature or 1.0)

    def copy(self, folder: Path) -> Path:
        """The card's files in a folder that a test may spoil."""
        return Path(shutil.copytree(self.card.folder, folder / "card"))


def made(dataset: CellDataset, factory: pytest.TempPathFactory) -> Made:
    """The card of ``tiny_dataset``, made once in a test run."""
    return once(factory, "card", lambda folder: _make(dataset, folder / "card"))


def _make(dataset: CellDataset, folder: Path) -> Made:
    splits = draw_splits(dataset, folds=2, seed=3)
    predictor = fit(RECIPE, dataset, splits.development, seed=3, device="cpu")
    probabilities = predictor.predict_proba(dataset, splits.holdout)
    cells = np.concatenate(splits.folds)
    pooled = predictor.predict_proba(dataset, cells)
    oof = OofFigures(dataset.labels[cells], pooled.argmax(axis=1), cells, pooled)
    always_first = np.zeros_like(probabilities)
    always_first[:, 0] = 1.0
    baseline = BaselineFigures(
        OofFigures(dataset.labels[cells], np.zeros_like(cells)), always_first
    )
    parts = Made(None, dataset, splits, predictor, probabilities, oof, baseline)  # type: ignore[arg-type]
    return parts._replace(card=write_card(folder, **parts.ingredients()))
