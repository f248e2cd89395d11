"""Winner beside baseline on the same cells, and how sure their difference is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.figures import (
    LEVEL,
    REPEATS,
    BaselineFigures,
    Estimate,
    Evaluation,
    OofFigures,
    as_json,
    as_plain,
    evaluate,
    predicted_classes,
)
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CardError
from cellsearch.learn.intervals import percentile_interval, resampled_confusions
from cellsearch.learn.metrics import METRICS, Metric, score

if TYPE_CHECKING:
    from cellsearch.data.splits import Splits


@dataclass(frozen=True, eq=False)
class Comparison:
    """Winner and baseline on the same cells.

    Attributes:
        winner: its figures.
        baseline: of trial 0; None when there is none to compare with.
        differences: winner minus baseline.
        paired: whether their intervals come of drawing both models' predictions of a cell.
    """

    winner: Evaluation
    baseline: Evaluation | None
    differences: Mapping[Metric, Estimate]
    paired: bool


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
        seed=seed,
    )


def compare_pooled(
    dataset: CellDataset,
    splits: Splits,
    oof: OofFigures,
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
        seed=seed,
    )


def compare(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    baseline: NDArray[np.int64] | None,
    classes: tuple[str, ...],
    *,
    not_estimable: tuple[str, ...] = (),
    seed: int = 0,
) -> Comparison:
    """Winner beside baseline on the same (n,) cells.

    The interval of a difference is a bootstrap of cells, paired: both models' predictions of a
    drawn cell enter together, so what both get right or wrong adds no noise.
    """
    winner = evaluate(labels, predicted, classes, not_estimable=not_estimable, seed=seed)
    if baseline is None:
        return Comparison(winner, None, {}, paired=True)
    other = evaluate(labels, baseline, classes, not_estimable=not_estimable, seed=seed)
    draws = _paired_draws(labels, predicted, baseline, len(classes), seed=seed)
    return _compared(winner, other, draws, paired=True)


def compare_counts(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    baseline: NDArray[np.int64],
    classes: tuple[str, ...],
    *,
    not_estimable: tuple[str, ...] = (),
    seed: int = 0,
) -> Comparison:
    """Winner beside the (K, K) counts of a baseline on the same cells, without pairing."""
    winner = evaluate(labels, predicted, classes, not_estimable=not_estimable, seed=seed)
    truth, called = np.nonzero(baseline)
    times = baseline[truth, called]
    other = evaluate(
        np.repeat(truth, times),
        np.repeat(called, times),
        classes,
        not_estimable=not_estimable,
        seed=seed,
    )
    rng = np.random.default_rng(seed)
    draws = (
        resampled_confusions(winner.confusion, repeats=REPEATS, rng=rng),
        resampled_confusions(other.confusion, repeats=REPEATS, rng=rng),
    )
    return _compared(winner, other, draws, paired=False)


def _compared(
    winner: Evaluation,
    other: Evaluation,
    draws: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    paired: bool,
) -> Comparison:
    ours, theirs = draws
    differences = {}
    for metric in METRICS:
        interval = percentile_interval(
            score(metric, ours, classes=winner.estimable)
            - score(metric, theirs, classes=winner.estimable),
            level=LEVEL,
        )
        value = winner.metrics[metric].value - other.metrics[metric].value
        differences[metric] = Estimate(value, interval.low, interval.high)
    return Comparison(winner, other, differences, paired=paired)


def _paired_draws(
    labels: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    k: int,
    *,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(R, K, K) bootstrap confusion matrices of two models, cells drawn within true classes."""
    rng = np.random.default_rng(seed)
    ours = np.zeros((REPEATS, k, k), np.int64)
    theirs = np.zeros((REPEATS, k, k), np.int64)
    for row in range(k):
        of_class = labels == row
        n = int(of_class.sum())
        if not n:
            continue
        joint = np.bincount(first[of_class] * k + second[of_class], minlength=k * k)
        draws = rng.multinomial(n, joint / n, size=REPEATS).reshape(REPEATS, k, k)
        ours[:, row], theirs[:, row] = draws.sum(axis=2), draws.sum(axis=1)
    return ours, theirs


def comparison_as_json(comparison: Comparison) -> dict[str, Any]:
    """Winner, baseline and their differences as plain values."""
    return {
        "winner": as_json(comparison.winner),
        "baseline": as_json(comparison.baseline) if comparison.baseline is not None else None,
        "difference": {name: as_plain(value) for name, value in comparison.differences.items()},
    }
