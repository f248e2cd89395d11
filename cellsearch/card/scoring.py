"""Winner and baseline on the hold-out and out-of-fold, from their probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.config import CardConfig
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CardError
from cellsearch.stats.comparison import Comparison, Scores, compare, compare_counts
from cellsearch.stats.decision import DECIDED_TAU, Decide, Decision, decided
from cellsearch.stats.evaluation import (
    BaselineFigures,
    Evaluation,
    evaluate,
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
    decision: Decision | None,
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
        decision: of the winner; None takes the greatest probability.
        seed: of the bootstrap.

    Raises:
        CardError: probabilities that are not finite or not (cells, classes), or predictions of
            other cells.
    """
    held, k = splits.holdout, len(dataset.classes)
    predicted = predicted_classes(probabilities, len(held), k, decision)
    return Scores(
        compare_holdout(dataset, splits, predicted, baseline, seed=seed),
        compare_pooled(dataset, splits, oof, baseline, seed=seed),
        _by_greatest(dataset, splits, baseline, seed=seed),
    )


def _by_greatest(
    dataset: CellDataset, splits: Splits, baseline: BaselineFigures, *, seed: int
) -> Evaluation | None:
    """The baseline on the hold-out without the rule of decision, where it has one."""
    if baseline.holdout_probabilities is None or baseline.decision is None:
        return None
    held = splits.holdout
    return evaluate(
        dataset.labels[held],
        decided(baseline.holdout_probabilities, None),
        dataset.classes,
        not_estimable=tuple(splits.not_estimable),
        groups=groups_of(dataset, held),
        seed=seed,
    )


def compare_holdout(
    dataset: CellDataset,
    splits: Splits,
    predicted: NDArray[np.int64],
    baseline: BaselineFigures,
    *,
    seed: int,
) -> Comparison:
    """Winner and baseline on the hold-out, each by its own model's decision of one rule.

    ``predicted`` holds the (n,) classes that the winner gives.

    Raises:
        CardError: the baseline's probabilities are not finite, or not (cells, classes).
    """
    held, k = splits.holdout, len(dataset.classes)
    other = baseline.holdout_probabilities
    return compare(
        dataset.labels[held],
        predicted,
        None if other is None else predicted_classes(other, len(held), k, baseline.decision),
        dataset.classes,
        not_estimable=tuple(splits.not_estimable),
        groups=groups_of(dataset, held),
        seed=seed,
    )


def decided_both_ways(
    dataset: CellDataset,
    splits: Splits,
    probabilities: NDArray[np.float32],
    config: CardConfig,
    own: Evaluation,
    *,
    seed: int,
) -> dict[Decide, Evaluation]:
    """The winner on the hold-out as balanced and as natural decision; empty without a rule.

    Args:
        dataset: all cells.
        splits: hold-out and folds.
        probabilities: (n, K) of the hold-out, as the card gives them.
        config: of the card.
        own: figures by the card's own rule.
        seed: of the intervals.
    """
    if config.decision is None:
        return {}
    held = splits.holdout
    return {
        name: own
        if config.decision.tau == tau
        else evaluate(
            dataset.labels[held],
            config.decide(probabilities, name),
            dataset.classes,
            not_estimable=tuple(splits.not_estimable),
            groups=groups_of(dataset, held),
            seed=seed,
        )
        for name, tau in DECIDED_TAU.items()
    }


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
