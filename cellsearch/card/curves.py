"""One-against-rest ROC and precision-recall curves of each class, with their areas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.figures import LEVEL, Estimate, as_plain
from cellsearch.learn.intervals import percentile_interval

MOST_POINTS = 200
REPEATS = 500
WEIGHTS_AT_ONCE = 4_000_000

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClassCurves:
    """One class against all others.

    Attributes:
        name: of the class.
        place: of the class in the data set, so that it has one colour in all pictures.
        positives: cells of the class.
        negatives: cells of the others.
        roc_auc: area under the ROC curve: the chance that a cell of the class ranks above one of
            the others.
        average_precision: sum of precision times the gain in recall, over all thresholds.
        false_positive_rate: (P,) of the ROC curve, rising; 1 - specificity.
        true_positive_rate: (P,) of the ROC curve, rising; recall.
        roc_threshold: (P,) probabilities; infinite at the first point, where no cell is called.
        recall: (Q,) of the precision-recall curve, falling.
        precision: (Q,) of the precision-recall curve.
        precision_threshold: (Q,) probabilities; infinite at the last point.
    """

    name: str
    place: int
    positives: int
    negatives: int
    roc_auc: Estimate
    average_precision: Estimate
    false_positive_rate: Floats
    true_positive_rate: Floats
    roc_threshold: Floats
    recall: Floats
    precision: Floats
    precision_threshold: Floats

    @property
    def prevalence(self) -> float:
        """Share of the class: the precision of calling every cell one of it."""
        return self.positives / (self.positives + self.negatives)


@dataclass(frozen=True, eq=False)
class Curves:
    """Of one model on one set of cells.

    Attributes:
        cells: scored.
        classes: those that have curves, in the order of the data set.
        left_out: why each other class has none.
    """

    cells: int
    classes: tuple[ClassCurves, ...]
    left_out: Mapping[str, str]


def one_against_rest(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    classes: tuple[str, ...],
    *,
    not_estimable: tuple[str, ...] = (),
    seed: int = 0,
) -> Curves:
    """Curves of each class from the probabilities of that class.

    Areas have percentile intervals of a bootstrap of cells drawn within each true class.

    Args:
        labels: (n,) true classes.
        probabilities: (n, K).
        classes: K names.
        not_estimable: classes that get no curve.
        seed: of the bootstrap.
    """
    counts = np.bincount(labels, minlength=len(classes))
    left_out = {}
    for name, cells in zip(classes, counts.tolist(), strict=True):
        if cells == 0:
            left_out[name] = "no cell of this class"
        elif cells == len(labels):
            left_out[name] = "no cell of another class"
        elif name in not_estimable:
            left_out[name] = f"not estimable ({cells} cells)"
    kept = [index for index, name in enumerate(classes) if name not in left_out]
    spread = _bootstrap(labels, probabilities, kept, seed=seed)
    found = tuple(
        _class_curves(
            classes[index], index, labels == index, probabilities[:, index], spread[index]
        )
        for index in kept
    )
    return Curves(len(labels), found, MappingProxyType(left_out))


def _class_curves(
    name: str,
    place: int,
    positive: NDArray[np.bool_],
    scores: NDArray[np.float32],
    spread: NDArray[np.float64],
) -> ClassCurves:
    from sklearn.metrics import (
        average_precision_score,
        precision_recall_curve,
        roc_auc_score,
        roc_curve,
    )

    false_rate, true_rate, threshold = roc_curve(positive, scores)
    of_roc = _thin(false_rate, true_rate)
    precision, recall, limits = precision_recall_curve(positive, scores)
    of_precision = _thin(recall, precision)
    limits = np.append(limits, np.inf)
    areas = []
    for value, draws in zip(
        (roc_auc_score(positive, scores), average_precision_score(positive, scores)),
        spread,
        strict=True,
    ):
        interval = percentile_interval(draws, level=LEVEL)
        areas.append(Estimate(float(value), interval.low, interval.high))
    return ClassCurves(
        name=name,
        place=place,
        positives=int(positive.sum()),
        negatives=int((~positive).sum()),
        roc_auc=areas[0],
        average_precision=areas[1],
        false_positive_rate=false_rate[of_roc],
        true_positive_rate=true_rate[of_roc],
        roc_threshold=threshold[of_roc].astype(np.float64),
        recall=recall[of_precision],
        precision=precision[of_precision],
        precision_threshold=limits[of_precision].astype(np.float64),
    )


def _thin(x: Floats, y: Floats) -> NDArray[np.int64]:
    """At most ``MOST_POINTS`` positions, evenly spaced along the curve, both ends among them."""
    if len(x) <= MOST_POINTS:
        return np.arange(len(x))
    walked = np.append(0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    wanted = np.linspace(0.0, walked[-1], MOST_POINTS)
    places = np.searchsorted(walked, wanted)
    places[-1] = len(x) - 1
    return np.unique(places).astype(np.int64)


def _bootstrap(
    labels: NDArray[np.int64], probabilities: NDArray[np.float32], kept: list[int], *, seed: int
) -> dict[int, Floats]:
    """(2, R) areas of each class: ROC AUC and average precision of drawn cells."""
    rng = np.random.default_rng(seed)
    orders = {}
    for index in kept:
        order = np.argsort(-probabilities[:, index], kind="stable")
        scores = probabilities[order, index]
        # Cells of equal probability are called together, so only the last of them is a threshold.
        ends = np.flatnonzero(np.append(np.diff(scores) != 0, True))
        orders[index] = (order, ends)
    areas = {index: np.empty((2, REPEATS)) for index in kept}
    at_once = max(1, WEIGHTS_AT_ONCE // max(1, len(labels)))
    for start in range(0, REPEATS, at_once):
        stop = min(REPEATS, start + at_once)
        weights = _drawn(labels, stop - start, rng)
        for index, (order, ends) in orders.items():
            inside = np.where((labels == index)[order], weights[:, order], 0)
            hits = inside.cumsum(axis=1)[:, ends].astype(np.float64)
            called = weights[:, order].cumsum(axis=1)[:, ends].astype(np.float64)
            areas[index][:, start:stop] = _areas(hits, called)
    return areas


def _drawn(labels: NDArray[np.int64], repeats: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """(repeats, n) int32: how often each cell is drawn, within its class."""
    weights = np.zeros((repeats, len(labels)), np.int32)
    for label in np.unique(labels):
        cells = np.flatnonzero(labels == label)
        picks = rng.integers(0, len(cells), (repeats, len(cells)))
        picks += len(cells) * np.arange(repeats)[:, None]
        drawn = np.bincount(picks.ravel(), minlength=repeats * len(cells))
        weights[:, cells] = drawn.reshape(repeats, len(cells))
    return weights


def _areas(hits: Floats, called: Floats) -> Floats:
    """(2, R) areas from (R, T) true positives and calls at falling thresholds."""
    start = np.zeros((len(hits), 1))
    gained = np.diff(hits, axis=1, prepend=start)
    false = called - hits
    below = np.diff(false, axis=1, prepend=start)
    # Trapezes: hits so far, those of a tie counted half.
    rising = ((hits - gained / 2) * below).sum(axis=1)
    roc = rising / (hits[:, -1] * false[:, -1])
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    average = (precision * gained).sum(axis=1) / hits[:, -1]
    return np.stack([roc, average])


def curves_as_json(curves: Curves | None) -> dict[str, Any] | None:
    """Plain values for ``curves.json``; None stays None, and so do infinite thresholds."""
    if curves is None:
        return None
    return {
        "cells": curves.cells,
        "left_out": dict(curves.left_out),
        "classes": {
            one.name: {
                "positives": one.positives,
                "negatives": one.negatives,
                "prevalence": round(one.prevalence, 6),
                "roc_auc": as_plain(one.roc_auc),
                "average_precision": as_plain(one.average_precision),
                "roc": {
                    "false_positive_rate": _plain(one.false_positive_rate),
                    "true_positive_rate": _plain(one.true_positive_rate),
                    "threshold": _plain(one.roc_threshold),
                },
                "precision_recall": {
                    "recall": _plain(one.recall),
                    "precision": _plain(one.precision),
                    "threshold": _plain(one.precision_threshold),
                },
            }
            for one in curves.classes
        },
    }


def _plain(values: Floats) -> list[float | None]:
    return [round(float(value), 6) if np.isfinite(value) else None for value in values]
