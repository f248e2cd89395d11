"""Winner beside baseline on the same cells, and how sure their difference is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.stats.bootstrap import bounds_of
from cellsearch.stats.evaluation import (
    LEVEL,
    REPEATS,
    Estimate,
    Evaluation,
    as_json,
    as_plain,
    evaluate,
)
from cellsearch.stats.groups import (
    Codes,
    cluster_confusions,
    drawn_groups,
    group_confusions,
    stretched,
)
from cellsearch.stats.intervals import (
    Interval,
    interval_around,
    smoothed_confusions,
    smoothed_pairs,
    widest,
)
from cellsearch.stats.metrics import METRICS, Metric, confusion, score


@dataclass(frozen=True, eq=False)
class Comparison:
    """Winner and baseline on the same cells.

    Attributes:
        winner: its figures.
        baseline: of trial 0; None when there is none to compare with.
        differences: winner minus baseline.
        paired: whether their intervals come of drawing both models' predictions of a cell.
        recalls: K, differences of recall; None of a class without figures.
    """

    winner: Evaluation
    baseline: Evaluation | None
    differences: Mapping[Metric, Estimate]
    paired: bool
    recalls: tuple[Estimate | None, ...] = ()


@dataclass(frozen=True, eq=False)
class Scores:
    """Winner and baseline on both parts of the cells.

    Attributes:
        hold_out: by the rule of decision that both follow.
        out_of_fold: likewise.
        baseline_by_greatest: the baseline on the hold-out by its greatest probability, as it is
            usually reported; None where that is its rule, or where there is no baseline.
    """

    hold_out: Comparison
    out_of_fold: Comparison
    baseline_by_greatest: Evaluation | None = None


def compare(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    baseline: NDArray[np.int64] | None,
    classes: tuple[str, ...],
    *,
    not_estimable: tuple[str, ...] = (),
    groups: Codes | None = None,
    seed: int = 0,
) -> Comparison:
    """Winner beside baseline on the same (n,) cells.

    The interval of a difference is a bootstrap of cells, paired: both models' predictions of a
    drawn cell enter together, so what both get right or wrong adds no noise. Where cells come in
    ``groups`` ((n,) int64), those are drawn too, and the wider interval counts; of one group
    alone a difference has no interval.
    """
    winner = evaluate(
        labels, predicted, classes, not_estimable=not_estimable, groups=groups, seed=seed
    )
    if baseline is None:
        return Comparison(winner, None, {}, paired=True)
    other = evaluate(
        labels, baseline, classes, not_estimable=not_estimable, groups=groups, seed=seed
    )
    if np.array_equal(predicted, baseline):
        alone = winner.intervals.groups == 1
        nothing = Estimate.of(0.0, None if alone else Interval(0.0, 0.0))
        return Comparison(
            winner,
            other,
            dict.fromkeys(METRICS, nothing),
            paired=True,
            recalls=tuple(nothing if known else None for known in winner.estimable),
        )
    k = len(classes)
    rng = np.random.default_rng(seed)
    draws = smoothed_pairs(labels, predicted, baseline, k, repeats=REPEATS, rng=rng)
    clustered = None
    if groups is not None and groups.max() > 0:
        times = drawn_groups(int(groups.max()) + 1, repeats=REPEATS, rng=rng)
        clustered = (
            cluster_confusions(group_confusions(labels, predicted, groups, k), times),
            cluster_confusions(group_confusions(labels, baseline, groups, k), times),
        )
    return _compared(winner, other, draws, clustered, paired=True)


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
        smoothed_confusions(winner.confusion, repeats=REPEATS, rng=rng),
        smoothed_confusions(other.confusion, repeats=REPEATS, rng=rng),
    )
    return _compared(winner, other, draws, None, paired=False)


@dataclass(frozen=True)
class Gain:
    """By how much one model's score exceeds another's on the same cells.

    Attributes:
        estimate: the difference and its interval.
        chance: share of bootstrap samples in which it is above 0.
    """

    estimate: Estimate
    chance: float


def gain(
    metric: Metric,
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    other: NDArray[np.int64],
    *,
    classes: NDArray[np.bool_],
    groups: Codes | None = None,
    seed: int = 0,
) -> Gain:
    """Paired as in ``compare``; where cells come in groups, the more doubtful bootstrap counts.

    Args:
        metric: one of ``METRICS``.
        labels: (n,) true classes.
        predicted: (n,) of the model.
        other: (n,) of the one it is held against.
        classes: (K,) bool, those that can be estimated.
        groups: (n,) codes; None where cells are independent.
        seed: of the bootstrap.
    """
    k = len(classes)
    rng = np.random.default_rng(seed)
    figure = partial(score, metric, classes=classes)
    value = float(figure(confusion(labels, predicted, k)) - figure(confusion(labels, other, k)))
    most = float(np.ptp(bounds_of(metric)))
    ours, theirs = smoothed_pairs(labels, predicted, other, k, repeats=REPEATS, rng=rng)
    drawn = figure(ours) - figure(theirs)
    found = interval_around(drawn, value, level=LEVEL, bounds=(-most, most))
    chance = float((drawn > 0.0).mean())
    if groups is not None and groups.max() > 0:
        count = int(groups.max()) + 1
        times = drawn_groups(count, repeats=REPEATS, rng=rng)
        ours, theirs = (
            cluster_confusions(group_confusions(labels, called, groups, k), times)
            for called in (predicted, other)
        )
        drawn = stretched(figure(ours) - figure(theirs), value, count, level=LEVEL)
        found = widest(found, interval_around(drawn, value, level=LEVEL, bounds=(-most, most)))
        chance = min(chance, float((drawn > 0.0).mean()))
    return Gain(Estimate(value, found.low, found.high), chance)


_Draws = tuple[NDArray[np.float64], NDArray[np.float64]]


def _compared(
    winner: Evaluation,
    other: Evaluation,
    draws: _Draws,
    clustered: _Draws | None,
    *,
    paired: bool,
) -> Comparison:
    counts = (winner.confusion[None].astype(float), other.confusion[None].astype(float))

    def difference(
        figure: Callable[[NDArray[np.float64]], NDArray[np.float64]], most: float = 1.0
    ) -> Estimate:
        value = float((figure(counts[0]) - figure(counts[1]))[0])
        if winner.intervals.groups == 1:
            return Estimate.of(value, None)
        drawn = figure(draws[0]) - figure(draws[1])
        found = interval_around(drawn, value, level=LEVEL, bounds=(-most, most))
        if clustered is not None:
            groups = winner.intervals.groups or 2
            moved = figure(clustered[0]) - figure(clustered[1])
            moved = stretched(moved, value, groups, level=LEVEL)
            found = widest(found, interval_around(moved, value, level=LEVEL, bounds=(-most, most)))
        return Estimate.of(value, found)

    metrics = {
        metric: difference(
            partial(score, metric, classes=winner.estimable), most=float(np.ptp(bounds_of(metric)))
        )
        for metric in METRICS
    }
    recalls = tuple(
        difference(partial(_recall, index)) if known else None
        for index, known in enumerate(winner.estimable)
    )
    return Comparison(winner, other, metrics, paired=paired, recalls=recalls)


def _recall(index: int, draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R,) recall of a class; 0 where a draw has none of its cells, as in both models then."""
    support = draws[:, index].sum(axis=1)
    found = np.divide(draws[:, index, index], support, out=np.zeros(len(draws)), where=support > 0)
    return np.asarray(found)


def comparison_as_json(comparison: Comparison) -> dict[str, Any]:
    """Winner, baseline and their differences as plain values."""
    return {
        "winner": as_json(comparison.winner),
        "baseline": as_json(comparison.baseline) if comparison.baseline is not None else None,
        "difference": {name: as_plain(value) for name, value in comparison.differences.items()},
        "recall_difference": {
            name: as_plain(value)
            for name, value in zip(comparison.winner.classes, comparison.recalls, strict=False)
        },
        "paired": comparison.paired,
    }
