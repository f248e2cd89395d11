"""One-against-rest ROC and precision-recall curves of each class, with their areas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.stats.evaluation import LEVEL, Estimate, as_plain
from cellsearch.stats.groups import Codes, drawn_groups, group_codes, stretched
from cellsearch.stats.intervals import PRIOR, interval_around, widest

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
    groups: NDArray[Any] | None = None,
    seed: int = 0,
) -> Curves:
    """Curves of each class from the probabilities of that class.

    Areas have intervals of a smoothed bootstrap of cells drawn within each true class; where cells
    come in groups, groups are drawn too, and the wider interval counts; of one group there is none.

    Args:
        labels: (n,) true classes.
        probabilities: (n, K).
        classes: K names.
        not_estimable: classes that get no curve.
        groups: (n,) donors or plates; None where cells are independent.
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
    codes = group_codes(groups)
    spread = _bootstrap(labels, probabilities, kept, groups=codes, seed=seed)
    units = None if codes is None else int(codes.max()) + 1
    found = tuple(
        _class_curves(
            classes[index], index, labels == index, probabilities[:, index], *spread[index], units
        )
        for index in kept
    )
    return Curves(len(labels), found, MappingProxyType(left_out))


def _class_curves(
    name: str,
    place: int,
    positive: NDArray[np.bool_],
    scores: NDArray[np.float32],
    of_cells: Floats,
    of_groups: Floats | None,
    groups: int | None,
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
    for which, value in enumerate(
        (roc_auc_score(positive, scores), average_precision_score(positive, scores))
    ):
        if groups == 1:
            areas.append(Estimate.of(float(value), None))
            continue
        interval = interval_around(of_cells[which], float(value), level=LEVEL)
        drawn = np.empty(0) if of_groups is None else of_groups[which]
        drawn = drawn[np.isfinite(drawn)]
        if groups is not None and len(drawn):
            moved = stretched(drawn, float(value), groups, level=LEVEL)
            interval = widest(interval, interval_around(moved, float(value), level=LEVEL))
        areas.append(Estimate.of(float(value), interval))
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
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    kept: list[int],
    *,
    groups: Codes | None,
    seed: int,
) -> dict[int, tuple[Floats, Floats | None]]:
    """(2, R) areas of each class, ROC AUC and average precision: of cells, and of whole groups."""
    rng = np.random.default_rng(seed)
    orders = {index: _order(probabilities[:, index]) for index in kept}
    of_cells = {index: np.empty((2, REPEATS)) for index in kept}
    of_groups = {index: np.empty((2, REPEATS)) for index in kept}
    at_once = max(1, WEIGHTS_AT_ONCE // max(1, len(labels)))
    for start in range(0, REPEATS, at_once):
        part = slice(start, min(REPEATS, start + at_once))
        count = part.stop - start
        weights, masses = _drawn(labels, count, rng)
        for index, order in orders.items():
            # Half a cell of the class above all others and half a cell below them, as the other
            # figures have half a cell found and half a cell missed (``smoothed_confusions``): two
            # cells that rank first do not prove a perfect ranking.
            ends = rng.standard_gamma(PRIOR, (count, 2))
            whole = masses[:, index] + ends.sum(axis=1)
            own = (labels == index).sum()
            row = np.where(labels == index, weights * (masses[:, index] / whole)[:, None], weights)
            ends *= (own / whole)[:, None]
            of_cells[index][:, part] = _ranked(labels == index, row, order, ends)
        if groups is not None:
            times = drawn_groups(int(groups.max()) + 1, repeats=count, rng=rng)[:, groups]
            for index, order in orders.items():
                of_groups[index][:, part] = _ranked(
                    labels == index, times, order, np.zeros((count, 2))
                )
    return {
        index: (of_cells[index], None if groups is None else of_groups[index]) for index in kept
    }


def _order(scores: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cells from the highest score down, and where in that row a threshold can lie."""
    order = np.argsort(-scores, kind="stable")
    # Cells of equal probability are called together, so only the last of them is a threshold.
    return order, np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))


def _drawn(
    labels: NDArray[np.int64], repeats: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """(repeats, n) weights of cells, of mean 1 within each class; (repeats, K) their raw sums.

    The Bayesian bootstrap (Rubin 1981, section 2), with the variance that a sample has. A class of
    one cell has no spread of its own, and a raw sum of 0.
    """
    counts = np.bincount(labels)
    weights = rng.standard_gamma((counts[labels] - 1) / counts[labels], (repeats, len(labels)))
    masses = np.zeros((repeats, len(counts)))
    for label in np.flatnonzero(counts):
        cells = labels == label
        masses[:, label] = weights[:, cells].sum(axis=1)
        if counts[label] == 1:
            weights[:, cells] = 1.0
        else:
            weights[:, cells] *= (counts[label] / masses[:, label])[:, None]
    return weights, masses


def _ranked(
    positive: NDArray[np.bool_],
    weights: NDArray[np.float64],
    order: tuple[NDArray[np.int64], NDArray[np.int64]],
    ends: NDArray[np.float64],
) -> Floats:
    """(2, R) areas of weighted cells, NaN where a draw lacks the class or the others."""
    cells, thresholds = order
    row = weights[:, cells]
    inside = np.where(positive[cells], row, 0.0).cumsum(axis=1)[:, thresholds]
    called = row.cumsum(axis=1)[:, thresholds]
    top, bottom = ends[:, :1], ends[:, 1:]
    hits = np.concatenate([top, inside + top, inside[:, -1:] + top + bottom], axis=1)
    calls = np.concatenate([top, called + top, called[:, -1:] + top + bottom], axis=1)
    return _areas(hits, calls)


def _areas(hits: Floats, called: Floats) -> Floats:
    """(2, R) areas from (R, T) true positives and calls at falling thresholds."""
    start = np.zeros((len(hits), 1))
    gained = np.diff(hits, axis=1, prepend=start)
    false = called - hits
    below = np.diff(false, axis=1, prepend=start)
    # Trapezes: hits so far, those of a tie counted half.
    rising = ((hits - gained / 2) * below).sum(axis=1)
    squares, positives = hits[:, -1] * false[:, -1], hits[:, -1]
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    average = (precision * gained).sum(axis=1)
    nothing = np.full(len(hits), np.nan)
    return np.stack(
        [
            np.divide(rising, squares, out=nothing.copy(), where=squares > 0),
            np.divide(average, positives, out=nothing, where=positives > 0),
        ]
    )


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
