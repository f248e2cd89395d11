"""Confidence intervals from counts: exact for a proportion, bootstrap for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Interval:
    """Lower and upper bound of a figure."""

    low: float
    high: float


def clopper_pearson(hits: int, cells: int, *, level: float = 0.95) -> Interval:
    """Exact interval of a proportion (Clopper & Pearson 1934).

    It covers at least ``level`` for any number of cells, which a bootstrap of three cells does
    not: a class found 3 times out of 3 has 0.29 to 1, never 1 to 1.

    Args:
        hits: cells counted, 0 .. ``cells``.
        cells: how many there are, at least 1.
        level: coverage, between 0 and 1.
    """
    from scipy.special import betaincinv  # 0.1 s that a reader of plain figures need not pay

    tail = (1.0 - level) / 2.0
    low = 0.0 if hits == 0 else float(betaincinv(hits, cells - hits + 1, tail))
    high = 1.0 if hits == cells else float(betaincinv(hits + 1, cells - hits, 1.0 - tail))
    return Interval(low, high)


def resampled_confusions(
    confusion: Counts, *, repeats: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Confusion matrices of ``repeats`` bootstrap samples drawn within each true class.

    Drawing n_c cells of a class with replacement is a multinomial draw from the class's row, so
    the cells themselves are not needed.

    Args:
        confusion: (K, K) counts, rows true.
        repeats: number of samples R.
        rng: source of chance.

    Returns:
        (R, K, K) int64; row sums are those of ``confusion``.
    """
    k = len(confusion)
    draws = np.zeros((repeats, k, k), dtype=np.int64)
    for row in range(k):
        cells = int(confusion[row].sum())
        if cells:
            draws[:, row] = rng.multinomial(cells, confusion[row] / cells, size=repeats)
    return draws


def percentile_interval(figures: NDArray[np.float64], *, level: float = 0.95) -> Interval:
    """Percentile interval of bootstrap figures (Efron 1979).

    Args:
        figures: (R,) float64, finite, at least one.
        level: coverage, between 0 and 1.
    """
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(figures, (tail, 1.0 - tail))
    return Interval(float(low), float(high))
