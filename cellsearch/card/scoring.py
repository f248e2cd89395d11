"""Winner and baseline on the hold-out and out-of-fold, from their probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CardError
from cellsearch.stats.comparison import Comparison, Scores, compare, compare_counts
from cellsearch.stats.evaluation import (
    BaselineFigures,
    predicted_classes,
)
from cellsearch.stats.groups import (
    Codes,
    group_codes,
)
from cellsearch.stats.predictions import Predictions

if TYPE_CHECKING:
    from cellsearch.data.splits import Splits


def score(
    dataset: CellDataset,
    splits: Splits,
    probabilities: NDArray[np.float32],
    oof: Predictions,
    baseline: BaselineFigures,
    *,
    seed: int,
) -> Scores:
    """Winner and baseline on the hold-out and out-of-fold.

    Args:
        dataset: all cells, hold-out included.
        splits: hold-out and folds.
        probabilities: (n, K) float32 of the winner, rows in the order of ``splits.holdout``. A
            temperature changes no predicted class, so it makes no difference here.
        oof: the winner's out-of-fold predictions.
        baseline: of trial 0 on the same cells; empty where there is none.
        seed: of the bootstrap.

    Raises:
        CardError: probabilities that are not finite or not (cells, classes), or predictions of
            other cells.
    """
    return Scores(
        compare_holdout(dataset, splits, probabilities, baseline, seed=seed),
        compare_pooled(dataset, splits, oof, baseline, seed=seed),
    )


def compare_holdout(
    dataset: CellDataset,
    splits: Splits,
    probabilities: NDArray[np.float32],
    baseline: BaselineFigures,
    *,
    seed: int,
) -> Comparison:
    """Winner and baseline on the hold-out.

    Raises:
        CardError: probabilities are not finite, or not (cells, classes).
    """
    held, k = splits.holdout, len(dataset.classes)
    other = baseline.holdout_probabilities
    return compare(
        dataset.labels[held],
        predicted_classes(probabilities, len(held), k),
        predicted_classes(other, len(held), k) if other is not None else None,
        dataset.classes,
        not_estimable=tuple(splits.not_estimable),
        groups=groups_of(dataset, held),
        seed=seed,
    )


def groups_of(dataset: CellDataset, cells: NDArray[np.int64] | None) -> Codes | None:
    """(n,) int64 codes of the groups of ``cells``; None where there are no groups."""
    if dataset.groups is None or cells is None:
        return None
    return group_codes(dataset.groups[cells])


def compare_pooled(
    dataset: CellDataset,
    splits: Splits,
    oof: Predictions,
    baseline: BaselineFigures,
    *,
    seed: int,
) -> Comparison:
    """Winner and baseline on pooled out-of-fold predictions.

    Raises:
        CardError: the two are not of the same cells.
    """
    other = baseline.oof
    if other is None and baseline.confusion is not None:
        return compare_counts(
            oof.labels,
            oof.predicted,
            baseline.confusion,
            dataset.classes,
            not_estimable=tuple(splits.not_estimable),
            seed=seed,
        )
    if other is not None and not np.array_equal(other.labels, oof.labels):
        raise CardError("out-of-fold predictions of winner and baseline are not of the same cells")
    return compare(
        oof.labels,
        oof.predicted,
        other.predicted if other is not None else None,
        dataset.classes,
        not_estimable=tuple(splits.not_estimable),
        groups=groups_of(dataset, oof.cells),
        seed=seed,
    )
