"""Intervals of every metric and of each class's figures: of cells, and of groups of cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cellsearch.stats.groups import (
    Codes,
    cluster_confusions,
    drawn_groups,
    group_confusions,
    stretched,
)
from cellsearch.stats.intervals import (
    Interval,
    clopper_pearson,
    interval_around,
    korn_graubard,
    smoothed_confusions,
    widest,
)
from cellsearch.stats.metrics import (
    METRICS,
    Floats,
    Labels,
    Metric,
    confusion,
    per_class,
    ratio,
    score,
)


@dataclass(frozen=True)
class ClassIntervals:
    """Intervals of one class; None where the figure is, or where one group alone has its cells."""

    precision: Interval | None
    recall: Interval | None
    specificity: Interval | None
    f1: Interval | None


@dataclass(frozen=True)
class Intervals:
    """Intervals of the metrics and of each class.

    Attributes:
        level: coverage, as 0.95.
        repeats: bootstrap samples drawn.
        metrics: an interval for each of ``METRICS``; None where there is but one group.
        per_class: K, in the order of the classes.
        groups: of the cells, drawn whole; None where cells are independent.
    """

    level: float
    repeats: int
    metrics: Mapping[Metric, Interval | None]
    per_class: tuple[ClassIntervals, ...]
    groups: int | None = None


def bounds_of(metric: Metric) -> tuple[float, float]:
    """Least and greatest value of a metric."""
    return (-1.0 if metric == "mcc" else 0.0, 1.0)


def bootstrap_intervals(
    labels: Labels,
    predicted: Labels,
    k: int,
    *,
    classes: NDArray[np.bool_] | None = None,
    groups: Codes | None = None,
    repeats: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Intervals:
    """Intervals of every metric and of each class's precision, recall, specificity and F1.

    The metrics, precision and F1 have intervals of a smoothed bootstrap stratified by true class
    (``smoothed_confusions``; counts of cells are given, predictions vary). A class's recall and
    its specificity are plain proportions and have the exact Clopper-Pearson interval, and the
    least recall of all classes has one made of theirs. Where cells come in groups, the groups are
    drawn too, and the wider interval counts; recall and specificity then have that of Korn and
    Graubard. One group does not tell how another would differ: its figures have no interval.

    Args:
        labels: (n,) true classes, 0 .. K - 1.
        predicted: (n,) predicted classes.
        k: number of classes.
        classes: (K,) bool, the classes that can be estimated, as in ``score``.
        groups: (n,) int64 group of each cell, 0 .. G - 1; None where cells are independent.
        repeats: bootstrap samples.
        seed: of the bootstrap.
        level: coverage.
    """
    counts = confusion(labels, predicted, k)
    rng = np.random.default_rng(seed)
    draws = smoothed_confusions(counts, repeats=repeats, rng=rng)
    of_groups, times = None, None
    alone = groups is not None and len(groups) > 0 and int(groups.max()) == 0
    if groups is not None and len(groups):
        of_groups = group_confusions(
            np.asarray(labels, np.int64), np.asarray(predicted, np.int64), groups, k
        )
        times = drawn_groups(len(of_groups), repeats=repeats, rng=rng)
    clustered = None if of_groups is None or times is None else cluster_confusions(of_groups, times)

    def around(
        figure: Callable[[Floats], Floats], bounds: tuple[float, float] = (0.0, 1.0)
    ) -> Interval | None:
        if alone:
            return None
        estimate = float(figure(counts[None].astype(np.float64))[0])
        found = interval_around(figure(draws), estimate, level=level, bounds=bounds)
        if clustered is None or of_groups is None:
            return found
        drawn = figure(clustered)
        moved = stretched(drawn[np.isfinite(drawn)], estimate, len(of_groups), level=level)
        if not len(moved):
            return found
        return widest(found, interval_around(moved, estimate, level=level, bounds=bounds))

    metrics: dict[Metric, Interval | None] = {
        metric: around(partial(score, metric, classes=classes), bounds_of(metric))
        for metric in METRICS
        if metric != "worst_recall"
    }
    metrics["worst_recall"] = (
        None if alone else _least_recall(counts, of_groups, classes, level=level)
    )
    rows = []
    for index, figures in enumerate(per_class(counts)):
        recall, specificity = _proportions(counts, of_groups, index, level=level)
        rows.append(
            ClassIntervals(
                precision=around(partial(_precision, index)) if figures.predicted else None,
                recall=recall,
                specificity=specificity,
                f1=around(partial(_class_f1, index)) if figures.support else None,
            )
        )
    return Intervals(
        level,
        repeats,
        MappingProxyType(metrics),
        tuple(rows),
        None if of_groups is None else len(of_groups),
    )


def _least_recall(
    counts: NDArray[np.int64],
    of_groups: NDArray[np.int64] | None,
    classes: NDArray[np.bool_] | None,
    *,
    level: float,
) -> Interval:
    """Of the least recall of a class, from the exact intervals of all of them.

    It is no less than the least lower bound, if that of the worst class holds, and no more than
    the least upper bound, if all of them hold (Bonferroni). A bootstrap lies too low: the least of
    several recalls is pulled down by chance, and that of drawn cells once more.
    """
    named = np.ones(len(counts), dtype=bool) if classes is None else classes
    present: list[int] = np.flatnonzero(named & (counts.sum(axis=1) > 0)).tolist()
    if not present:
        return Interval(0.0, 1.0)
    every = 1.0 - (1.0 - level) / len(present)
    found = [
        [_proportions(counts, of_groups, index, level=each)[0] for index in present]
        for each in (level, every)
    ]
    return Interval(
        min(0.0 if each is None else each.low for each in found[0]),
        min(1.0 if each is None else each.high for each in found[1]),
    )


def _proportions(
    counts: NDArray[np.int64], of_groups: NDArray[np.int64] | None, index: int, *, level: float
) -> tuple[Interval | None, Interval | None]:
    """Intervals of a class's recall and specificity; None without cells, or of one group."""
    stack = counts[None] if of_groups is None else of_groups
    cells = stack[:, index].sum(axis=1)
    others = stack.sum(axis=(1, 2)) - cells
    found = stack[:, index, index]
    spared = others - (stack[:, :, index].sum(axis=1) - found)

    def proportion(hits: NDArray[np.int64], among: NDArray[np.int64]) -> Interval | None:
        if not among.sum():
            return None
        if of_groups is None:
            return clopper_pearson(int(hits.sum()), int(among.sum()), level=level)
        if np.count_nonzero(among) < 2:
            return None
        return korn_graubard(hits[among > 0], among[among > 0], level=level)

    return proportion(found, cells), proportion(spared, others)


def _precision(index: int, draws: Floats) -> Floats:
    """(R,) precision of a class; NaN where a draw has no cell called so."""
    called = draws[:, :, index].sum(axis=1)
    return np.where(called > 0, ratio(draws[:, index, index], called), np.nan)


def _class_f1(index: int, draws: Floats) -> Floats:
    """(R,) F1 of a class; NaN where a draw has none of its cells."""
    support = draws[:, index].sum(axis=1)
    f1 = ratio(2.0 * draws[:, index, index], support + draws[:, :, index].sum(axis=1))
    return np.where(support > 0, f1, np.nan)
