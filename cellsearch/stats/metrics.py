"""Every figure, from a confusion matrix of pooled out-of-fold predictions.

numpy alone, so that a card can be read without torch. A confusion matrix holds the true class in
its rows and the predicted one in its columns; all figures take a stack of them, (..., K, K). No
figure is ever NaN: a class without cells is left out of a mean, and where nothing is left, or a
denominator is zero, the figure is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellsearch.errors import ConfigError

Metric = Literal["balanced_accuracy", "macro_f1", "weighted_f1", "mcc", "worst_recall", "accuracy"]
METRICS: tuple[Metric, ...] = get_args(Metric)
TITLES: Mapping[Metric, str] = MappingProxyType(
    {
        "balanced_accuracy": "balanced accuracy",
        "macro_f1": "macro F1",
        "weighted_f1": "weighted F1",
        "mcc": "Matthews correlation",
        "worst_recall": "worst-class recall",
        "accuracy": "accuracy",
    }
)
Floats = NDArray[np.float64]
Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one class; None where its denominator is zero.

    Attributes:
        precision: right among those predicted as this class (positive predictive value); None
            when none was.
        recall: found among those of this class (sensitivity); None without cells (not estimable).
        specificity: left alone among those of the other classes; None without such cells.
        f1: harmonic mean of the two, 0 when no cell was found; None without cells.
        support: cells of this class.
        predicted: cells predicted as this class.
    """

    precision: float | None
    recall: float | None
    specificity: float | None
    f1: float | None
    support: int
    predicted: int


def metric_named(name: str) -> Metric:
    """The metric of that name.

    Raises:
        ConfigError: there is none.
    """
    for metric in METRICS:
        if metric == name:
            return metric
    raise ConfigError(f"metric: must be one of {', '.join(METRICS)}; got {name!r}")


def confusion(labels: Labels, predicted: Labels, k: int) -> NDArray[np.int64]:
    """(K, K) int64 counts, rows true, columns predicted.

    Args:
        labels: (n,) true classes, 0 .. K - 1.
        predicted: (n,) predicted classes, 0 .. K - 1.
        k: number of classes.

    Raises:
        ValueError: lengths differ, or a class lies outside 0 .. K - 1.
    """
    if labels.shape != predicted.shape:
        raise ValueError(f"{len(labels)} labels but {len(predicted)} predictions")
    for what, values in (("label", labels), ("prediction", predicted)):
        if values.size and (values.min() < 0 or values.max() >= k):
            raise ValueError(f"a {what} lies outside 0 .. {k - 1}")
    cells = labels.astype(np.int64) * k + predicted.astype(np.int64)
    return np.bincount(cells, minlength=k * k).reshape(k, k).astype(np.int64)


def score(metric: str, confusion: ArrayLike, *, classes: NDArray[np.bool_] | None = None) -> Floats:
    """One figure for each confusion matrix of a stack; greater is better.

    balanced_accuracy is the mean recall (Brodersen et al. 2010), macro_f1 the mean F1, both over
    the classes that have cells; weighted_f1 weights F1 by cells; mcc is the multi-class Matthews
    correlation R_K (Gorodkin 2004), -1 .. 1; worst_recall the least recall of a class.

    Args:
        metric: one of ``METRICS``.
        confusion: (..., K, K) counts, rows true; integers or weights.
        classes: (K,) bool, the classes that can be estimated; cells of the others do not count.

    Returns:
        (...) float64, never NaN.

    Raises:
        ConfigError: no metric of that name.
    """
    which = metric_named(metric)
    counts = np.asarray(confusion, dtype=np.float64)
    if classes is not None:
        counts = counts * np.asarray(classes, dtype=np.float64)[:, None]
    support = counts.sum(axis=-1)
    found = np.diagonal(counts, axis1=-2, axis2=-1)
    present = support > 0
    if which == "accuracy":
        return ratio(found.sum(axis=-1), support.sum(axis=-1))
    if which == "mcc":
        return _matthews(counts, found, support)
    if which in ("balanced_accuracy", "worst_recall"):
        recall = ratio(found, support)
        if which == "balanced_accuracy":
            return ratio(recall.sum(axis=-1), present.sum(axis=-1))
        worst = np.where(present, recall, np.inf).min(axis=-1)
        return np.asarray(np.where(np.isfinite(worst), worst, 0.0), dtype=np.float64)
    f1 = _f1(counts, found, support)
    weight = support if which == "weighted_f1" else present.astype(np.float64)
    return ratio((f1 * weight).sum(axis=-1), weight.sum(axis=-1))


def per_class(confusion: NDArray[np.int64]) -> tuple[ClassFigures, ...]:
    """K figures of one confusion matrix, (K, K) counts with the true class in rows."""
    found = np.diagonal(confusion)
    support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    total = int(confusion.sum())
    return tuple(
        ClassFigures(
            precision=int(hits) / int(called) if called else None,
            recall=int(hits) / int(cells) if cells else None,
            specificity=1.0 - int(called - hits) / int(total - cells) if total > cells else None,
            f1=2 * int(hits) / int(cells + called) if cells else None,
            support=int(cells),
            predicted=int(called),
        )
        for hits, cells, called in zip(found, support, predicted, strict=True)
    )


def ratio(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    """above / below, and 0 where below is 0."""
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    ratio: Floats = np.divide(above, below, out=np.zeros(np.shape(above)), where=below != 0)
    return ratio


def _f1(counts: Floats, found: Floats, support: Floats) -> Floats:
    return ratio(2.0 * found, support + counts.sum(axis=-2))


def _matthews(counts: Floats, found: Floats, support: Floats) -> Floats:
    called = counts.sum(axis=-2)
    cells = support.sum(axis=-1)
    covariance = found.sum(axis=-1) * cells - (called * support).sum(axis=-1)
    spread = (cells**2 - (called**2).sum(axis=-1)) * (cells**2 - (support**2).sum(axis=-1))
    return ratio(covariance, np.sqrt(np.maximum(spread, 0.0)))
