"""Every figure a card states, with its interval: one source for metrics.json, README and plots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cellsearch.errors import CardError
from cellsearch.stats.bootstrap import Intervals, bootstrap_intervals
from cellsearch.stats.decision import Decision, decided
from cellsearch.stats.groups import Codes
from cellsearch.stats.intervals import Interval
from cellsearch.stats.metrics import METRICS, ClassFigures, Metric, confusion, per_class, score
from cellsearch.stats.predictions import Predictions

LEVEL = 0.95
REPEATS = 2000
FEW_CELLS = 10
FEW_GROUPS = 10
CLASS_FIGURES = ("precision", "recall", "specificity", "f1")
"""Attributes of ``ClassFigures`` and ``ClassIntervals`` that a card states."""


@dataclass(frozen=True, eq=False)
class BaselineFigures:
    """What trial 0 reached on the same cells.

    Attributes:
        oof: its out-of-fold predictions, cells in the winner's order; None when it did not
            finish its folds.
        holdout_probabilities: (n, K) float32 of the baseline refitted like the winner; None when
            it was not refitted.
        decision: of the baseline's refitted model; None gives the greatest probability.
        confusion: (K, K) counts of the out-of-fold predictions, used where ``oof`` is not given;
            winner and baseline are then compared without pairing, by wider intervals.
    """

    oof: Predictions | None = None
    holdout_probabilities: NDArray[np.float32] | None = None
    decision: Decision | None = None
    confusion: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval.

    Attributes:
        value: the figure.
        low: of its interval; None where there is none, because all cells are of one group.
        high: of the same.
    """

    value: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, value: float, interval: Interval | None) -> Self:
        """A figure with its interval, or without one."""
        if interval is None:
            return cls(value, None, None)
        return cls(value, interval.low, interval.high)

    @property
    def interval(self) -> Interval | None:
        """From low to high; None where there is none."""
        if self.low is None or self.high is None:
            return None
        return Interval(self.low, self.high)

    @property
    def turned(self) -> Self:
        """The same of the difference the other way round."""
        low, high = self.low, self.high
        return type(self)(
            -self.value, None if high is None else -high, None if low is None else -low
        )

    @property
    def side(self) -> int:
        """1 where the whole interval lies above 0, -1 below; 0 where it holds 0 or is missing."""
        found = self.interval
        if found is None:
            return 0
        return int(found.low > 0.0) - int(found.high < 0.0)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures of one model on one set of cells.

    Attributes:
        classes: K names.
        estimable: (K,) bool; figures of the other classes are not stated.
        confusion: (K, K) int64 counts, rows true.
        metrics: an estimate for each of ``METRICS``, over the estimable classes.
        per_class: K, in the order of the classes.
        intervals: of the metrics and of each class.
    """

    classes: tuple[str, ...]
    estimable: NDArray[np.bool_]
    confusion: NDArray[np.int64]
    metrics: Mapping[Metric, Estimate]
    per_class: tuple[ClassFigures, ...]
    intervals: Intervals

    @property
    def cells(self) -> int:
        """Cells counted."""
        return int(self.confusion.sum())

    @property
    def support(self) -> NDArray[np.int64]:
        """(K,) cells of each true class."""
        return np.asarray(self.confusion.sum(axis=1), dtype=np.int64)

    def estimate(self, class_index: int, figure: str) -> Estimate | None:
        """One of ``CLASS_FIGURES`` of a class; None where it cannot be estimated."""
        value = getattr(self.per_class[class_index], figure)
        interval: Interval | None = getattr(self.intervals.per_class[class_index], figure)
        if not self.estimable[class_index] or value is None:
            return None
        return Estimate.of(float(value), interval)


def evaluate(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    classes: tuple[str, ...],
    *,
    not_estimable: tuple[str, ...] = (),
    groups: Codes | None = None,
    seed: int = 0,
) -> Evaluation:
    """Figures and 95 % intervals of (n,) predictions against (n,) labels, both int64.

    Classes named in ``not_estimable`` and those without a cell are left out of every mean.
    ``groups``: (n,) int64, cells of one donor, plate or slide have the same; None where cells are
    independent. Cells of one group alone tell nothing of others: their figures have no interval.
    """
    k = len(classes)
    counts = confusion(labels, predicted, k)
    named = np.array([name in not_estimable for name in classes])
    estimable = ~named & (counts.sum(axis=1) > 0)
    intervals = bootstrap_intervals(
        labels,
        predicted,
        k,
        classes=estimable,
        groups=groups,
        repeats=REPEATS,
        seed=seed,
        level=LEVEL,
    )
    metrics = {
        metric: Estimate.of(
            float(score(metric, counts, classes=estimable)), intervals.metrics[metric]
        )
        for metric in METRICS
    }
    return Evaluation(classes, estimable, counts, metrics, per_class(counts), intervals)


def predicted_classes(
    probabilities: NDArray[np.float32],
    cells: int,
    k: int,
    decision: Decision | None = None,
    *,
    temperature: float = 1.0,
) -> NDArray[np.int64]:
    """(n,) int64 classes that the cells are given; see ``decided``.

    Raises:
        CardError: not one finite row of K probabilities a cell.
    """
    if probabilities.shape != (cells, k) or not np.isfinite(probabilities).all():
        raise CardError(
            f"probabilities must be finite and of shape {(cells, k)}, got "
            f"{probabilities.shape} with {int((~np.isfinite(probabilities)).sum())} not finite"
        )
    return decided(probabilities, decision, temperature=temperature)


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Plain values for ``metrics.json``; null where a figure cannot be estimated."""
    classes = {}
    for index, name in enumerate(evaluation.classes):
        figures = {figure: as_plain(evaluation.estimate(index, figure)) for figure in CLASS_FIGURES}
        classes[name] = {
            "support": int(evaluation.support[index]),
            "estimable": bool(evaluation.estimable[index]),
            **figures,
        }
    return {
        "cells": evaluation.cells,
        "groups": evaluation.intervals.groups,
        "metrics": {metric: as_plain(value) for metric, value in evaluation.metrics.items()},
        "per_class": classes,
        "confusion": evaluation.confusion.tolist(),
    }


def as_plain(estimate: Estimate | None) -> dict[str, float | None] | None:
    """Value and interval for JSON, null where there is none; None stays None."""
    if estimate is None:
        return None
    return {
        "value": round(estimate.value, 6),
        "low": None if estimate.low is None else round(estimate.low, 6),
        "high": None if estimate.high is None else round(estimate.high, 6),
    }
