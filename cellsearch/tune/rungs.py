"""Rungs: short trainings that tell which recipes are worth a full one.

Multi-fidelity search (Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and
hyperparameter optimization"): many recipes are trained briefly, a part of them longer, few in full.
The first rung keeps all cells of the rare classes, since 15 cells are all that can be known of
their class, and saves on epochs, on folds and on common classes instead. A quarter of the epochs on
two folds ranked recipes better than an eighth on all five, and cost less
(``benchmarks/rung_ranking.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.splits import Splits
from cellsearch.space.models import ClassicalModel
from cellsearch.space.recipe import Recipe

LEAST_STEPS = 100
"""Optimiser steps below which a network has hardly moved, so that its score says nothing."""

WORTH_CLIMBING = 1 / 3
"""A recipe whose first rung takes more than this share of its epochs is trained in full at once."""


@dataclass(frozen=True)
class Rung:
    """How much of a full training a trial gets.

    Attributes:
        number: from 1; a full training is on no rung.
        epochs: share of the recipe's epochs. Its schedule is compressed to them, not cut.
        folds: how many of the folds; None is all.
        most: cells of a class at most, in units of the median class; None takes all.
    """

    number: int
    epochs: float
    folds: int | None = None
    most: float | None = None

    def folds_of(self, k: int) -> range:
        """Folds to train, of ``k``."""
        return range(k if self.folds is None else min(self.folds, k))


RUNGS: tuple[Rung, ...] = (
    Rung(1, 1 / 4, folds=2, most=4.0),
    Rung(2, 1 / 2, folds=2),
)
"""In order; above the last of them a trial is trained in full."""

HALF_OF = 3
"""One of so many short trainings is followed by a half one."""

FULL_OF = 8
"""And one of so many by a full one."""

USUAL_FOLDS = 5

RUNG_NAMES: tuple[str, ...] = ("full", "short", "half")
"""By number, 0 being the full training."""


def rung_numbered(number: int) -> Rung | None:
    """The rung of that number; None for 0, the full training."""
    return None if number == 0 else RUNGS[number - 1]


def shortened(recipe: Recipe, rung: Rung, cells: int) -> Recipe:
    """The recipe with the epochs of a rung, and what counts in epochs brought down with them.

    Args:
        recipe: in full.
        rung: of it.
        cells: that a fold trains on, there.
    """
    train, optim = recipe.train, recipe.optim
    steps = max(1, math.ceil(cells / train.batch_size))
    least = math.ceil(LEAST_STEPS / steps)
    epochs = min(train.epochs, max(math.ceil(train.epochs * rung.epochs), least))
    share = epochs / train.epochs

    def fewer(value: int) -> int:
        return max(1, round(value * share)) if value else 0

    changed = {
        "epochs": epochs,
        "patience": fewer(train.patience),
        "pretrain_epochs": fewer(train.pretrain_epochs),
    }
    return recipe.model_copy(
        update={
            "train": train.model_copy(update=changed),
            "optim": optim.model_copy(update={"decay_epochs": fewer(optim.decay_epochs)}),
        }
    )


def climbs(recipe: Recipe, cells: int) -> bool:
    """Whether a recipe is tried on the rungs before it is trained in full.

    Classical families are not: they take seconds, and have no epochs to leave out.

    Args:
        recipe: of a trial.
        cells: that a fold trains on, in full.
    """
    if isinstance(recipe.model, ClassicalModel):
        return False
    short = shortened(recipe, RUNGS[0], cells)
    return short.train.epochs <= WORTH_CLIMBING * recipe.train.epochs


def expected_share(recipe: Recipe, cells: int) -> float:
    """What a trial of a recipe costs on average, as a share of its full training on all folds.

    Of the networks that climb, most are only trained briefly. Common classes are taken to be whole
    on the first rung, so it is no more than that. The study has ``USUAL_FOLDS``.

    Args:
        recipe: of a trial.
        cells: that a fold trains on, in full.
    """
    if not climbs(recipe, cells):
        return 1.0
    short, half = (
        shortened(recipe, rung, cells).train.epochs
        / recipe.train.epochs
        * len(rung.folds_of(USUAL_FOLDS))
        / USUAL_FOLDS
        for rung in RUNGS
    )
    return short + half / HALF_OF + 1 / FULL_OF


def training_cells(
    splits: Splits, labels: NDArray[np.int64], rung: Rung, *, seed: int
) -> Mapping[int, NDArray[np.int64]]:
    """The cells that each fold of a rung trains on: rare classes whole, common ones capped.

    The same for every trial of a study, so that their scores are paired.

    Args:
        splits: of the study.
        labels: (N,) of the data set.
        rung: with its cap.
        seed: of the choice.

    Returns:
        Indices (n,) int64, ascending, by fold.
    """
    found = {}
    for fold in rung.folds_of(splits.k):
        chosen = splits.training(fold)
        if rung.most is not None:
            chosen = _capped(chosen, labels, rung.most, np.random.default_rng([seed, fold]))
        found[fold] = chosen
    return found


def _capped(
    cells: NDArray[np.int64], labels: NDArray[np.int64], most: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    present, counts = np.unique(labels[cells], return_counts=True)
    limit = max(1, math.ceil(most * float(np.median(counts))))
    kept = [
        of_class if count <= limit else rng.choice(of_class, limit, replace=False)
        for label, count in zip(present, counts, strict=True)
        for of_class in (cells[labels[cells] == label],)
    ]
    return np.sort(np.concatenate(kept))


def cost_ratio(
    recipe: Recipe, rung: Rung, *, cells: int, rung_cells: int, folds: int, last: Rung | None
) -> float:
    """How many times as long another training of a recipe takes as the one on a rung.

    Args:
        recipe: in full.
        rung: that was timed.
        cells: that a fold trains on in full.
        rung_cells: that a fold of the first rung trains on.
        folds: k of the study.
        last: the training to come: a rung, or None for the full one.
    """

    def work(which: Rung | None) -> float:
        if which is None:
            return float(folds * cells * recipe.train.epochs)
        size = cells if which.most is None else rung_cells
        return float(
            len(which.folds_of(folds)) * size * shortened(recipe, which, size).train.epochs
        )

    return work(last) / work(rung)
