"""A small real card, made once for all tests of cards."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from cellsearch.card.card import ModelCard
from cellsearch.card.confidence import read_calibration
from cellsearch.card.embedding import Embedding
from cellsearch.card.evidence import Evidence
from cellsearch.card.generated import GeneratorFigures
from cellsearch.card.metrics import SearchFacts
from cellsearch.card.readme import Story
from cellsearch.card.scoring import score
from cellsearch.card.write import CardOptions, Winner, write_card
from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits, draw_splits
from cellsearch.learn.fit import fit
from cellsearch.learn.predictor import Predictor
from cellsearch.space.recipe import Recipe
from cellsearch.stats.calibration import scaled
from cellsearch.stats.curves import Curves
from cellsearch.stats.decision import Decision
from cellsearch.stats.evaluation import BaselineFigures
from cellsearch.stats.predictions import Predictions

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
    oof: Predictions
    baseline: BaselineFigures

    def ingredients(self, **changes: Any) -> dict[str, Any]:
        """Arguments of ``write_card``; changes of ``ingredients_of``."""
        return ingredients_of(
            **{
                "predictors": [self.predictor],
                "dataset": self.dataset,
                "splits": self.splits,
                "probabilities": self.probabilities,
                "oof": self.oof,
                "baseline": self.baseline,
            }
            | changes
        )

    def served(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the card gives where the network gives these (n, K) probabilities."""
        return scaled(probabilities, self.card.config.temperature or 1.0)

    def copy(self, folder: Path) -> Path:
        """The card's files in a folder that a test may spoil."""
        return Path(shutil.copytree(self.card.folder, folder / "card"))


def ingredients_of(
    *,
    predictors: Sequence[Any],
    dataset: CellDataset,
    splits: Splits,
    probabilities: NDArray[np.float32],
    oof: Predictions,
    baseline: BaselineFigures | None = None,
    facts: Mapping[str, Any] = FACTS,
    recipe: Recipe = RECIPE,
    generators: Sequence[GeneratorFigures] = (),
    decision: Decision | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Arguments of ``write_card``, scored; ``options`` are those of ``CardOptions``."""
    search = SearchFacts.model_validate(facts)
    return {
        "winner": Winner(predictors, recipe, probabilities, oof, generators, decision),
        "dataset": dataset,
        "splits": splits,
        "scores": score(
            dataset,
            splits,
            probabilities,
            oof,
            baseline or BaselineFigures(),
            decision=decision,
            seed=search.seed,
        ),
        "search": search,
        "command": COMMAND,
        "options": CardOptions(**options),
    }


def story_of(card: ModelCard, **changes: Any) -> Story:
    """What the README of a card is made of."""
    story = Story(
        config=card.config,
        metrics=card.figures,
        calibration=read_calibration(card.folder),
        importance=None,
        evidence=Evidence(
            members=1,
            curves_holdout=Curves(34, (), {}),
            curves_oof=None,
            saliency=None,
            saliency_reason="trees have no gradient",
            embedding=Embedding(np.arange(3), np.zeros((3, 2), np.float32), "PCA", "logits"),
            embedding_notes=(),
        ),
        notes="",
        label_free=("brightfield",),
        grouped=False,
        counts=(150, 20, 2),
        folds=5,
        development=138,
        command="cellsearch run",
        plots=("history",),
        files=("predictions.csv",),
    )
    return replace(story, **changes)


def made(dataset: CellDataset, factory: pytest.TempPathFactory) -> Made:
    """The card of ``tiny_dataset``, made once in a test run."""
    return once(factory, "card", lambda folder: made_in(folder / "card", dataset))


def made_in(folder: Path, dataset: CellDataset) -> Made:
    """The card, trained and written into a folder."""
    splits = draw_splits(dataset, folds=2, seed=3)
    predictor = fit(RECIPE, dataset, splits.development, seed=3, device="cpu")
    probabilities = predictor.predict_proba(dataset, splits.holdout)
    cells = np.concatenate(splits.folds)
    pooled = predictor.predict_proba(dataset, cells)
    oof = Predictions.of(dataset.classes, dataset.labels[cells], pooled, cells=cells)
    always_first = np.zeros_like(probabilities)
    always_first[:, 0] = 1.0
    baseline = BaselineFigures(
        Predictions(dataset.classes, dataset.labels[cells], np.zeros_like(cells)), always_first
    )
    parts = Made(None, dataset, splits, predictor, probabilities, oof, baseline)  # type: ignore[arg-type]
    return parts._replace(card=write_card(folder, **parts.ingredients()))
